"""Every reader of images, by a tiny file that the test writes: a newcomer adds one line."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from samples import save_dicom

from tomopilot.files.images import READERS
from tomopilot.testing import check_reader

STACK = np.random.default_rng(0).integers(0, 256, (4, 5, 6), dtype=np.uint8)
WATER, PER_HU = 20 / 81.35858, 0.01998 / 81.35858  # LoDoPaB-CT scaling


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


def as_dicom(path: Path) -> np.ndarray:
    save_dicom(path, STACK[0], RescaleSlope=8)
    return np.clip(WATER + PER_HU * (8.0 * STACK[:1] - 1024), 0, 1)


FILES: dict[str, Callable[[Path], np.ndarray]] = {  # name -> what writes it and returns its images
    "a.npy": as_npy,
    "a.npz": as_npz,
    "a.png": as_png,
    "a.dcm": as_dicom,
    "a.tif": as_tif,
    "a.tiff": as_tif,
    "a.h5": as_hdf5,
    "a.hdf5": as_hdf5,
    "a.nxs": as_hdf5,
}


@pytest.mark.parametrize("name", FILES)
def test_laws(name, tmp_path):
    path = tmp_path / name
    images = FILES[name](path)
    check_reader(READERS[path.suffix], path, images)


def test_every_reader_is_listed():
    assert {Path(name).suffix for name in FILES} == set(READERS)
