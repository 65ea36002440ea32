"""A reconstructed volume as a zarr store: one chunk a slice, each written when it is done."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tomopilot.files.writer import VolumeWriter

AXES = ("z", "y", "x")
ARRAYS = {  # NaN where no slice was written yet
    "estimate": "mean of the posterior samples, or the one image that the method gives",
    "uncertainty": "standard deviation of the samples; NaN of a method that gives one image",
}
SECONDS = "seconds"  # of each slice, written last: a slice without it is not done


class Voxels(NamedTuple):
    """One slice of a reconstructed volume."""

    estimate: np.ndarray  # (h, w)
    uncertainty: np.ndarray  # (h, w)
    seconds: float


def check_zarr() -> None:
    """Raises where the package is missing that volumes are written with."""
    if find_spec("zarr") is None:
        raise ValueError("volumes are written with the package zarr: pip install 'tomopilot[zarr]'")


def create_store(
    path: Path,
    shape: Sequence[int],
    about: Mapping[str, Any],
    *,
    unit: str = "",
    pixel_size: float | None = None,
) -> None:
    """A store for the slices of a volume (z, y, x); what one that is there already holds is kept.

    OME-Zarr 0.5 in zarr 3, so that viewers find axes and scale.
    about: where it comes from; unit: of the values; pixel_size: metres, along all axes
    """
    import zarr

    group = zarr.open_group(path, mode="a")
    size = {"pixel_size": pixel_size, "pixel_size_unit": "m"} if pixel_size else {}
    for name, meaning in ARRAYS.items():
        if name not in group:
            attributes = {"long_name": meaning, "units": unit, "axes": AXES, **size}
            _create(group, name, shape, AXES, attributes)
    if SECONDS not in group:
        _create(group, SECONDS, shape[:1], AXES[:1], {"units": "s"})
    group.attrs.update({"program": "tomopilot", **about, "ome": _ome(pixel_size)})


def _create(group: Any, name: str, shape: Sequence[int], axes: Sequence[str], attributes: Any) -> None:
    kind, fill = ("float64" if name == SECONDS else "float32"), float("nan")
    options = {"dtype": kind, "fill_value": fill, "dimension_names": axes, "attributes": attributes}
    group.create_array(name, shape=shape, chunks=(1, *shape[1:]), **options)


def _ome(pixel_size: float | None) -> dict[str, Any]:
    """Axes and scale as OME-Zarr says them."""
    unit = {"unit": "meter"} if pixel_size else {}
    axes = [{"name": name, "type": "space", **unit} for name in AXES]
    scale = [{"type": "scale", "scale": [pixel_size or 1.0] * len(AXES)}]
    shown = [
        {"name": name, "axes": axes, "datasets": [{"path": name, "coordinateTransformations": scale}]}
        for name in ARRAYS
    ]
    return {"version": "0.5", "multiscales": shown}


def done(path: Path) -> set[int]:
    """The slices of a store that were written, by number."""
    return {int(number) for number in np.isfinite(_open(path)[SECONDS][:]).nonzero()[0]}


def write_slice(path: Path, number: int, found: Voxels) -> None:
    """Puts one slice into a store, on disk once this returns; others may be written at the same time."""
    group = _open(path, "r+")
    for name, value in found._asdict().items():
        array = group[name]
        array[number] = value
        chunk = path / name / array.metadata.encode_chunk_key((number, *[0] * (array.ndim - 1)))
        if chunk.exists():  # one of NaN alone is not written
            with chunk.open("rb") as file:
                os.fsync(file.fileno())


def read_slice(path: Path, number: int) -> Voxels:
    """One slice of a store."""
    group = _open(path)
    return Voxels(*(group[name][number] for name in Voxels._fields))


def write_stack(path: Path, out: Path) -> int:
    """The estimate of a whole store as a volume of its own, in TIFF or zarr by its ending; its slices.

    One slice is in memory at a time. Raises ValueError where slices are not done.
    """
    group = _open(path)
    if "estimate" not in group or SECONDS not in group:
        raise ValueError(
            f"{path} holds {', '.join(sorted(group)) or 'nothing'}; expected a reconstructed volume"
        )
    array = group["estimate"]
    count = array.shape[0]
    if missing := count - len(done(path)):
        raise ValueError(
            f"{missing} of {count} slices of {path} are not reconstructed yet: "
            f"`tomopilot resume {path.parent}`"
        )
    known = {**group.attrs, "unit": array.attrs["units"] or "not known"}
    about = {key: value for key, value in known.items() if key != "ome"}
    with VolumeWriter(
        out, array.shape, array.dtype, {**about, "pixel_size": array.attrs.get("pixel_size")}
    ) as new:
        for number in range(count):
            new[number] = array[number]
    return count


def _open(path: Path, mode: str = "r") -> Any:
    import zarr

    return zarr.open_group(path, mode=mode)  # pyright: ignore[reportArgumentType]
