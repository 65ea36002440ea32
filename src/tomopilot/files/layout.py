"""Chip layouts (GDSII, OASIS): how much of each pixel a drawn layer covers, exactly."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomopilot.files.reading import InputFileError, check_named, naming

if TYPE_CHECKING:
    from klayout import db

SUFFIXES = (".gds", ".gds2", ".gds.gz", ".gdsii", ".oas", ".oasis", ".oas.gz")
LISTED = 20  # cells that an error names


class Box(NamedTuple):
    """A rectangle in um, y upwards."""

    left: float
    bottom: float
    right: float
    top: float


class Layout:
    """The shapes of one cell and all cells in it. Only what lies in a window is looked at."""

    def __init__(self, path: Path, top: str | None = None) -> None:
        try:
            from klayout import db
        except ImportError as error:
            raise InputFileError("layouts need klayout: pip install 'tomopilot[layout]'") from error
        self.path, self._db = path, db
        with naming(str(path)):
            check_named(path, f"a layout ({', '.join(SUFFIXES)})")
            self._layout = db.Layout()
            self._layout.read(str(path))
            self._cell = self._chosen(top)

    def _chosen(self, top: str | None) -> "db.Cell":
        """The named cell, or the only one that is in no other."""
        tops = sorted(cell.name for cell in self._layout.top_cells())
        if top is None and len(tops) != 1:
            raise InputFileError(f"it has {len(tops)} top cells{_listed(tops)}; name one with --top")
        name = tops[0] if top is None else top
        cell = self._layout.cell(name)
        if cell is None:
            cells = sorted(cell.name for cell in self._layout.each_cell())
            raise InputFileError(
                f"it has no cell {name!r}; its cells are{_listed(cells)}: give one with --top"
            )
        return cell

    @property
    def name(self) -> str:
        """The cell's name."""
        return self._cell.name

    def box(self, layers: list[tuple[int, int]]) -> Box:
        """What holds all shapes of some layers, given by number and datatype; raises where there are none."""
        found = self._db.DBox()
        for layer in layers:
            if (index := self._layout.find_layer(*layer)) is not None:
                found += self._cell.dbbox_per_layer(index)
        if found.empty():
            named = ", ".join(f"{layer}/{datatype}" for layer, datatype in layers)
            raise InputFileError(
                f"{self.path}: the cell {self.name!r} has no shape on the layers {named}; is the process "
                "stack of this technology?"
            )
        return Box(found.left, found.bottom, found.right, found.top)

    def coverage(
        self, layer: tuple[int, int], left: float, bottom: float, pixel: float, shape: tuple[int, int]
    ) -> np.ndarray:
        """The share of each pixel that a layer covers, float32, rows downwards; um.

        Shapes that overlap count once. A pixel is a whole number of database units.
        """
        index, unit = self._layout.find_layer(*layer), self._layout.dbu
        height, width = shape
        if index is None:
            return np.zeros(shape, np.float32)
        side = round(pixel / unit)
        if abs(side - pixel / unit) > 1e-6:
            raise InputFileError(
                f"{self.path}: a pixel of {pixel:g} um is no whole number of the layout's units "
                f"of {unit:g} um: choose another --pixel-size"
            )
        db = self._db
        corner = db.Point(round(left / unit), round(bottom / unit))
        window = db.Box(corner, corner + db.Vector(width * side, height * side))
        region = db.Region(self._cell.begin_shapes_rec_touching(index, window)).merged()
        areas = region.rasterize(corner, db.Vector(side, side), width, height)
        return np.array(areas, np.float32)[::-1] / side**2


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" {', '.join(names[:LISTED])}{more}" if names else ""
