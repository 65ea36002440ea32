"""Small files in the formats that people bring, and what is in them, for tests."""

from pathlib import Path

import h5py
import numpy as np
import pytest

TINY_TRAINING = """
[training]
network = { fold = 2, widths = [8, 8], layers = 1, groups = 4 }
batch = 2
crop = 16
steps = 2
save_every = 1
validate_every = 1
"""


def save_dicom(path: Path, stored: np.ndarray, **tags) -> None:
    """An axial CT slice; tags may be changed or added."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "CT", 2, -1024
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *stored.shape, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path, enforce_file_format=True)


def mri_volume(slices: int = 3, shape: tuple[int, int] = (40, 24)) -> np.ndarray:
    """Complex images as a scanner sees them: twice as high as they need be, and weak."""
    z, y, x = np.ogrid[:slices, : shape[0], : shape[1]]
    magnitude = np.exp(-((y - 18) ** 2 / (20 + z) + (x - 10) ** 2 / 30)) * 1e-4
    return magnitude * np.exp(1j * (0.2 * x + 0.1 * y))


def save_fastmri(path: Path, **changes) -> Path:
    """A single-coil file of fastMRI; data sets may be changed, added, or left out with None."""
    images, axes = mri_volume(), (-2, -1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)
    esc = np.abs(images[:, 8:32]).astype(np.float32)
    parts = {"kspace": kspace.astype(np.complex64), "reconstruction_esc": esc, "reconstruction_rss": esc}
    with h5py.File(path, "w") as file:
        for name, values in {**parts, **changes}.items():
            if values is not None:
                file[name] = values
        file["ismrmrd_header"] = np.bytes_(b"<xml/>")
        file.attrs.update(acquisition="CORPD_FBK", max=1.0, norm=1.0, patient_id="0")
    return path
