"""Images in TIFF files."""

from pathlib import Path

import numpy as np

from tomopilot.disk import InputFileError
from tomopilot.files.reading import Pages, Pick, affordable, grey, stack

TURNS = {  # of the tag Orientation: how the stored picture is laid upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def read_tiff(path: Path, dataset: str, pick: Pick) -> Pages:
    """Pages are images; one page may hold a series of them (ImageJ, tifffile)."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        count = len(tiff.pages)
        tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
        if any(tiff.filehandle.read(tiff.tiff.offsetsize)):  # a chain of pages ends with the offset 0
            raise InputFileError(f"page {count} and those after it are missing; copy the file again")
        series = tiff.series[0]
        if count == 1 and series.ndim > 2 and "S" not in series.axes:
            _check(tiff.pages.first)
            affordable("the series", series.nbytes)
            return stack(series.asarray(), pick)
        if (stated := (tiff.imagej_metadata or {}).get("images", count)) != count:
            raise InputFileError(f"it has {count} pages for {stated} images; save them as pages")
        return [(i, _page(tiff.pages.get(i))) for i in pick(count)]


def _check(page) -> None:
    """Raises where a page cannot be read, or not as what it shows."""
    if page.photometric.name not in ("MINISBLACK", "RGB"):
        raise InputFileError(f"its pixels are {page.photometric.name}; save them as grey (MINISBLACK) or RGB")
    affordable("a page", page.nbytes)


def _page(page) -> np.ndarray:
    _check(page)
    try:
        pixels = page.asarray()
    except (ValueError, ImportError) as error:
        if page.compression == 1:
            raise
        raise InputFileError(
            f"its compression is {page.compression.name}, which needs another package: pip install "
            "imagecodecs, or save it without compression"
        ) from error
    pixels = grey(np.moveaxis(pixels, page.axes.index("S"), -1)) if "S" in page.axes else pixels
    tag = page.tags.get("Orientation")
    laid = 1 if tag is None else int(tag.value)
    if laid not in TURNS:
        raise InputFileError(f"its tag Orientation (274) is {laid}; expected 1 to 8")
    return TURNS[laid](pixels)
