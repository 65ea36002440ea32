"""Scans as TIFF files, one projection each or all in one, with the angles in a table beside them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from tifffile import TiffFile, TiffPage

from tomopilot.disk import check_file, read_text
from tomopilot.files.measured.angles import known_unit, radians
from tomopilot.files.measured.records import Frames, RawScan
from tomopilot.files.reading import InputFileError, affordable, naming
from tomopilot.files.tiff import ELSEWHERE

TIFF = (".tif", ".tiff")
TABLES = (".csv", ".txt", ".tsv")
TABLE = (
    "expected a table beside the images, angles.csv, with a line for each projection and a heading that says "
    "the unit: angle_deg or angle_rad, and file where the files' order is another"
)


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
        raise InputFileError("it holds no TIFF files; expected one for each projection")
    angles, unit, files = _table(folder, path, angles_in)
    if files is not None:
        named = {place.name: place for place in own}
        absent = [name for name in files if name not in named]
        if absent:
            raise InputFileError(
                f"its table names {absent[0]}, which is not there; expected a file for each line"
            )
        own = [named[name] for name in files]
    frames, quarantined = _frames(own)
    flats, darks = (_fields(path, kind) for kind in ("flat", "dark"))
    after = _folders(path, "flat")
    late = [len(frames) * ("after" in place.parent.name.lower()) for place in _tiffs(*after)]
    return RawScan(
        name=path.stem,
        format="TIFF series" if path.is_dir() else "TIFF of many pages",
        projections=frames,
        angles=radians(angles, unit, angles_in),
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
    wrong = {
        i: kind
        if isinstance(kind, str)
        else f"it is {kind[1]} {kind[0]}; the others are {dtype} {(rows, bins)}"
        for i, kind in enumerate(kinds)
        if kind != usual
    }
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


def _table(
    folder: Path, path: Path, angles_in: str | None
) -> tuple[np.ndarray, str | None, list[str] | None]:
    """Angles, their unit, and the files' names where they are said, from the only table that fits."""
    tables = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in TABLES)
    best = [p for p in tables if p.stem == path.stem] or [p for p in tables if p.stem.lower() == "angles"]
    best = best or tables
    if len(best) != 1:
        listed = ", ".join(p.name for p in tables) or "none"
        raise InputFileError(f"the tables of angles beside it are: {listed}; {TABLE}")
    with naming(best[0].name):
        return _columns(read_text(best[0]), angles_in)


def _columns(text: str, angles_in: str | None) -> tuple[np.ndarray, str | None, list[str] | None]:
    lines = [
        re.split(r"[,;\t]", line.strip().lstrip("#").strip()) for line in text.splitlines() if line.strip()
    ]
    lines = [[cell.strip().strip('"') for cell in line] for line in lines]
    lines = [line for line in lines if any(line)]
    head = [cell.lower() for cell in lines[0]] if lines and not any(map(_is_number, lines[0])) else []
    rows = lines[bool(head) :]
    files = next((i for i, cell in enumerate(head) if re.search("file|name", cell)), None)
    angle = next((i for i, cell in enumerate(head) if re.search("angle|theta|rotation|deg|^rad", cell)), None)
    if angle is None and rows and len(rows[0]) == 1:
        angle = 0
    if angle is None or not rows or {len(row) for row in rows} != {len(rows[0])}:
        raise InputFileError(f"its first line is {lines[0] if lines else 'missing'!r}; {TABLE}")
    bad = [row[angle] for row in rows if not _is_number(row[angle])]
    if bad:
        raise InputFileError(f"the angle {bad[0]!r} is no number; {TABLE}")
    unit = known_unit(head[angle]) if head else None
    if unit is None and angles_in is None:
        raise InputFileError(f"the unit of its angles is not said; {TABLE}, or say --angles-in degrees")
    return (
        np.array([float(row[angle]) for row in rows]),
        unit,
        None if files is None else [row[files] for row in rows],
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
