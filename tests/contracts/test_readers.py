"""Every reader of images, by a tiny file that the test writes: a newcomer adds one line."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import samples
import tifffile
from PIL import Image
from samples import PER_HU, WATER

from tomopilot.files.formats import format_of
from tomopilot.files.images import READERS
from tomopilot.testing import check_reader

STACK = samples.STACK[:4]


def as_hdf5(path: Path) -> np.ndarray:
    with h5py.File(path, "w") as file:
        file["deep/down"], file["angles"] = STACK, np.arange(4.0)
    return STACK


def as_npy(path: Path) -> np.ndarray:
    np.save(path, STACK)
    return STACK


def as_npz(path: Path) -> np.ndarray:
    np.savez_compressed(path, images=STACK, source=np.arange(4))
    return STACK


def as_png(path: Path) -> np.ndarray:
    Image.fromarray(STACK[0]).save(path)
    return STACK[:1]


def as_tif(path: Path) -> np.ndarray:
    tifffile.imwrite(path, STACK, photometric="minisblack")
    return STACK


def as_tifs(path: Path) -> np.ndarray:
    samples.save_tifs(path, STACK)
    return STACK


def as_dicom(path: Path) -> np.ndarray:
    samples.save_dicom(path, STACK[0], RescaleSlope=8)
    return np.clip(WATER + PER_HU * (8.0 * STACK[:1] - 1024), 0, 1)


def as_dicoms(path: Path) -> np.ndarray:
    samples.save_dicoms(path, STACK, RescaleSlope=8)
    return np.clip(WATER + PER_HU * (8.0 * STACK - 1024), 0, 1)


def as_nifti(path: Path) -> np.ndarray:
    samples.save_nifti(path, STACK.transpose(2, 1, 0))
    return STACK


def as_vgi(path: Path) -> np.ndarray:
    samples.save_vgi(path, STACK)
    return STACK


def as_zarr(path: Path) -> np.ndarray:
    samples.save_zarr(path, STACK)
    return STACK


def as_ome(path: Path) -> np.ndarray:
    samples.save_ome(path, STACK)
    return STACK


FILES: dict[
    str, tuple[str, Callable[[Path], np.ndarray]]
] = {  # name -> format, what writes it and gives its images
    "a.npy": ("NumPy", as_npy),
    "a.npz": ("npz", as_npz),
    "a.png": ("PNG", as_png),
    "a.dcm": ("DICOM", as_dicom),
    "dicom": ("DICOM series", as_dicoms),
    "a.tif": ("TIFF", as_tif),
    "tif": ("TIFF series", as_tifs),
    "a.nxs": ("HDF5", as_hdf5),
    "a.nii": ("NIfTI", as_nifti),
    "a.nii.gz": ("NIfTI", as_nifti),
    "a.vgi": ("VGStudio", as_vgi),
    "a.zarr": ("zarr", as_zarr),
    "ome.zarr": ("zarr", as_ome),
}


@pytest.mark.parametrize("name", FILES)
def test_laws(name, tmp_path):
    path, (kind, save) = tmp_path / name, FILES[name]
    images = save(path)
    assert format_of(path) == kind
    check_reader(READERS[kind], path, images)


def test_every_reader_is_listed():
    assert {kind for kind, _ in FILES.values()} == set(READERS)
