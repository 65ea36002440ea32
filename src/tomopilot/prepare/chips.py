"""Slices of a chip, rendered from its layout as a tomogram of it would look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.ndimage import gaussian_filter

from tomopilot.files.layout import Layout
from tomopilot.prepare.crops import Crop, Cut, rescaled
from tomopilot.prepare.split import SHARE, held_slab, held_sources
from tomopilot.prepare.stack import Stack

BEYOND = 4  # sigmas of the in-plane resolution that are rendered around a crop

Place = tuple[float, float, bool]  # lower left corner in um, and whether it is for validation


@dataclass(frozen=True)
class Chips:
    """Crops of layouts: places side by side, in the plane, each at so many random heights.

    Of several layouts, whole ones are held back; of one, a strip across its longer side, with a place left
    out on both sides of it.
    """

    layouts: Sequence[Layout]
    stack: Stack
    cut: Cut
    heights: int = 1  # slices at each place
    share: float = SHARE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cut.crop is None or self.heights < 1:
            raise ValueError(
                f"crops of {self.cut.crop or 'whole slices'} at {self.heights} heights were asked for; a "
                "layout is cut into crops of so many pixels, at one height or more"
            )

    def __iter__(self) -> Iterator[Crop]:
        size = self.cut.size
        pixel = self._side / size * 1e-6
        for number, (layout, places) in enumerate(self._split()):
            source = f"{layout.path.name}:{layout.name}"
            for index, (left, bottom, held) in enumerate(places):
                rng = np.random.default_rng((self.seed, number, index))
                for _ in range(self.heights):
                    height = self.stack.height(rng)
                    image = self.slice(layout, height, left, bottom)
                    yield Crop(rescaled(image, size), source, height, left, bottom, pixel, held)

    def slice(self, layout: Layout, height: float, left: float, bottom: float) -> np.ndarray:
        """One crop before it is rescaled: metal fraction, blurred along the height and in the plane."""
        pixel, sigma = self.stack.pixel_um, self.stack.in_plane
        margin, crop = ceil(BEYOND * sigma), int(self.cut.crop or 0)
        shape = (crop + 2 * margin, crop + 2 * margin)
        image = np.zeros(shape, np.float32)
        for layer, share in self.stack.weights(height).items():
            corner = (left - margin * pixel, bottom - margin * pixel)
            image += share * layout.coverage(layer.gds, *corner, pixel, shape)
        return gaussian_filter(image, sigma, truncate=BEYOND)[margin:-margin, margin:-margin]

    @property
    def _side(self) -> float:
        """Of a crop, in um."""
        return int(self.cut.crop or 0) * self.stack.pixel_um

    def _split(self) -> list[tuple[Layout, list[Place]]]:
        """The places of each layout, those that are held back marked."""
        grids = [self._grid(layout) for layout in self.layouts]
        if len(grids) > 1:
            held = held_sources({str(i): len(grid) for i, grid in enumerate(grids)}, self.share, self.seed)
            marked = [[(x, y, str(i) in held) for _, x, y in grid] for i, grid in enumerate(grids)]
        else:
            count = 1 + max(along for along, _, _ in grids[0])
            parts = held_slab(count, 1, f"{self.layouts[0].path.name}, in crops,", self.share)
            marked = [[(x, y, parts[i] == "held") for i, x, y in grids[0] if parts[i] != "gap"]]
        return list(zip(self.layouts, marked, strict=True))

    def _grid(self, layout: Layout) -> list[tuple[int, float, float]]:
        """Lower left corners (x, y) of crops side by side, each with its place along the longer axis."""
        box, side = layout.box([layer.gds for layer in self.stack.layer]), self._side
        wide, high = box.right - box.left, box.top - box.bottom
        columns, rows = int(wide / side + 1e-9), int(high / side + 1e-9)
        if not columns * rows:
            raise ValueError(
                f"{layout.path}: the cell {layout.name!r} is {wide:g} x {high:g} um, smaller than a crop of "
                f"{self.cut.crop} pixels of {self.stack.pixel_um:g} um ({side:g} um): take a smaller --crop, "
                "or another cell with --top"
            )
        first = (box.left + (wide - columns * side) / 2, box.bottom + (high - rows * side) / 2)
        return [
            (column if columns >= rows else row, first[0] + column * side, first[1] + row * side)
            for row in range(rows)
            for column in range(columns)
        ]
