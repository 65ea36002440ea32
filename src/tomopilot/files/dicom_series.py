"""A folder of CT slices in DICOM files: one series, in the order of their positions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomopilot.files import dicom, lodopab
from tomopilot.files.formats import series_in
from tomopilot.files.reading import Found, InputFileError, Pick, check_named, naming, pages

if TYPE_CHECKING:
    from pydicom import FileDataset

DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR, which lists other files
SAME = 1e-3  # mm, and of the cosines of an orientation
UNEVEN = 0.05  # share by which distances of neighbours differ before it is said


@dataclass(frozen=True)
class Slice:
    """What the header of a file says of its place in a volume."""

    path: Path
    shape: tuple[int, int]
    pixel_size: float | None  # metres
    stored: str  # type of its values
    position: tuple[float, ...]  # mm, three numbers, or none
    orientation: tuple[float, ...]  # cosines of rows and columns, six numbers, or none

    @property
    def along(self) -> float:
        """The position along the normal of the slice, in mm."""
        return float(np.dot(np.cross(self.orientation[:3], self.orientation[3:]), self.position))


def images_in(folder: Path, dataset: str, pick: Pick) -> Found:
    """The attenuation in the slices that were picked, ordered along the normal of the slices.

    Of several series, `dataset` is the number of one, counted from 1 in the order of file names.
    """
    slices = _of_one_series(folder, dataset.strip("/"))
    first = slices[0]
    for one in slices:
        _check_alike(one, first)
    slices, notes = _ordered(slices)
    each = 8 * first.shape[0] * first.shape[1]
    found = pages(lambda i: _attenuation(slices[i]), len(slices), each, pick)
    return Found(found, first.pixel_size, lodopab.UNIT, notes, first.stored)


def _of_one_series(folder: Path, number: str) -> list[Slice]:
    """The slices of the only series, or of the `number`-th."""
    _, paths = series_in(folder)
    found: dict[str, dict[Path, FileDataset]] = {}
    for path in paths:
        check_named(path, "a DICOM file")
        with naming(path.name):
            header = dicom.read(path, header=True)
        if header.file_meta.get("MediaStorageSOPClassUID") != DIRECTORY:
            found.setdefault(str(header.get("SeriesInstanceUID", "")), {})[path] = header
    series = list(found.values())
    wanted = 1 if not number and len(series) == 1 else int(number[:9]) if number.isdecimal() else 0
    if not 1 <= wanted <= len(series):
        listed = [f":/{i} ({len(one)} from {next(iter(one)).name})" for i, one in enumerate(series, 1)]
        raise InputFileError(
            f"the folder holds {len(series)} series of slices: {', '.join(listed) or 'none'}; expected one: "
            f"choose it, as {folder.name}:/1"
        )
    return [_slice(path, header) for path, header in series[wanted - 1].items()]


def _slice(path: Path, header: "FileDataset") -> Slice:
    with naming(path.name):
        dicom.check(header)
        if (frames := int(header.get("NumberOfFrames") or 1)) != 1:
            raise InputFileError(f"it holds {frames} images; expected one, as in a series: name it by itself")
        numbers = [
            tuple(map(float, dicom.values(header, tag)))
            for tag in ("ImagePositionPatient", "ImageOrientationPatient")
        ]
        shape = int(header.Rows), int(header.Columns)
        return Slice(path, shape, dicom.pixel_size(header), dicom.stored(header), *numbers)


def _check_alike(one: Slice, first: Slice) -> None:
    """Raises where two slices are not of one volume."""
    for what in ("shape", "pixel_size", "orientation"):
        came, expected = getattr(one, what), getattr(first, what)
        nearly = (
            what == "orientation" and len(came) == len(expected) and np.allclose(came, expected, atol=SAME)
        )
        if came != expected and not nearly:
            raise InputFileError(
                f"{one.path.name} has the {what.replace('_', ' ')} {came}, but {first.path.name} has "
                f"{expected}; expected slices of one volume: leave out what is none"
            )


def _ordered(slices: list[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Slices along their normal, from foot to head where they are axial, and what is uneven about them."""
    if len(slices) == 1:
        return slices, ()
    for one in slices:
        if len(one.position) != 3 or len(one.orientation) != 6 or not np.isfinite(one.along):
            raise InputFileError(
                f"{one.path.name} has no ImagePositionPatient (0020,0032) or ImageOrientationPatient "
                "(0020,0037); expected both in a series, whose order they are: name single files instead"
            )
    slices = sorted(slices, key=lambda one: one.along)
    steps = np.diff([one.along for one in slices])
    closest, widest = int(steps.argmin()), int(steps.argmax())
    if steps[closest] < SAME:
        pair = " and ".join(one.path.name for one in slices[closest : closest + 2])
        raise InputFileError(f"{pair} are at one position; expected one slice at each: leave one of them out")
    if steps[widest] - steps[closest] <= UNEVEN * steps[closest]:
        return slices, ()
    return slices, (
        f"slices are {steps[closest]:.4g} to {steps[widest]:.4g} mm apart; the widest gap is after image "
        f"{widest}",
    )


def _attenuation(one: Slice) -> np.ndarray:
    with naming(one.path.name):
        return dicom.attenuation_of(dicom.read(one.path))
