"""CT slices in DICOM files, as attenuation; whatever is no axial slice in Hounsfield units is rejected."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomopilot.files import lodopab
from tomopilot.files.reading import IMAGE, OBLONG, Found, InputFileError, Pick, affordable, stack

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset
    from pydicom.uid import UID

SCOUTS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"}  # values of ImageType
TAGS = [  # all that is read of a file: nothing of the patient
    "Modality", "ImageType", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "PixelAspectRatio", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "ModalityLUTSequence", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData",
]  # fmt: skip


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The attenuation in the slices that were picked."""
    slices = read(path)
    check(slices)
    found = stack(attenuation_of(slices), pick)
    return Found(found, pixel_size(slices), lodopab.UNIT, stored=stored(slices))


def read(path: Path, *, header: bool = False) -> "FileDataset":
    """A DICOM file, also one that begins without the preamble; its `header` is all but the pixels."""
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise InputFileError("DICOM needs pydicom: pip install 'tomopilot[dicom]'") from error
    try:
        return dcmread(path, specific_tags=TAGS, stop_before_pixels=header)
    except InvalidDicomError:
        slices = dcmread(path, force=True, specific_tags=TAGS)
    if "PixelData" not in slices:
        raise InputFileError("it has no DICOM preamble and no PixelData (7FE0,0010); expected a DICOM image")
    if "TransferSyntaxUID" not in slices.file_meta:
        slices.file_meta.TransferSyntaxUID = _plain_syntax(slices)
    if header:
        del slices.PixelData
    return slices


def attenuation_of(slices: "FileDataset") -> np.ndarray:
    """Linear attenuation in the LoDoPaB-CT scaling, (h, w) or (frames, h, w)."""
    slope, intercept = _number(slices, "RescaleSlope"), _number(slices, "RescaleIntercept")
    if slope == 0:
        raise InputFileError(f"{_said(slices, 'RescaleSlope')}; expected a slope that is not 0")
    each = 8 * int(slices.Rows) * int(slices.Columns)
    affordable("an image", each, IMAGE)
    affordable("its images", each * int(slices.get("NumberOfFrames") or 1))
    return lodopab.attenuation(slope * _pixels(slices) + intercept)


def pixel_size(slices: "Dataset") -> float | None:
    """The side of a pixel in metres."""
    return next((float(side) / 1000 for side in values(slices, "PixelSpacing")), None)


def stored(slices: "Dataset") -> str:
    """The type of the values in the file."""
    return f"{'int' if slices.get('PixelRepresentation') else 'uint'}{slices.get('BitsAllocated')}"


def _plain_syntax(slices: "FileDataset") -> "UID":
    """The encoding in which a file without a header was read."""
    from pydicom import uid

    implicit, little = slices.original_encoding
    if not little:
        return uid.ExplicitVRBigEndian
    return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


def check(slices: "Dataset") -> None:
    """Raises on anything but a slice in grey, of square pixels, in Hounsfield units."""
    if slices.get("Modality") != "CT" or slices.get("SamplesPerPixel", 1) != 1:
        said = f"{_said(slices, 'Modality')} and {_said(slices, 'SamplesPerPixel')}"
        raise InputFileError(f"{said}; expected CT, in grey")
    if SCOUTS & set(values(slices, "ImageType")):
        raise InputFileError(f"{_said(slices, 'ImageType')}: a projection; expected a slice: leave it out")
    if slices.get("RescaleType") not in (None, "", "HU") or "ModalityLUTSequence" in slices:
        tag = "ModalityLUTSequence" if "ModalityLUTSequence" in slices else "RescaleType"
        raise InputFileError(f"{_said(slices, tag)}; expected Hounsfield units (HU): export the CT numbers")
    for tag in ("PixelSpacing", "PixelAspectRatio"):
        sides = [float(side) for side in values(slices, tag) or (1, 1)]
        if len(sides) != 2 or not min(sides) > 0 or max(sides) > (1 + OBLONG) * min(sides):
            raise InputFileError(
                f"{_said(slices, tag)}; expected two equal sides above 0: resample the slice to square pixels"
            )


def values(slices: "Dataset", keyword: str) -> list[Any]:
    """All values of a tag; none where it is missing or empty."""
    value = slices.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | float) else list(value)


def _number(slices: "Dataset", keyword: str) -> float:
    """A number that must be there."""
    value = slices.get(keyword)
    if value is None or not math.isfinite(float(value)):
        raise InputFileError(f"{_said(slices, keyword)}; expected a number: export the CT numbers with it")
    return float(value)


def _said(slices: "Dataset", keyword: str) -> str:
    """A tag by name and number, and what it says."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    value = slices.get(keyword)
    if keyword not in slices:
        said = "missing"
    elif keyword.endswith("Sequence"):
        said = "there"
    else:
        said = "empty" if value is None or value == "" else value
    return f"the tag {keyword} {Tag(tag_for_keyword(keyword) or keyword)} is {said}"


def _pixels(slices: "FileDataset") -> np.ndarray:
    syntax = slices.file_meta.TransferSyntaxUID
    try:
        return slices.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        if not syntax.is_compressed:
            raise
        raise InputFileError(
            f"its pixels are compressed by {syntax.name}, which cannot be read here: "
            "pip install 'pylibjpeg[all]', or save the file without compression"
        ) from error
