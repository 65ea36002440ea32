"""Images in TIFF files: pages, several images under one page, or a file a slice; upright, as grey values."""

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from tifffile import TiffFile, TiffPage

from tomopilot.files.formats import series_in
from tomopilot.files.reading import (
    IMAGE,
    Found,
    InputFileError,
    Pages,
    Pick,
    affordable,
    check_named,
    grey,
    naming,
    pages,
    square,
)
from tomopilot.units import readable

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong is said by our errors
ELSEWHERE: Any = {"is_ome": False, "is_mmstack": False, "is_ndtiff": False}  # may lead to other files
PRINTED = (1, 72, 96, 150, 300, 600)  # dots per inch that programs write who know of no pixel size


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked."""
    with TiffFile(path, **ELSEWHERE) as tiff:
        count, size, unit = _count(tiff), _pixel_size(tiff), _unit(tiff)
        if count == len(tiff.pages):
            one = lambda i: cast(TiffPage, tiff.pages.get(i))  # noqa: E731
            read = pages(lambda i: _upright(one(i), _page(one(i))), count, one(0).nbytes, pick)
        else:
            read = _under_one_page(tiff, count, pick)
    return Found(_grey(read), size, unit)


def images_of_series(folder: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked of a folder with a file each, in the natural order of their names."""
    _, paths = series_in(folder)
    heads = [_head(path) for path in paths]
    words = [
        f"{' x '.join(map(str, shape))} {dtype}, with pixels of {readable(size) if size else 'unknown size'}"
        for shape, dtype, size in heads
    ]
    for path, said in zip(paths, words, strict=True):
        if said != words[0]:
            raise InputFileError(
                f"{path.name} is {said}, but {paths[0].name} is {words[0]}; expected slices of one volume: "
                "leave out what is none"
            )
    shape, dtype, size = heads[0]
    each = math.prod(shape) * np.dtype(dtype).itemsize
    return Found(_grey(pages(lambda i: _lone(paths[i]), len(paths), each, pick)), size)


def _head(path: Path) -> tuple[tuple[int, ...], str, float | None]:
    """Shape, type of values and pixel size in metres of the only image of a file."""
    check_named(path, "a TIFF file")
    with naming(path.name), TiffFile(path, **ELSEWHERE) as tiff:
        if (count := _count(tiff)) != 1:
            raise InputFileError(f"it holds {count} images; expected one, as in a stack of slices")
        page = tiff.pages.first
        return page.shape, str(page.dtype), _pixel_size(tiff)


def _lone(path: Path) -> np.ndarray:
    with naming(path.name), TiffFile(path, **ELSEWHERE) as tiff:
        page = cast(TiffPage, tiff.pages.first)
        return _upright(page, _page(page))


def _grey(found: Pages) -> Pages:
    return [(i, grey(pixels) if pixels.ndim == 3 else pixels) for i, pixels in found]


def _unit(tiff: TiffFile) -> str:
    """Of the values, where a description in JSON says it, as our own files do."""
    metadata = tiff.shaped_metadata or ({},)
    return str(metadata[0].get("unit", ""))


def _pixel_size(tiff: TiffFile) -> float | None:
    """As OME or ImageJ say, or the tags of resolution, unless they are about printing."""
    page = tiff.pages.first
    ome = re.findall(r'PhysicalSize([XY])(Unit)?="([^"]*)"', page.description)
    said = {f"{axis}{unit}": value for axis, unit, value in reversed(ome)}  # the first image's
    if "X" in said and "Y" in said and page.description.lstrip().startswith("<"):
        sides = [float(said[axis]) for axis in "XY"]
        return square("its PhysicalSize", sides, said.get("XUnit", "um"))
    across, down = page.get_resolution()
    inches = page.resolutionunit == 2
    if not across > 0 or not down > 0 or (inches and across in PRINTED and down in PRINTED):
        return None
    unit = {2: "inch", 3: "cm", 4: "mm", 5: "um"}.get(page.resolutionunit, "")
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "u") or unit
    return square("a pixel by its tags XResolution and YResolution", [1 / across, 1 / down], unit)


def _count(tiff: TiffFile) -> int:
    """How many images there are, all of one shape and none missing."""
    chain = len(tiff.pages)
    tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
    if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):  # a chain ends with 0
        raise InputFileError(f"page {chain} and those after it are missing; copy the file again")
    sizes = {series.keyframe.shape for series in tiff.series}
    if len(sizes) != 1:
        listed = ", ".join(map(str, sorted(sizes))) or "no size"
        raise InputFileError(f"it holds images of {listed}; expected one size: save what you mean by itself")
    count = sum(math.prod(series.shape) // math.prod(series.keyframe.shape) for series in tiff.series)
    if (stated := (tiff.imagej_metadata or {}).get("images", count)) != count:
        raise InputFileError(f"it has {count} of {stated} images; copy the file again, or save them as pages")
    return count


def _under_one_page(tiff: TiffFile, count: int, pick: Pick) -> Pages:
    """Images that lie one behind the other, described by one page: a stack of ImageJ or tifffile."""
    first, *more = tiff.series
    if more or len(first.pages) != 1:
        raise InputFileError(f"it has {len(tiff.pages)} pages for {count} images; save one page each")
    page = first.keyframe
    affordable("the stack", first.nbytes)
    with _readable(page):
        stack = first.asarray().reshape(count, *page.shape)
    return pages(lambda i: _upright(page, _unpacked(page, stack[i])), count, page.nbytes, pick)


def _page(page: TiffPage) -> np.ndarray:
    affordable("a page", page.nbytes, IMAGE)
    with _readable(page):
        stored = page.asarray()
    return _unpacked(page, stored)


@contextmanager
def _readable(page: TiffPage) -> Iterator[None]:
    """Raises where values would not be grey or RGB, or cannot be unpacked."""
    colours = getattr(page.photometric, "name", page.photometric)
    if colours not in ("MINISBLACK", "RGB"):
        raise InputFileError(f"its pixels are {colours}; save them as grey (MINISBLACK) or RGB")
    stored = zip(page.dataoffsets, page.databytecounts, strict=False)
    there, expected = sum(map(all, stored)), math.prod(page.chunked)
    if there != expected:  # what is missing would be read as 0
        raise InputFileError(f"it has {there} of {expected} strips or tiles of a page; copy the file again")
    try:
        yield
    except (ImportError, ValueError) as error:
        if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
            raise
        method = getattr(page.compression, "name", page.compression)
        raise InputFileError(
            f"its pixels are compressed by {method}, which needs a package that is missing here: "
            "pip install imagecodecs, or save the file without compression"
        ) from None


def _upright(page: TiffPage, stored: np.ndarray) -> np.ndarray:
    """Values with the first row at the top, as the tag Orientation says; colours along the last axis."""
    pixels = np.moveaxis(stored, page.axes.index("S"), -1) if "S" in page.axes else stored
    tag = page.tags.get(274)
    turns = {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        5: lambda image: image.swapaxes(0, 1),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    if tag is not None and tag.value not in turns:
        raise InputFileError(f"its tag Orientation (274) is {tag.value}; expected 1 to 8: correct the tag")
    return pixels if tag is None else turns[tag.value](pixels)


def _unpacked(page: TiffPage, stored: np.ndarray) -> np.ndarray:
    """Values as stored; integers in fewer bits than their type has, such as 12, as shares of their range."""
    packed = stored.dtype.kind == "u" and page.bitspersample < 8 * stored.dtype.itemsize
    return stored / (2.0**page.bitspersample - 1) if packed else stored
