"""Crops to a training set: intensities to [0, 1], nearly empty ones left out, no more than so many kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tomopilot.prepare.crops import Crop

EMPTY = 0.02  # standard deviation, of the range, below which a crop is nearly empty
STEP = 61  # percentiles are of each so many-th pixel of a crop
REMEMBERED = 4096  # crops of a source, at most, that percentiles are of
ALL = ""  # stands for every source
KINDS = ("uint8", "float16")

Range = tuple[float, float]


class Sampled:
    """Pixels of evenly spread crops, however many come."""

    def __init__(self) -> None:
        self.values: list[np.ndarray] = []
        self.seen, self.step = 0, 1

    def add(self, pixels: np.ndarray) -> None:
        if self.seen % self.step == 0:
            self.values.append(pixels.ravel()[::STEP].copy())
        self.seen += 1
        if len(self.values) > REMEMBERED:
            self.values, self.step = self.values[::2], 2 * self.step


@dataclass
class Reservoir:
    """At most so many crops, each of those offered with the same chance."""

    most: int | None
    rng: np.random.Generator
    kept: list[Crop] = field(default_factory=list)
    offered: int = 0

    def offer(self, crop: Crop) -> None:
        self.offered += 1
        if self.most is None or len(self.kept) < self.most:
            self.kept.append(crop)
        elif (place := self.rng.integers(self.offered)) < self.most:
            self.kept[place] = crop


class Collected(NamedTuple):
    """The arrays of a training set, and what became of the crops that came."""

    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    ranges: dict[str, Range]  # intensities that became 0 and 1, by source, or under "" for all
    empty: int  # crops that were left out
    clipped: float  # share of pixels beyond the range


@dataclass(frozen=True)
class Collector:
    """Crops as arrays of images in [0, 1], stored as `uint8` (of 255) or `float16`.

    Without a range, crops are gone through twice, first for the intensities at two percentiles. What lies
    beyond the range is clipped.
    """

    range: Range | None = None  # intensities that become 0 and 1
    percentiles: Range = (0.1, 99.9)
    shared: bool = False  # percentiles of all sources together, as they have a unit; else of each
    empty: float = EMPTY  # crops whose standard deviation is below this share of the range are left out
    most: int | None = None  # images in either part, drawn evenly
    kind: str = "uint8"
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.percentiles
        checks = {
            "range": (self.range is None or self.range[0] < self.range[1], "two ascending numbers"),
            "percentiles": (0 <= low < high <= 100, "two ascending numbers from 0 to 100"),
            "empty": (0 <= self.empty < 0.5, "a number from 0 to 0.5"),
            "most": (self.most is None or self.most >= 1, "1 or more"),
            "kind": (self.kind in KINDS, " or ".join(KINDS)),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    def __call__(self, crops: Iterable[Crop]) -> Collected:
        ranges = self.ranges(crops) if self.range is None else {ALL: self.range}
        parts = [Reservoir(self.most, np.random.default_rng((self.seed, part))) for part in (0, 1)]
        came, empty, clipped = 0, 0, 0.0
        for crop in crops:
            low, high = ranges.get(crop.source) or ranges[ALL]
            pixels = (crop.pixels - low) / (high - low)
            came, clipped = came + 1, clipped + float(((pixels < 0) | (pixels > 1)).mean())
            pixels = pixels.clip(0, 1)
            if pixels.std() < self.empty:
                empty += 1
            else:
                parts[crop.held].offer(replace(crop, pixels=self._stored(pixels)))
        for part, purpose in zip(parts, ("train", "validate"), strict=True):
            if not part.kept:
                raise ValueError(
                    f"no image is left to {purpose} on: {empty} of {came} crops are nearly empty (standard "
                    f"deviation below {self.empty:g} of the range): check --range, or lower --empty"
                )
        train, validation = (_arrays(part.kept) for part in parts)
        return Collected(train, validation, ranges, empty, clipped / came)

    def ranges(self, crops: Iterable[Crop]) -> dict[str, Range]:
        """The intensities at the two percentiles, by source, or under "" for all (or the only one)."""
        found: dict[str, Sampled] = {}
        for crop in crops:
            found.setdefault(ALL if self.shared else crop.source, Sampled()).add(crop.pixels)
        ranges = {source: self._range(source, sampled) for source, sampled in found.items()}
        return {ALL: next(iter(ranges.values()))} if len(ranges) == 1 else ranges

    def _range(self, source: str, sampled: Sampled) -> Range:
        low, high = np.percentile(np.concatenate(sampled.values), self.percentiles).tolist()
        if not low < high:
            raise ValueError(
                f"{source or 'every image'} has the same value, {low:g}, at the percentiles "
                f"{self.percentiles[0]:g} and {self.percentiles[1]:g}: give --range LOW,HIGH"
            )
        return low, high

    def _stored(self, pixels: np.ndarray) -> np.ndarray:
        return (255 * pixels).round().astype(np.uint8) if self.kind == "uint8" else pixels.astype(np.float16)


def _arrays(crops: list[Crop]) -> dict[str, np.ndarray]:
    """Images and what is known of each, one array a column."""
    crops = sorted(crops, key=lambda crop: (crop.source, crop.depth, crop.y, crop.x))
    columns = {name: [getattr(crop, name) for crop in crops] for name in ("depth", "x", "y")}
    sizes = [np.nan if crop.pixel is None else crop.pixel * 1e6 for crop in crops]
    return {
        "images": np.stack([crop.pixels for crop in crops]),
        "source": np.array([crop.source for crop in crops]),
        **{name: np.array(values, np.float32) for name, values in columns.items()},
        "pixel_um": np.array(sizes, np.float32),
    }
