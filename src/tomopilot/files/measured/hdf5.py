"""Frames in HDF5 files: checked before anything is read, and read a few at a time."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tomopilot.files.reading import InputFileError, affordable, local_dataset, naming, opened
from tomopilot.files.measured.records import Frames
from tomopilot.units import metres

SMALL = 256 * 2**20  # bytes of the largest frame or chunk that is read
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


def frames_of(file: h5py.File, place: str, axis: int = 0, factor: float = 1.0) -> Frames:
    """All frames of a data set of real numbers with three axes."""
    node = frames_node(file, place)
    count, rows, bins = node.shape if axis == 0 else (node.shape[1], node.shape[0], node.shape[2])
    source = InHdf5(Path(file.filename), place, axis, factor)
    return Frames(source, np.arange(count), rows, bins, node.dtype)


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
            f"a frame or chunk of the data set {place} has {each} bytes; at most {SMALL} are read: save it in "
            "chunks of one frame"
        )
    return node


def first_of(group: h5py.Group, *places: str) -> str | None:
    """The first of some places in a group at which there is anything, be it a link to elsewhere."""
    for place in places:
        node, parts = group, place.split("/")
        for part in parts[:-1]:
            inner = node[part] if isinstance(node.get(part, getlink=True), h5py.HardLink) else None
            if not isinstance(inner, h5py.Group):
                break
            node = inner
        else:
            if node.get(parts[-1], getlink=True) is not None:
                return f"{group.name.rstrip('/')}/{place}"
    return None


def numbers_at(file: h5py.File, place: str) -> np.ndarray:
    """A list of real numbers."""
    node = local_dataset(file, place)
    if node.dtype.kind not in "biuf":
        raise InputFileError(f"the data set {place} is {node.dtype}; expected real numbers")
    return np.atleast_1d(np.asarray(node[()])).ravel()


def text_at(file: h5py.File, place: str | None) -> str | None:
    """The text at a place; None where there is none."""
    if place is None:
        return None
    node = local_dataset(file, place)
    if node.size != 1 or not h5py.check_string_dtype(node.dtype):
        return None
    value = node[()] if node.shape == () else node[()].ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unit_at(file: h5py.File, place: str) -> str:
    """What the attribute `units` says, or nothing."""
    said = local_dataset(file, place, whole=False).attrs.get("units", "")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def length_at(file: h5py.File, place: str | None) -> float | None:
    """A length in metres; None where it is not there, is no number above 0 or has no unit."""
    if place is None:
        return None
    node, scale = local_dataset(file, place), metres(unit_at(file, place))
    if node.dtype.kind not in "iuf" or node.size != 1 or scale is None:
        return None
    size = float(np.ravel(node[()])[0]) * scale
    return size if 0 < size < np.inf else None
