"""The table of angles beside TIFF files."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tomopilot.disk import read_text
from tomopilot.files.reading import InputFileError, NotAScan, naming
from tomopilot.raw.angles import known_unit

ENDINGS = (".csv", ".txt", ".tsv")
EXPECTED = (
    "expected a table beside the images, angles.csv, with a line for each projection and a heading that says "
    "the unit: angle_deg or angle_rad, and file where the files' order is another"
)


class Table(NamedTuple):
    """What a table says of the projections, line by line."""

    angles: np.ndarray
    unit: str | None
    files: list[str] | None  # their names, where it has them


def read_table(folder: Path, stem: str, angles_in: str | None) -> Table:
    """The table in a folder that has a scan's own name, or is called angles, or is the only one."""
    tables = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in ENDINGS)
    best = [p for p in tables if p.stem == stem] or [p for p in tables if p.stem.lower() == "angles"]
    best = best or tables
    if not tables:
        raise NotAScan(f"no table of angles is beside it; {EXPECTED}")
    if len(best) != 1:
        listed = ", ".join(p.name for p in tables)
        raise InputFileError(f"the tables beside it are {listed}, and none is called angles; {EXPECTED}")
    with naming(best[0].name):
        table = _columns(read_text(best[0]))
        if table.unit is None and angles_in is None:
            raise InputFileError(
                f"the unit of its angles is not said; {EXPECTED}, or say --angles-in degrees"
            )
        return table


def _columns(text: str) -> Table:
    """Its columns, by their headings; a single column needs none."""
    lines = [
        re.split(r"[,;\t]", line.strip().lstrip("#")) for line in text.splitlines() if line.strip(" \t#")
    ]
    lines = [[cell.strip(' "') for cell in line] for line in lines]
    head = [cell.lower() for cell in lines[0]] if lines and not any(map(_is_number, lines[0])) else []
    rows = lines[bool(head) :]
    files = _first(head, "file|name")
    angle = (
        0 if len(head) < 2 and rows and len(rows[0]) == 1 else _first(head, "angle|theta|rotation|deg|^rad")
    )
    if angle is None or not rows or {len(row) for row in rows} != {len(rows[0])}:
        raise InputFileError(f"its first line is {lines[0] if lines else 'missing'!r}; {EXPECTED}")
    bad = [row[angle] for row in rows if not _is_number(row[angle])]
    if bad:
        raise InputFileError(f"the angle {bad[0]!r} is no number; {EXPECTED}")
    return Table(
        np.array([float(row[angle]) for row in rows]),
        known_unit(head[angle]) if head else None,
        None if files is None else [row[files] for row in rows],
    )


def _first(head: list[str], pattern: str) -> int | None:
    return next((i for i, cell in enumerate(head) if re.search(pattern, cell)), None)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
