"""The door: how files are opened, what cannot be read, and numbers that are images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from tomopilot.disk import InputFileError

LARGEST = 4 * 2**30  # bytes that one data set may declare; rejected before reading
DEEP = 4  # a file of more than 8 bits uses no less than this part of its range, or it is not its range

Pages = list[tuple[int, np.ndarray]]  # number of the image in its file, and the image
Pick = Callable[[int], list[int]]  # the numbers asked for, given how many images there are


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an `InputFileError` that begins with `source`."""
    try:
        yield
    except InputFileError as error:
        raise InputFileError(f"{source}: {error}") from error.__cause__
    except Exception as error:  # foreign content makes the libraries fail in every way there is
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputFileError(
            f"{source}: the content is not what was expected ({reason}); "
            "check that the file is complete and that its ending tells its format"
        ) from error


def affordable(what: str, size: int) -> None:
    """Raises where a data set declares more than is read."""
    if size > LARGEST:
        raise InputFileError(f"{what} declares {size} bytes; at most {LARGEST} are read")


def check_depth(pages: Pages) -> None:
    """Raises where integers use a small part of their type's range: 12 bits in uint16, Hounsfield units."""
    wide = [
        image for _, image in pages if image.dtype.kind in "iu" and image.dtype.itemsize > 1 and image.size
    ]
    if not wide:
        return
    low, high = min(image.min() for image in wide), max(image.max() for image in wide)
    full = np.iinfo(wide[0].dtype).max
    if low < 0 or DEEP * int(high) <= int(full) + 1:
        raise InputFileError(
            f"its {wide[0].dtype} values go from {low} to {high}, a small part of what the type holds (0 to "
            f"{full}), which they would be divided by; save them as floats in the unit that the prior knows"
        )


def scaled(values: np.ndarray) -> np.ndarray:
    """Floats and complex numbers as they are, integers divided by the largest value of their type."""
    if values.dtype.kind not in "biufc":
        raise InputFileError(f"the values are {values.dtype}; expected numbers")
    return values / float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else values


def grey(colours: np.ndarray) -> np.ndarray:
    """One value a pixel from channels on the last axis (see `read_images`)."""
    count = colours.shape[-1]
    if count > 4:
        raise InputFileError(f"its pixels have {count} channels; expected grey or RGB, with or without alpha")
    values = scaled(colours[..., : count - 1 if count in (2, 4) else count])
    if (values == values[..., :1]).all():
        return values[..., 0]
    return values @ np.array([0.2126, 0.7152, 0.0722])


def stack(array: np.ndarray | h5py.Dataset, pick: Pick) -> Pages:
    """Images along the first of three axes, each read only when picked; two axes are one image."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputFileError(f"the array has shape {array.shape}; expected (h, w) or (images, h, w)")
    if array.ndim == 2:
        return [(i, np.asarray(array[()])) for i in pick(1)]
    return [(i, np.asarray(array[i])) for i in pick(len(array))]
