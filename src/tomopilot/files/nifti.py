"""Slices of NIfTI volumes, turned as those of DICOM are; CT numbers become attenuation.

nibabel reads the header: type, orientation and scaling. Of the values, only slices that are needed are kept.
"""

import gzip
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import numpy as np

from tomopilot.files import lodopab
from tomopilot.files.reading import IMAGE, Found, InputFileError, Pick, affordable, few, pages, square

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

BEGIN = 2**26  # bytes before the values
AIR = (-3100.0, -900.0)  # where the lowest CT number of a volume with air, or with padding, lies
PLAIN = -10.0  # what is nowhere lower is in another unit
HOUNSFIELD = "values go down to {:g}, so they are Hounsfield units, and became attenuation"
UNTURNED = "its orientation is unknown: slices, rows and columns are its axes 3, 2 and 1"


class Volume(NamedTuple):
    """How the values of a file lie in it, and which way they are looked at."""

    shape: tuple[int, ...]
    dtype: np.dtype
    begin: int  # bytes before the values, of which the first axis is the fastest
    axes: tuple[int, int, int]  # along which slices, rows and columns are counted
    flips: tuple[bool, bool, bool]  # whether they are counted from the end

    @property
    def end(self) -> int:
        return self.begin + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def upright(self, plane: np.ndarray) -> np.ndarray:
        """An image of what is stored across the axis of slices."""
        _, rows, columns = self.axes
        image = plane if rows < columns else plane.T
        return image[:: -1 if self.flips[1] else 1, :: -1 if self.flips[2] else 1]


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The slices that were picked, from foot to head; rows run to the back, columns to the patient's left."""
    with path.open("rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path) if compressed else path.open("rb") as opened:
        header = _header(file := cast(BinaryIO, opened))
        axes, flips, notes = _orientation(header)
        volume = Volume(_shape(header), header.get_data_dtype(), int(header.get_data_offset()), axes, flips)
        if not 0 <= volume.begin <= BEGIN:
            raise InputFileError(f"its values begin at byte {volume.begin}; expected at most {BEGIN}")
        count = volume.shape[axes[0]]
        numbers = pick(count)
        each = volume.dtype.itemsize * volume.shape[axes[1]] * volume.shape[axes[2]]
        judged = few(count, each)
        needed = {*numbers, *judged} if numbers else set()
        if compressed:
            affordable("the inflated file", volume.end)
        planes = _planes(file, volume, needed)
    pixel_size, doubts = _pixel_size(header, axes)
    values, unit, decided = _values(planes, header, judged)
    found = pages(lambda i: values[i], count, each, lambda _: numbers)
    return Found(found, pixel_size, unit, (*notes, *doubts, *decided), str(volume.dtype))


def _header(file: BinaryIO) -> "Nifti1Header":
    """A header without its extensions, none of which say anything of values."""
    try:
        from nibabel.nifti1 import Nifti1Header
        from nibabel.nifti2 import Nifti2Header
    except ImportError as error:
        raise InputFileError("NIfTI needs nibabel: pip install 'tomopilot[volumes]'") from error
    head = file.read(540)
    kind = Nifti2Header if head[4:7] == b"n+2" else Nifti1Header
    return kind(head[: kind.template_dtype.itemsize], check=False)


def _shape(header: "Nifti1Header") -> tuple[int, ...]:
    """Three sides; further ones must be 1."""
    shape = tuple(int(side) for side in header.get_data_shape())
    if header.get_data_dtype().kind not in "iufc":
        raise InputFileError(f"the values are {header.get_data_dtype()}; expected numbers")
    if len(shape) < 2 or min(shape) < 1 or any(side > 1 for side in shape[3:]):
        raise InputFileError(f"its sides are {shape}; expected three of 1 or more: save one volume")
    return (*shape, 1)[:3]


def _orientation(
    header: "Nifti1Header",
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool], tuple[str, ...]]:
    """Axes and flips of slices to the head, rows to the back, columns to the left, as near as they come."""
    from nibabel.orientations import io_orientation

    if not header["sform_code"] and not header["qform_code"]:
        return (2, 1, 0), (False, False, False), (UNTURNED,)
    affine = np.asarray(header.get_best_affine(), float)
    nearest = io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if not np.isfinite(nearest).all():
        raise InputFileError(
            "its affine does not turn three axes into three; expected an orientation: correct it"
        )
    slices, rows, columns = (int(np.flatnonzero(nearest[:, 0] == axis)[0]) for axis in (2, 1, 0))
    flips = nearest[slices, 1] < 0, nearest[rows, 1] > 0, nearest[columns, 1] > 0
    return (slices, rows, columns), flips, ()


