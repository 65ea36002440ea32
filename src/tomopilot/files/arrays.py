"""Images in the files of NumPy, and in PNG."""

from pathlib import Path

import numpy as np

from tomopilot.files.npz import array_names, read_array
from tomopilot.files.reading import IMAGE, Found, InputFileError, Pick, affordable, grey, pages, stack


def npy_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked; others are not read."""
    return Found(stack(np.lib.format.open_memmap(path, mode="r"), pick))


def npz_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked of the named array, of the only one, or of `images`."""
    return Found(stack(npz_array(path, dataset.strip("/")), pick))


def npz_array(path: Path, name: str) -> np.ndarray:
    """An array of an npz file by name; without one, its only array or `images`."""
    names = array_names(path)
    name = name or (names[0] if len(names) == 1 else "images")
    if name not in names:
        listed = ", ".join(names) or "none at all"
        raise InputFileError(
            f"its arrays are {listed}, not {name}; name one of them, images as {path.name}:/NAME"
        )
    return read_array(path, name)


def png_images(path: Path, dataset: str, pick: Pick) -> Found:
    """The only image, upright, in grey."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=["PNG"]) as stored:
        affordable("the image", stored.width * stored.height, IMAGE)
        image = ImageOps.exif_transpose(stored)
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
    found = pages(lambda _: pixels, 1, pixels.nbytes, pick)
    return Found([(i, grey(one) if one.ndim == 3 else one) for i, one in found])
