"""CT slices in DICOM files."""

from pathlib import Path
from typing import Any

import numpy as np

from tomopilot.disk import InputFileError
from tomopilot.files.reading import Pages, Pick, stack


def read_dicom(path: Path, dataset: str, pick: Pick) -> Pages:
    """Hounsfield units as attenuation; what is no CT slice of square pixels is rejected by its tag."""
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
        from pydicom.uid import ImplicitVRLittleEndian
    except ImportError as error:
        raise InputFileError("DICOM needs pydicom: pip install 'tomopilot[dicom]'") from error
    try:
        slices = pydicom.dcmread(path)
    except InvalidDicomError as error:
        slices = pydicom.dcmread(path, force=True)
        if "SOPClassUID" not in slices:
            raise InputFileError("it has no DICOM preamble and no SOPClassUID (0008,0016)") from error
        if not hasattr(slices.file_meta, "TransferSyntaxUID"):
            slices.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    _check(slices)
    slope, intercept = float(slices.RescaleSlope), float(slices.RescaleIntercept)
    return [(i, attenuation(slope * stored + intercept)) for i, stored in stack(slices.pixel_array, pick)]


def _check(slices: Any) -> None:
    modality, channels = slices.get("Modality"), slices.get("SamplesPerPixel", 1)
    if modality != "CT" or channels != 1:
        raise InputFileError(f"it is DICOM of Modality (0008,0060) {modality}; expected CT, in grey")
    if "LOCALIZER" in (slices.get("ImageType") or ()):
        raise InputFileError("its ImageType (0008,0008) is LOCALIZER: a scout view, not a slice")
    for name, tag in (("RescaleSlope", "(0028,1053)"), ("RescaleIntercept", "(0028,1052)")):
        if slices.get(name) in (None, ""):
            raise InputFileError(f"its {name} {tag} is missing or empty, so its values have no unit")
    if (unit := slices.get("RescaleType") or "HU") != "HU":
        raise InputFileError(f"its RescaleType (0028,1054) is {unit}; expected HU, Hounsfield units")
    spacing = [float(value) for value in slices.get("PixelSpacing") or ()]
    if len(set(spacing)) > 1:
        raise InputFileError(
            f"its PixelSpacing (0028,0030) is {spacing[0]:g} x {spacing[1]:g} mm: angles are wrong in a "
            "stretched picture; resample it to square pixels"
        )


def attenuation(hounsfield: np.ndarray) -> np.ndarray:
    """Linear attenuation per 81.35858 per metre, water 20 and air 0.02 per metre (LoDoPaB-CT)."""
    return np.clip((hounsfield * 19.98 / 1000 + 20) / 81.35858, 0, 1)
