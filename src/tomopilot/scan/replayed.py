"""Measured scans as instruments: projections are chosen from those there are, and all give the reference."""

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.files.images import NamedImage
from tomopilot.files.reading import InputFileError
from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.prior.checkpoint import folder_of, read_card
from tomopilot.raw.angles import repeated
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured
from tomopilot.raw.intensity import Intensity, intensity_of
from tomopilot.raw.records import LineIntegrals, RawScan

RECORDED = "recorded:"  # before the name of a measured scan, and `::ROW` after it
NOISE = "as measured"  # in a plan: the scan says it
OUTSIDE = 0.01  # share of the view that may lie beyond the prior's range without a word
CENTRED = 0.02  # of the detector's width: with the axis so near its middle, half a turn shows nothing new


@dataclass(frozen=True, eq=False)
class Replayed(NamedImage):
    """A measured scan: what it measured, and the reconstruction from all of it, in the units of the prior."""

    operator: Operator = field(kw_only=True)
    values: Float[Tensor, "n bins"] = field(kw_only=True)
    usual: Noise = field(kw_only=True)  # of all values
    noises: tuple[Noise, ...] = field(kw_only=True)  # of each projection; masked bins have precision 0

    def __call__(self, design: int) -> Float[Tensor, " bins"]:
        """The projection of a design, as it was measured."""
        return self.values[design]

    def noise(self, design: int) -> Noise:
        """Of the projection of a design."""
        return self.noises[design]

    @property
    def signal_to_noise(self) -> float:
        """Root mean square of a value over its noise."""
        shares = [y.square() * noise.precision(y) for y, noise in zip(self.values, self.noises, strict=True)]
        return torch.stack(shares).mean().sqrt().item()


def is_recorded(spec: str) -> bool:
    """Whether a spec names a measured scan.

    >>> is_recorded("recorded:scan.nxs::12"), is_recorded("slices.npy::12")
    (True, False)
    """
    return spec.startswith(RECORDED)


def recorded_spec(spec: str) -> str:
    """The spec of one detector row by which it can be read again from any folder; raises where none is."""
    source, row = _parts(spec)
    rows = read_measured(source).projections.rows
    row = rows // 2 if row is None else row
    if row >= rows:
        raise InputFileError(f"{source} has the detector rows 0 to {rows - 1}; row {row} was asked for")
    return f"{RECORDED}{os.path.abspath(source)}::{row}"


def settings_of(spec: str) -> dict[str, Any]:
    """What a plan says of the scan: its operator by name, the number of its angles, its noise."""
    raw = read_measured(_parts(spec)[0])
    return {"operator": "radon" if raw.fan is None else "fan", "angles": len(raw.angles), "noise": NOISE}


def read_recorded(
    spec: str, size: int | None, prior: str | None, *, stripes: int = 0, whole: bool = False
) -> Replayed:
    """One detector row of a measured scan, on the grid and in the units of a prior.

    size: pixels along a side of the image, and bins; None: as many as the prior knows, else as the scan has
    stripes: bins over which rings are smoothed away, see `Correction`
    whole: all projections, for a reconstruction; else one of each direction, to be chosen from
    """
    source, row = _parts(spec)
    assert row is not None
    written = Path(source).stat().st_mtime_ns
    return _replayed(source, row, size, prior, stripes, whole, written)


@lru_cache(maxsize=4)
def _replayed(
    source: str, row: int, size: int | None, prior: str | None, stripes: int, whole: bool, written: int
) -> Replayed:
    raw = read_measured(source)
    card = read_card(folder_of(prior)) if prior else {}
    bins = size or min(card.get("image_size", raw.projections.bins), raw.projections.bins)
    lines, notes = Correction(bins=bins, stripes=stripes)(raw, slice(row, row + 1)), [*raw.remarks]
    if not whole:
        lines, said = _once(lines)
        notes += said
    operator = lines.operator(bins)
    image = _reconstructed(operator, lines.values)
    if prior:
        found = intensity_of(image.numpy(), card, lines.pixel_size)
        lines = lines.mapped(found.scale, found.offset, operator)
        image, notes = (image - found.offset) / found.scale, [*notes, *_said(found)]
    if lines.quarantined:
        notes.append(f"{len(lines.quarantined)} of {len(raw.angles)} projections cannot be used")
    return Replayed(
        f"{Path(source).name}::{row}", image, _pixel(raw, bins), notes=tuple(notes), operator=operator,
        values=torch.from_numpy(lines.values[:, 0]), usual=lines.noise,
        noises=tuple(lines.noise_of(projection) for projection in range(len(lines.values))),
    )  # fmt: skip


def _once(lines: LineIntegrals) -> tuple[LineIntegrals, list[str]]:
    """The first projection of each direction, and what is said of the others and of what all are for.

    Parallel rays from behind are the same lines, as far as the detector sees both.
    """
    centred = lines.fan is None and abs(lines.offset) <= CENTRED * lines.values.shape[-1]
    late = [second for second, _ in repeated(lines.angles, np.pi if centred else 2 * np.pi)]
    keep = np.setdiff1d(np.arange(len(lines.angles)), late)
    again = f"{len(late)} of {len(lines.angles)} projections show a direction again and are left out"
    judged = f"quality is against the filtered back-projection of all {len(keep)} projections, the reference"
    return lines.only(keep), [again] * bool(late) + [judged]


def _reconstructed(operator: Operator, values: object) -> Float[Tensor, "h w"]:
    """From all projections, by filtered back-projection."""
    y = torch.as_tensor(values, dtype=torch.float32)[:, 0]
    return filtered_backprojection(operator, y[None])[0]  # pyright: ignore[reportArgumentType]


def _said(found: Intensity) -> list[str]:
    """How values of the scan became those of the prior, and whether they fit."""
    mapped = f"image of the scan = {found.scale:.4g} x image of the prior + {found.offset:.4g} ({found.how})"
    doubt = f"{found.outside:.1%} of the view lie beyond the prior's range: is it the prior of this material?"
    return [mapped, *[doubt] * (found.outside > OUTSIDE)]


def _pixel(raw: RawScan, bins: int) -> float | None:
    """Metres; with a fan beam, of a bin as the source sees it at the axis."""
    if raw.pixel_size is None:
        return None
    near = 1.0 if raw.fan is None else raw.fan.source_axis / raw.fan.source_detector
    return raw.pixel_size * near * raw.projections.bins / bins


def _parts(spec: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.+?)(?:::(\d{1,9}))?", spec.removeprefix(RECORDED), re.DOTALL)
    if found is None:
        raise InputFileError(f"{spec!r} names no scan; expected FILE, or FILE::ROW for a detector row")
    return found[1], None if found[2] is None else int(found[2])
