"""Frames in HDF5 files: checked before anything is read, and read a few at a time."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tomopilot.files.reading import InputFileError, local_dataset, naming, opened
from tomopilot.raw.records import Frames
from tomopilot.units import metres

SMALL = 256 * 2**20  # bytes of the largest frame, chunk or list that is read
SQUEEZED = 1100  # times that values may be larger than what is stored of them; deflate reaches 1032


@dataclass(frozen=True)
class InHdf5:
    """Frames along one axis of a data set of three, the detector's rows along the other of the first two."""

    path: Path
    place: str
    axis: int = 0
    factor: float = 1.0

    def read(self, numbers: np.ndarray, rows: slice) -> np.ndarray:
        with naming(str(self.path)), opened(self.path) as file:
            node = frames_node(file, self.place)
            found = [self._run(node, run, rows) for run in np.split(numbers, _breaks(numbers))]
        values = np.concatenate(found)
        return values if self.factor == 1 else values * np.float32(self.factor)

    def _run(self, node: h5py.Dataset, run: np.ndarray, rows: slice) -> np.ndarray:
        frames = slice(int(run[0]), int(run[-1]) + 1)
        return node[frames, rows] if self.axis == 0 else np.swapaxes(node[rows, frames], 0, 1)


def _breaks(numbers: np.ndarray) -> np.ndarray:
    """Where numbers do not go on by 1."""
    return np.flatnonzero(np.diff(numbers) != 1) + 1


def frames_node(file: h5py.File, place: str) -> h5py.Dataset:
    """A data set of frames whose values are in this file, as many as it declares."""
    node = local_dataset(file, place, whole=False)
    if node.ndim != 3 or node.dtype.kind not in "biuf" or 0 in node.shape:
        raise InputFileError(
            f"the data set {place} is {node.dtype} {node.shape}; expected real numbers (frames, rows, bins)"
        )
    stored = node.id.get_storage_size()
    if node.nbytes > SQUEEZED * stored:
        raise InputFileError(
            f"the data set {place} declares {node.nbytes} bytes, but {stored} are stored; copy the file again"
        )
    each = max(node.nbytes // len(node), int(np.prod(node.chunks or (0,), dtype=float)) * node.dtype.itemsize)
    if each > SMALL:
        raise InputFileError(
            f"a frame or chunk of the data set {place} has {each} bytes; at most {SMALL} are read: save it "
            "in chunks of one frame"
        )
    return node


@dataclass(frozen=True)
class Entry:
    """A group of an HDF5 file, and what it holds itself: links to elsewhere are refused when met."""

    file: h5py.File
    path: str = ""  # absolute; empty: the root

    def place(self, *names: str) -> str | None:
        """The first of some names in the group at which there is anything, as an absolute path."""
        return next((f"{self.path}/{name}" for name in names if self._has(name)), None)

    def _has(self, name: str) -> bool:
        node: object = self.file
        *groups, last = [part for part in f"{self.path}/{name}".split("/") if part]
        for part in groups:
            if not isinstance(node, h5py.Group) or not isinstance(
                node.get(part, getlink=True), h5py.HardLink
            ):
                return False
            node = node[part]
        return isinstance(node, h5py.Group) and node.get(last, getlink=True) is not None

    def frames(self, place: str, axis: int = 0, factor: float = 1.0) -> Frames:
        """All frames of the data set at an absolute path, which has three axes."""
        node = frames_node(self.file, place)
        count, rows, bins = node.shape if axis == 0 else (node.shape[1], node.shape[0], node.shape[2])
        source = InHdf5(Path(self.file.filename), place, axis, factor)
        return Frames(source, np.arange(count), rows, bins, node.dtype)

    def numbers(self, *names: str) -> np.ndarray | None:
        """The list of real numbers at the first name there is; None where there is none."""
        if (place := self.place(*names)) is None:
            return None
        node = self.small(place)
        if node.dtype.kind not in "biuf":
            raise InputFileError(f"the data set {place} is {node.dtype}; expected real numbers")
        return np.atleast_1d(np.asarray(node[()])).ravel()

    def text(self, *names: str) -> str | None:
        """The text at the first name there is; None where there is none."""
        if (place := self.place(*names)) is None:
            return None
        node = self.small(place)
        if node.size != 1 or not h5py.check_string_dtype(node.dtype):
            return None
        return _text(np.ravel(node[()])[0] if node.shape else node[()])

    def length(self, *names: str) -> float | None:
        """The length at the first name there is, in metres; None where it is none, or has no unit."""
        place = self.place(*names)
        if place is None or self.small(place).dtype.kind not in "iuf":
            return None
        scale, values = metres(self.attribute(place, "units")), self.numbers(*names)
        if scale is None or values is None or len(values) != 1:
            return None
        return float(values[0]) * scale

    def small(self, place: str) -> h5py.Dataset:
        """The data set at an absolute path, which is read as a whole."""
        node = local_dataset(self.file, place, whole=False)
        if node.nbytes > SMALL:
            raise InputFileError(
                f"the data set {place} declares {node.nbytes} bytes; at most {SMALL} are read"
            )
        return node

    def attribute(self, place: str, name: str) -> str:
        """What an attribute of the data set at an absolute path says; nothing where it is not there."""
        return _text(local_dataset(self.file, place, whole=False).attrs.get(name, ""))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
