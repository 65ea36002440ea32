"""The door for files that users name: what may be opened, how much is read, and how errors are said."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

import h5py
import numpy as np

from tomopilot.disk import check_file
from tomopilot.files.heap import has_damaged_texts
from tomopilot.units import metres

LARGEST = 4 * 2**30  # bytes that one data set may declare; more is rejected before reading
IMAGE = 2**28  # bytes of one image, such as 8192 x 8192 floats
FILLED = 0.25  # least share of their type's range that integers reach; 14 bits in 16 are less
FEW = 16  # images of a file are looked at where those picked are dark

HEAP_ID = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])  # of a text in an HDF5 file
Pages = list[tuple[int, np.ndarray]]  # number of the image in its file, and the image
Pick = Callable[[int], list[int]]  # the numbers asked for, given how many images there are

OBLONG = 0.01  # sides of a pixel differ by less than this share


class Found(NamedTuple):
    """What a reader finds: the images that were picked, and what their file says of them."""

    pages: Pages
    pixel_size: float | None = None  # metres, the side of a pixel
    unit: str = ""  # of the values, as they are given
    notes: tuple[str, ...] = ()  # what was decided in reading, for people
    stored: str = ""  # type of the values in the file, where it is not that of the images here


class InputFileError(ValueError):
    """A file that cannot be used: one sentence that says what came, what was expected and what to do."""


class NotAScan(InputFileError):
    """What holds no measured scan of any format, whatever else it may be."""


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an `InputFileError` that begins with `source`."""
    try:
        yield
    except InputFileError as error:
        raise type(error)(f"{source}: {error}") from error.__cause__
    except Exception as error:  # foreign content makes the libraries fail in every way there is
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputFileError(
            f"{source}: the content is not what was expected ({reason}); "
            "check that the file is complete, or copy it again"
        ) from error


def check_named(path: Path, expected: str, largest: int | None = None) -> None:
    """Raises unless `path` is a regular file, of `largest` bytes at most where it is read as a whole."""
    try:
        check_file(path, largest)
    except OSError as problem:
        raise InputFileError(f"{problem}; expected {expected}") from None


def affordable(what: str, size: int, most: int = LARGEST) -> None:
    if size > most:
        raise InputFileError(f"{what} declares {size} bytes; at most {most} are read")


def square(what: str, sides: Sequence[float], unit: str = "m") -> float | None:
    """The side of a pixel in metres, of its sides in a unit of length; None where these say nothing."""
    sides = [side for side in sides if 0 < side < math.inf]
    if not sides:
        return None
    if max(sides) > (1 + OBLONG) * min(sides):
        raise InputFileError(
            f"{what} is {' x '.join(f'{side:g}' for side in sides)} {unit}; expected two equal sides: "
            "resample the images to square pixels"
        )
    scale = metres(unit)
    return None if scale is None else sides[0] * scale


