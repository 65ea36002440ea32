"""The slices of volumes that lie in files, read one after the other, so that any volume fits."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from tomopilot.files.images import NamedImage, image_numbers, labels, read_images
from tomopilot.prepare.crops import Crop, Cut
from tomopilot.prepare.split import SHARE, held_slab, held_sources

AT_ONCE = 2**26  # bytes of slices that are read together


class Slice(NamedTuple):
    """One slice: where it lies, and what it belongs to."""

    file: str
    number: int  # in its file
    source: str
    place: int  # in its source, from 0
    depth: int  # its number, or its place where files hold one slice each
    held: bool  # for validation


def find_slices(specs: Sequence[str], validation: Sequence[str] = (), by: str = "") -> list[Slice]:
    """The slices of all specs, of each source in order; of most files only the header is read.

    by: what makes a source: `file`, `folder`, or an array of npz files, such as `patient`; else the file, or
    the folder where files hold a single image. Slices in files of their own are in the order of the numbers
    in their names. Raises where a source is both in `specs` and in `validation`, which are held back.
    """
    numbers = {spec: image_numbers(spec) for spec in sorted({*specs, *validation}, key=_natural)}
    alone = {spec: len(chosen) == 1 and "::" not in spec for spec, chosen in numbers.items()}
    sources = _sources(numbers, alone, by)
    places, slices = Counter[str](), []
    for spec, chosen in numbers.items():
        file = spec.rpartition("::")[0] or spec
        for number, source in zip(chosen, sources[spec], strict=True):
            place = places[source]
            depth = place if alone[spec] else number
            slices.append(Slice(file, number, source, place, depth, spec in validation))
            places[source] += 1
    both = {one.source for one in slices if one.held} & {one.source for one in slices if not one.held}
    if both or set(specs) & set(validation):
        name = min(both or set(specs) & set(validation))
        raise ValueError(f"{name} is named for training and with --validation: name other sources for either")
    return slices


def _sources(numbers: Mapping[str, list[int]], alone: Mapping[str, bool], by: str) -> dict[str, list[str]]:
    """The source of each image of each spec; paths begin where they differ."""
    if by not in ("", "file", "folder"):
        return {spec: labels(spec, by) for spec in numbers}
    places = {}
    for spec in numbers:
        file = os.path.abspath(
            re.sub(r"(\.(?:h5|hdf5|nxs|npz)):/.*", r"\1", spec.rpartition("::")[0] or spec)
        )
        places[spec] = os.path.dirname(file) if by == "folder" or (not by and alone[spec]) else file
    above = os.path.commonpath(places.values())
    above = os.path.dirname(above) if above in places.values() else above
    return {spec: [os.path.relpath(places[spec], above)] * len(chosen) for spec, chosen in numbers.items()}


def _natural(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that slice_10 follows slice_9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class Division:
    """Which slices are held back for validation, unless some were named for it.

    split: `source`, whole sources; `depth`, the middle of each source, with `gap` slices left out on both
    sides; `auto`, by source where there are several, else by depth
    """

    split: str = "auto"
    share: float = SHARE
    gap: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in ("auto", "source", "depth") or not 0 < self.share < 1 or self.gap < 0:
            raise ValueError(
                f"the split is {self.split!r}, the share {self.share:g}, the gap {self.gap}; expected auto, "
                "source or depth, a share between 0 and 1, and a gap of 0 or more"
            )

    def kind(self, slices: Sequence[Slice]) -> str:
        """`named`, `source` or `depth`."""
        if any(one.held for one in slices):
            return "named"
        several = len({one.source for one in slices}) > 1
        return ("source" if several else "depth") if self.split == "auto" else self.split

    def __call__(self, slices: Sequence[Slice]) -> list[Slice]:
        sizes, kind = Counter(one.source for one in slices), self.kind(slices)
        if kind == "named":
            return list(slices)
        if kind == "source":
            held = held_sources(sizes, self.share, self.seed)
            return [one._replace(held=one.source in held) for one in slices]
        parts = {source: held_slab(count, self.gap, source, self.share) for source, count in sizes.items()}
        told = [(one, parts[one.source][one.place]) for one in slices]
        return [one._replace(held=part == "held") for one, part in told if part != "gap"]


@dataclass(frozen=True)
class Volumes:
    """The crops of slices, in order; iterated over anew, they are read anew."""

    slices: Sequence[Slice]
    cut: Cut
    every: int = 1  # only each so many-th slice of a source is taken
    pixel: float | None = None  # metres, where the files do not say it or are wrong

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}; expected 1, which takes each slice, or more")

    def __iter__(self) -> Iterator[Crop]:
        taken = [one for one in self.slices if one.place % self.every == 0]
        for file, group in groupby(taken, key=lambda one: one.file):
            ones = list(group)
            for one, image in zip(ones, _images(file, [one.number for one in ones]), strict=True):
                yield from self._crops(one, image)

    def _crops(self, one: Slice, image: NamedImage) -> Iterator[Crop]:
        pixels, pixel = image.shown.numpy(), self.pixel or image.pixel_size
        try:
            side = self.cut.side(pixels.shape)
        except ValueError as error:
            raise ValueError(f"{image.name}: {error}") from None
        after = None if pixel is None else pixel * side / self.cut.size
        for row, column, crop in self.cut(pixels):
            yield Crop(crop, one.source, one.depth, column, row, after, one.held)


def _images(file: str, numbers: Sequence[int]) -> Iterator[NamedImage]:
    """One after the other; the first tells how many are read at once from then on."""
    at, step = 0, 1
    while at < len(numbers):
        found = read_images(f"{file}::{','.join(map(str, numbers[at : at + step]))}")
        yield from found
        at, step = at + step, max(1, AT_ONCE // found[0].pixels.nbytes)
