"""Scans as TIFF files, one projection each or all in one, with the angles in a table beside them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from tifffile import TiffFile, TiffPage

from tomopilot.disk import check_file
from tomopilot.files.reading import InputFileError, NotAScan, affordable, naming
from tomopilot.files.tiff import ELSEWHERE
from tomopilot.raw.angles import radians
from tomopilot.raw.records import Frames, RawScan
from tomopilot.raw.tables import read_table

TIFF = (".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class InTiffs:
    """Frames as pages of TIFF files."""

    places: tuple[tuple[Path, int], ...]  # file and page

    def read(self, numbers: np.ndarray, rows: slice) -> np.ndarray:
        return np.stack([self._page(*self.places[i])[rows] for i in numbers])

    def _page(self, path: Path, page: int) -> np.ndarray:
        with naming(str(path)), TiffFile(path, **ELSEWHERE) as tiff:
            return cast(TiffPage, tiff.pages.get(page)).asarray()


def read_series(path: Path, angles_in: str | None) -> RawScan:
    """The scan in a folder of TIFF files, or in one file of many pages.

    In a folder, the projections are its own files or those of a folder `proj...` or `tomo...`; flats and
    darks are in folders that begin with `flat` and `dark` (`..._after`: after the scan). A projection of
    another size or type than most is quarantined.
    """
    folder = path if path.is_dir() else path.parent
    own = _tiffs(path) or _tiffs(*_folders(path, "proj", "tomo"))
    if not own:
        raise NotAScan("it holds no TIFF files; expected one for each projection")
    table = read_table(folder, path.stem, angles_in)
    if table.files is not None:
        named = {place.name: place for place in own}
        absent = [name for name in table.files if name not in named]
        if absent:
            raise InputFileError(f"its table names {absent[0]}, which is not there; expected a file a line")
        own = [named[name] for name in table.files]
    frames, quarantined = _frames(own)
    flats, darks = (_fields(path, kind) for kind in ("flat", "dark"))
    late = [len(frames) * ("after" in file.parent.name.lower()) for file in _tiffs(*_folders(path, "flat"))]
    return RawScan(
        name=path.stem,
        format="TIFF series" if path.is_dir() else "TIFF of many pages",
        projections=frames,
        angles=radians(table.angles, table.unit, angles_in),
        counts=True,
        flats=flats,
        flats_after=np.array(late) if flats is not None and len(late) == len(flats) else None,
        darks=darks,
        quarantined=quarantined,
    )


def _tiffs(*folders: Path) -> list[Path]:
    """The TIFF files of folders, or one itself, in the order of the numbers in their names."""
    found = []
    for folder in folders:
        inside = [folder] if folder.is_file() else [p for p in folder.iterdir() if p.is_file()]
        found += sorted((p for p in inside if p.suffix.lower() in TIFF), key=_natural)
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    """So that 10 comes after 9."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path.name.lower())]


def _folders(path: Path, *beginnings: str) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name.lower().startswith(beginnings))


def _fields(path: Path, kind: str) -> Frames | None:
    """The flats or darks; those of another size or type than most are left out."""
    found = _tiffs(*_folders(path, kind))
    if not found:
        return None
    frames, wrong = _frames(found)
    return frames[[i for i in range(len(frames)) if i not in wrong]]


def _frames(files: list[Path]) -> tuple[Frames, dict[int, str]]:
    """The pages of all files as frames, and those that are unlike most, with the reason."""
    places, kinds = [], []
    for path in files:
        try:
            with naming(path.name):
                found = _pages(path)
        except InputFileError as error:
            if len(files) == 1:
                raise
            found = [str(error)]
        places += [(path, page) for page in range(len(found))]
        kinds += found
    usual = max((kind for kind in kinds if not isinstance(kind, str)), key=kinds.count, default=None)
    if usual is None:
        raise InputFileError(f"none of its {len(files)} TIFF files can be read ({kinds[0]})")
    (rows, bins), dtype = usual
    others = f"the others are {dtype} {(rows, bins)}"
    said = [kind if isinstance(kind, str) else f"it is {kind[1]} {kind[0]}; {others}" for kind in kinds]
    wrong = {i: said[i] for i, kind in enumerate(kinds) if kind != usual}
    return Frames(InTiffs(tuple(places)), np.arange(len(places)), rows, bins, dtype), wrong


def _pages(path: Path) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each page, which must be grey and in two axes."""
    check_file(path)
    with TiffFile(path, **ELSEWHERE) as tiff:
        found = []
        for page in tiff.pages:
            page = cast(TiffPage, page)
            affordable("a page", page.nbytes)
            if len(page.shape) != 2 or page.dtype is None or page.dtype.kind not in "uif":
                raise InputFileError(f"its pages are {page.dtype} {page.shape}; expected grey (rows, bins)")
            found.append((page.shape, page.dtype))
        return found
