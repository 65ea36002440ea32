"""Volumes on disk for the next program, as TIFF or zarr, written a slice at a time."""

import math
import os
import shutil
from collections.abc import Callable, Mapping
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from numpy.typing import ArrayLike, DTypeLike

from tomopilot.disk import PARTIAL

Put = Callable[[int, np.ndarray], None]


class VolumeWriter:
    """A volume that is written slice by slice, in any order; it has its name once it is whole.

    `path` ends with .tif (a file of pages) or .zarr (format 3, a chunk for each slice). `attributes` are
    kept with the volume, as JSON: the `unit` of its values, the `pixel_size` in metres or None, and whatever
    else is known. One slice is in memory at a time. What is written lies in a partial file beside `path`
    until `close`; an error inside `with` removes it.
    Raises ValueError for a path that is there already, for slices of another shape or with values that are
    not finite, and at the end where slices are missing.
    """

    def __init__(
        self, path: Path | str, shape: tuple[int, int, int], dtype: DTypeLike, attributes: Mapping[str, Any]
    ) -> None:
        self.path, self.shape = Path(path), tuple(shape)
        self.dtype, self.missing = np.dtype(dtype).newbyteorder("<"), set(range(shape[0]))
        begin, size = KINDS.get(self.path.suffix.lower()), attributes.get("pixel_size")
        if begin is None:
            raise ValueError(f"{path} ends with {self.path.suffix!r}; expected {', '.join(KINDS)}")
        if self.path.exists():
            raise ValueError(f"{path} is there already, and nothing is overwritten: choose another name")
        if len(self.shape) != 3 or min(self.shape) < 1 or self.dtype.kind not in "iuf":
            raise ValueError(f"the volume is {self.dtype} {self.shape}; expected numbers (slices, h, w)")
        if not attributes.get("unit") or not (size is None or 0 < size < math.inf):
            raise ValueError(
                f"the attributes are {dict(attributes)}; expected the unit of the values, and a pixel_size "
                "in metres above 0 or None"
            )
        self._partial = self.path.with_name(self.path.name + PARTIAL)
        _remove(self._partial)
        units = {"pixel_size_unit": "m"} if size else {}
        self._put = begin(self._partial, self.shape, self.dtype, {**attributes, **units})

    def __setitem__(self, number: int, image: ArrayLike) -> None:
        values, number = np.asarray(image), index(number)
        if not 0 <= number < self.shape[0] or values.shape != self.shape[1:]:
            raise ValueError(
                f"slice {number} is {values.shape}; expected {self.shape[1:]}, and 0 to {self.shape[0] - 1}"
            )
        if not np.can_cast(values.dtype, self.dtype, "same_kind"):
            raise ValueError(
                f"slice {number} is {values.dtype}; expected {self.dtype}: round it, or write floats"
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(values, self.dtype)
        if not np.isfinite(values).all():
            raise ValueError(
                f"slice {number} has values that are NaN or infinite in {self.dtype}; expected numbers"
            )
        self._put(number, values)
        self.missing.discard(number)

    def close(self) -> None:
        """Puts everything on disk and gives the volume its name."""
        if self.missing:
            self.abandon()
            raise ValueError(
                f"{len(self.missing)} of {self.shape[0]} slices were not written to {self.path}, the first "
                f"is {min(self.missing)}: nothing is left of the others"
            )
        for path in [self._partial, *self._partial.rglob("*")]:
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        os.replace(self._partial, self.path)

    def abandon(self) -> None:
        """Removes what was written."""
        _remove(self._partial)

    def __enter__(self) -> "VolumeWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _tiff(path: Path, shape: tuple[int, ...], dtype: np.dtype, attributes: dict[str, Any]) -> Put:
    """Pages whose values lie one behind the other, with the attributes as JSON in ImageDescription."""
    size = attributes.get("pixel_size")
    scale = {"resolution": (0.01 / size, 0.01 / size), "resolutionunit": "CENTIMETER"} if size else {}
    placed = tifffile.imwrite(
        path, shape=shape, dtype=dtype, byteorder="<", photometric="minisblack", returnoffset=True,
        metadata={**attributes, "axes": "ZYX"}, **scale,
    )  # fmt: skip
    assert placed is not None
    each = shape[1] * shape[2] * dtype.itemsize

    def put(number: int, image: np.ndarray) -> None:
        with path.open("rb+") as file:
            file.seek(placed[0] + number * each)
            file.write(image.tobytes())

    return put


def _zarr(path: Path, shape: tuple[int, ...], dtype: np.dtype, attributes: dict[str, Any]) -> Put:
    """An array with named axes; each chunk has a checksum."""
    try:
        import zarr
        from zarr.codecs import ZstdCodec
    except ImportError as error:
        raise ValueError("zarr needs zarr-python: pip install 'tomopilot[volumes]'") from error
    axes = ("z", "y", "x")
    array = zarr.create_array(
        path, shape=shape, dtype=dtype, chunks=(1, *shape[1:]), dimension_names=axes,
        compressors=ZstdCodec(level=1, checksum=True), attributes={**attributes, "axes": list(axes)},
        config={"write_empty_chunks": True},
    )  # fmt: skip
    return array.__setitem__


KINDS = {".tif": _tiff, ".tiff": _tiff, ".zarr": _zarr}