def stack(array: np.ndarray | h5py.Dataset, pick: Pick) -> Pages:
    """Images along the first of three axes, each read only when picked; two axes are one image."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputFileError(f"the array has shape {array.shape}; expected (h, w) or (images, h, w)")
    if array.ndim == 2:
        return pages(lambda i: np.asarray(array[()]), 1, array.nbytes, pick)
    return pages(lambda i: np.asarray(array[i]), len(array), array.nbytes // len(array), pick)


def pages(read: Callable[[int], np.ndarray], count: int, each: int, pick: Pick) -> Pages:
    """The images that were picked of `count`, once it is known that integers fill the range of their type.

    `each` is the number of bytes of an image. Where those picked are dark, as one slice of a volume may be,
    a few others of the file decide.
    """
    numbers = pick(count)
    affordable("an image", each, IMAGE)
    affordable(f"the choice of {len(numbers)} images", len(numbers) * each)
    found = [(i, read(i)) for i in numbers]
    brightest = max((_filled(pixels) for _, pixels in found), default=1.0)
    if brightest < FILLED:
        brightest = max(brightest, *(_filled(read(i)) for i in few(count, each)))
    if brightest < FILLED:
        most = np.iinfo(found[0][1].dtype).max
        reached = round(brightest * most)
        raise InputFileError(
            f"its integers reach {reached} of {most}, the largest of their type, as those of a camera of "
            f"{max(1, reached).bit_length()} bits do; expected a quarter of it or more: divide by the value "
            "that means 1, and save as floats"
        )
    return found


def few(count: int, each: int) -> range:
    """At most 16 images of so many bytes, evenly spread over all, which stand for the others.

    >>> few(5, 2**20), few(100, 2**20), few(100, 2**27)
    (range(0, 5), range(0, 100, 7), range(0, 100, 50))
    """
    return range(0, count, -(-count // min(FEW, max(1, IMAGE // max(1, each)))))


def _filled(pixels: np.ndarray) -> float:
    """The share of the range of their type that integers reach; 1 of others."""
    if pixels.dtype.kind not in "iu":
        return 1.0
    high, low = float(pixels.max(initial=0)), float(pixels.min(initial=0))
    return max(high, -low) / float(np.iinfo(pixels.dtype).max)


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


def opened(path: Path) -> h5py.File:
    """An HDF5 file to read, if it is a file."""
    check_named(path, "an HDF5 file")
    if has_damaged_texts(path):
        raise InputFileError(
            "its texts are damaged: a heap of them leads to itself, or one says it is longer than the file; "
            "copy the file again"
        )
    with suppress(ImportError):
        import_module("hdf5plugin")  # where it is installed, HDF5 knows the filters that it brings
    return h5py.File(path, "r")


def local_dataset(file: h5py.File, path: str, hops: int = 16, *, whole: bool = True) -> h5py.Dataset:
    """The data set at `path` if its values lie in this very file.

    whole: it is to be read as a whole, and so must be of a size that can be
    """
    node: h5py.Group | h5py.Dataset | h5py.Datatype = file
    parts = [part for part in path.split("/") if part]
    for depth, part in enumerate(parts, 1):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if isinstance(link, h5py.SoftLink) and hops:
            start = "" if link.path.startswith("/") else f"{node.name}/"
            return local_dataset(file, "/".join([start + link.path, *parts[depth:]]), hops - 1, whole=whole)
        if not isinstance(link, h5py.HardLink):
            what = "leads to another file" if isinstance(link, h5py.ExternalLink) else "does not exist"
            raise InputFileError(f"the data set {path} {what}; expected one whose values lie in this file")
        node = cast(h5py.Group, node)[part]
    if not isinstance(node, h5py.Dataset):
        raise InputFileError(f"{path} is a group; expected a data set inside it")
    if node.external or node.is_virtual:
        raise InputFileError(f"the values of the data set {path} lie in other files; copy them here first")
    if whole:
        affordable(f"the data set {path}", node.nbytes)
    _check_filters(path, node)
    _check_texts(path, node)
    return node


def _check_texts(path: str, node: h5py.Dataset) -> None:
    """Raises where a text says it is longer than the file: HDF5 takes the memory before it looks."""
    offset = node.id.get_offset()
    if not h5py.check_string_dtype(node.dtype) or node.dtype.kind != "O" or offset is None:
        return
    with open(node.file.filename, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(offset)
        said = file.read(HEAP_ID.itemsize * math.prod(node.shape))
    known = np.frombuffer(said, HEAP_ID, len(said) // HEAP_ID.itemsize)
    if len(known) and known["length"].max() > size:
        raise InputFileError(f"the text {path} is damaged: it says it is longer than the file; copy it again")


def _check_filters(path: str, node: h5py.Dataset) -> None:
    """Raises where values are compressed by what is not installed here; the package hdf5plugin is used."""
    filters = node.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            said = name.decode(errors="replace").partition(";")[0] or "unnamed"
            raise InputFileError(
                f"the data set {path} is compressed by the HDF5 filter {code} ({said}), which is missing "
                "here: pip install hdf5plugin, or save the file with gzip"
            )
