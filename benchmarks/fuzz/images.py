"""Feeds changed files to one reader of images: each must end in images, or in an InputFileError.

    pip install atheris
    PYTHONPATH=tests python benchmarks/fuzz/images.py NIfTI -max_total_time=600

The name is one of `SEEDS`. What follows are options of libFuzzer, which begins with the small files below and
tries what reaches new code; a folder as last argument keeps that. It ends with a crash, a hang of 10 s, or
1 GB of memory, and leaves the input as a file in the present folder.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["tomopilot.files"]
):  # with their libraries, it takes minutes to begin
    from tomopilot.files import images

import numpy as np
import samples
import tifffile

from tomopilot.files.reading import InputFileError

STACK = samples.STACK[:3]
SEEDS: dict[str, tuple[str, Callable[[Path], object]]] = {
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


def main() -> None:
    name, *options = sys.argv[1:]
    file, save = SEEDS[name]
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
                images.read_images(str(path))
            except InputFileError:
                pass
            finally:
                parts[number].write_bytes(whole[number])

        own = [option for option in options if not option.startswith("-")]
        flags = [option for option in options if option.startswith("-")]
        limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192", "-len_control=0", "-keep_seed=1"]
        atheris.Setup([sys.argv[0], *limits, *flags, *own, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