def _planes(file: BinaryIO, volume: Volume, needed: Collection[int]) -> dict[int, np.ndarray]:
    """Upright images as stored, in one pass; a compressed file is read to its end, where its checksum is."""
    (along, _, _), (backwards, _, _) = volume.axes, volume.flips
    count, size = volume.shape[along], volume.shape[0] * volume.shape[1] * volume.dtype.itemsize
    places = {count - 1 - i if backwards else i: i for i in sorted(needed)}
    if not places:
        return {}
    affordable("a plane of the file", size, IMAGE)
    sides = [side for axis, side in enumerate(volume.shape) if axis != along]
    affordable("the choice of planes", len(places) * int(np.prod(sides)) * volume.dtype.itemsize)
    planes = {place: np.empty(sides, volume.dtype) for place in places}
    for k in sorted(places) if along == 2 else range(volume.shape[2]):
        file.seek(volume.begin + k * size)
        slab = np.frombuffer(file.read(size), volume.dtype).reshape(volume.shape[:2], order="F")
        if along == 2:
            planes[k] = slab
        else:
            for place in places:
                planes[place][:, k] = slab.take(place, along)
    file.seek(volume.end - 1)
    if len(file.read(2)) != 1:
        raise InputFileError("it has fewer or more values than its header says; copy it again")
    return {places[place]: volume.upright(plane) for place, plane in planes.items()}


def _pixel_size(header: "Nifti1Header", axes: tuple[int, int, int]) -> tuple[float | None, tuple[str, ...]]:
    """The side of a pixel in metres, and why it is not known."""
    zooms, (unit, _) = (*header.get_zooms(), 1.0)[:3], header.get_xyzt_units()
    sides = [float(zooms[axis]) for axis in axes[1:]]
    size = square("a pixel by pixdim", sides, str(unit))
    doubts = () if size else (f"its pixels are {sides[0]:g} in a unit that it does not say",)
    return size, doubts


def _values(
    planes: dict[int, np.ndarray], header: "Nifti1Header", judged: Collection[int]
) -> tuple[dict[int, np.ndarray], str, tuple[str, ...]]:
    """Values as they are meant, their unit, and how that was decided, by the `judged` images."""
    slope, inter = header.get_slope_inter()
    if slope is not None and (slope, inter) != (1, 0):
        planes = {i: plane * slope + (inter or 0.0) for i, plane in planes.items()}
    if not planes or header.get_data_dtype().kind == "c":
        return planes, "", ()
    low = min(float(np.fmin.reduce(planes[i], axis=None)) for i in judged)
    if AIR[0] <= low <= AIR[1]:
        return (
            {i: lodopab.attenuation(plane) for i, plane in planes.items()},
            lodopab.UNIT,
            (HOUNSFIELD.format(low),),
        )
    if low < PLAIN:
        raise InputFileError(
            f"its values go down to {low:g}: Hounsfield units of a part without air, or others; expected the "
            f"lowest at {AIR[0]:g} to {AIR[1]:g}, or above {PLAIN:g}: save attenuation per metre as floats"
        )
    return planes, "", ()
