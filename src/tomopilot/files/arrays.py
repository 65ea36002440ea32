"""Images in the files of NumPy, and in PNG."""

import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tomopilot.files.reading import IMAGE, Found, InputFileError, Pick, affordable, grey, pages, stack


def npy_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked; others are not read."""
    return Found(stack(np.lib.format.open_memmap(path, mode="r"), pick))


def npz_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked of the named array, of the only one, or of `images`."""
    return Found(stack(npz_array(path, dataset.strip("/")), pick))


def npz_array(path: Path, name: str) -> np.ndarray:
    """An array of an npz file by name; without one, its only array or `images`."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        name = name or (names[0] if len(names) == 1 else "images")
        if name not in names:
            listed = ", ".join(names) or "none at all"
            raise InputFileError(
                f"its arrays are {listed}, not {name}; name one of them, images as {path.name}:/NAME"
            )
        affordable(f"the array {name!r}", archive.getinfo(f"{name}.npy").file_size)
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(cast(BinaryIO, member), allow_pickle=False)


def png_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The only image, upright, in grey."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=["PNG"]) as stored:
        affordable("the image", stored.width * stored.height, IMAGE)
        image = ImageOps.exif_transpose(stored)
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
    found = pages(lambda _: pixels, 1, pixels.nbytes, pick)
    return Found([(i, grey(one) if one.ndim == 3 else one) for i, one in found])
