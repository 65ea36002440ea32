"""Feeds changed files to one reader, of images or of scans: each must be read, or end in an InputFileError.

    pip install atheris
    PYTHONPATH=tests python benchmarks/fuzz/readers.py NIfTI -max_total_time=600

The name is one of `IMAGES` or `SCANS`. What follows are options of libFuzzer, which begins with the small
files below and tries what reaches new code; a folder as last argument keeps that. It ends with a crash, a
hang of 10 s, or 1 GB of memory, and leaves the input as a file in the present folder.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["tomopilot.files", "tomopilot.raw"]
):  # with their libraries, it takes minutes to begin
    from tomopilot.files.images import read_images
    from tomopilot.raw.axis import find_axis
    from tomopilot.raw.correction import Correction
    from tomopilot.raw.door import read_measured

import h5py
import numpy as np
import samples
import tifffile

from tomopilot.files.reading import InputFileError

STACK = samples.STACK[:3]
FRAMES = samples.nxtomo_parts(count=12, rows=1, bins=8)
KEYS = FRAMES["instrument/detector/image_key"]
Seeds = dict[str, tuple[str, Callable[[Path], object]]]
IMAGES: Seeds = {
    "NumPy": ("a.npy", lambda path: np.save(path, STACK)),
    "npz": ("a.npz", lambda path: np.savez_compressed(path, images=STACK)),
    "PNG": ("a.png", lambda path: samples.save_png(path, STACK[0])),
    "TIFF": ("a.tif", lambda path: tifffile.imwrite(path, STACK, compression="zlib", **samples.GREY)),
    "TIFF-series": ("scan", lambda path: samples.save_tifs(path, STACK)),
    "HDF5": ("a.h5", lambda path: samples.save_h5(path, images=STACK)),
    "DICOM": ("a.dcm", lambda path: samples.save_dicom(path, STACK[0])),
    "DICOM-series": ("scan", lambda path: samples.save_dicoms(path, STACK)),
    "NIfTI": ("a.nii", lambda path: samples.save_nifti(path, STACK.T)),
    "NIfTI-gz": ("a.nii.gz", lambda path: samples.save_nifti(path, STACK.T)),
    "VGStudio": ("a.vgi", lambda path: samples.save_vgi(path, STACK)),
    "zarr2": ("a.zarr", lambda path: samples.save_zarr(path, STACK, version=2)),
    "zarr3": ("a.zarr", lambda path: samples.save_zarr(path, STACK)),
    "OME-Zarr": ("a.zarr", lambda path: samples.save_ome(path, STACK)),
}


def save_dataexchange(path: Path) -> None:
    data, theta = FRAMES["instrument/detector/data"], FRAMES["sample/rotation_angle"]
    fields = {
        f"exchange/data{kind}": data[key == KEYS] for kind, key in (("", 0), ("_white", 1), ("_dark", 2))
    }
    samples.save_dataexchange(path, **fields, **{"exchange/theta": theta[KEYS == 0]})


def save_lodopab(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.zeros((1, 1000, 513), np.float32), compression="gzip")


def save_arrays(path: Path) -> None:
    data, theta = FRAMES["instrument/detector/data"], FRAMES["sample/rotation_angle"]
    parts = {kind: data[key == KEYS] for key, kind in enumerate(("projections", "flats", "darks"))}
    np.savez(path, **parts, angles_deg=theta[KEYS == 0], pixel_size_mm=0.1)


def save_series(path: Path) -> None:
    path.mkdir()
    samples.save_series(path, every=15)


def save_pages(path: Path) -> None:
    path.mkdir()
    tifffile.imwrite(path / "a.tif", FRAMES["instrument/detector/data"][KEYS == 0], **samples.GREY)
    (path / "angles.txt").write_text("angle_deg\n" + "\n".join(map(str, range(0, 180, 15))))


SCANS: Seeds = {
    "scan-NXtomo": ("a.nxs", lambda path: samples.save_nxtomo(path, **FRAMES)),
    "scan-DataExchange": ("a.h5", save_dataexchange),
    "scan-LoDoPaB": ("a.hdf5", save_lodopab),
    "scan-npz": ("a.npz", save_arrays),
    "scan-TIFF-series": ("scan", save_series),
    "scan-TIFF-pages": ("scan", save_pages),
}


def read_scan(source: str) -> object:
    lines = Correction(axis=0)(read_measured(source), slice(0, 1))
    return find_axis(lines.values, lines.angles)


def main() -> None:
    name, *options = sys.argv[1:]
    file, save = (IMAGES | SCANS)[name]
    read = read_scan if name in SCANS else read_images
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        path, corpus = Path(folder) / file, Path(folder) / "corpus"
        save(path)
        parts = sorted(one for one in path.rglob("*") if one.is_file()) or [path]
        whole = [part.read_bytes() for part in parts]
        corpus.mkdir()
        for number, content in enumerate(whole):  # the first byte tells which part of a folder is changed
            (corpus / str(number)).write_bytes(bytes([number]) + content)

        def one(data: bytes) -> None:
            number = data[0] % len(parts) if data else 0
            parts[number].write_bytes(data[1:])
            try:
                read(str(path))
            except InputFileError:
                pass
            finally:
                parts[number].write_bytes(whole[number])

        own = [option for option in options if not option.startswith("-")]
        flags = [option for option in options if option.startswith("-")]
        limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-len_control=0", "-keep_seed=1"]
        atheris.Setup([sys.argv[0], *limits, *flags, *own, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
