"""Parallel-beam projections, and the filtered back-projection that belongs to their geometry."""

import math
from collections.abc import Iterator
from copy import copy
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tomopilot.measure.joseph import Block, Layout, Product, Weights, lay_out, seen, unseen
from tomopilot.measure.kind import PROJECTION, Kind
from tomopilot.measure.operator import Numbers, Operator, numbers

CHUNK = 2**24  # weights of one matrix, 0.13 GB
FEW = 2**22  # weights up to which mirrored angles do not share them: 128 angles at 128 x 128
KEPT = 2**27  # weights that are kept for the next call, 1 GB in each direction: 180 angles at 1024 x 1024
WEDGE = 4.0  # times the next wider gap between angles, beyond which the one or two widest were not scanned
SPARSE = 3.0  # times the mean of the other gaps: the most that a gap counts for
SAME = 5e-6  # radians, an arc second, within which angles are one
COLUMNS = 12  # images, or views of them, that are multiplied at once


class Radon(Operator):
    """Line integrals of a square image along parallel rays, in image value times pixel width.

    With x to the right and y upwards from the image's centre, in pixels, detector bin t of angle theta
    integrates over x cos(theta) + y sin(theta) = t: 0 radians sums along columns, and angles turn
    counter-clockwise. Rays are sampled once per image row (or column, whichever they cross more steeply) with
    linear interpolation (Joseph 1982). The weights are sparse matrices, see `joseph`, and the adjoint is the
    transpose to rounding. Each direction is made when first needed and kept, except for images so large that
    they would not fit: their matrices are made again, one at a time, whenever they are used.
    """

    def __init__(self, size: int, angles: Numbers, bins: int | None = None, offset: float = 0.0) -> None:
        """`angles`: radians, (n,); `offset`: bins from the detector's middle to the axis' projection."""
        angles = numbers(angles)
        if size < 2:
            raise ValueError(f"the image is {size} pixels wide; a projection needs at least 2")
        if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
            raise ValueError(
                f"angles are {angles!r}; expected a list of at least one finite angle in radians"
            )
        _check_radians(angles)
        self.size, self.angles, self.bins = size, angles, size if bins is None else bins
        self.offset = float(offset)
        if not math.isfinite(self.offset):
            raise ValueError(f"the detector offset is {offset}; expected a finite number of bins")
        if self.bins < 1:
            raise ValueError(f"the detector has {bins} bins; it needs at least 1")
        self._stored: dict[tuple, list[Weights]] = {}

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    @property
    def block_shape(self) -> tuple[int, ...]:
        return (self.bins,)

    @property
    def settings(self) -> Float[Tensor, " n"]:
        return self.angles

    @property
    def complex_values(self) -> bool:
        return False

    @property
    def kind(self) -> Kind:
        return PROJECTION

    @property
    def shown(self) -> Float[Tensor, " n"]:
        return self.angles.rad2deg()

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Radon":
        return self._at(self.angles[index.to(self.angles.device)])

    def at(self, settings: Numbers) -> "Radon":
        angles = numbers(settings).to(self.angles)
        if not bool(angles.isfinite().all()):
            raise ValueError(f"angles are {angles!r}; expected finite angles in radians")
        return self if torch.equal(angles, self.angles) else self._at(angles)  # its weights may be made

    def __getstate__(self) -> dict[str, Any]:
        """The geometry without its weights, also for copies: they are made again where they are needed."""
        made = ("_layout", "_keeps")
        return {name: value for name, value in vars(self).items() if name not in made} | {"_stored": {}}

    def __repr__(self) -> str:
        offset = f", offset={self.offset:g}" if self.offset else ""
        return f"Radon(size={self.size}, angles=<{len(self)} angles>, bins={self.bins}{offset})"

    def to(self, device: torch.device | str) -> "Radon":
        return self._at(self.angles.to(device))

    def forward(self, x: Numbers) -> Float[Tensor, "b n bins"]:
        x = self.images(x)
        y = torch.cat([self._project(x, *block) for block in self._blocks(x)], 1)
        slot = self._layout.slot
        return y if slot is None else self._read(y[:, slot.to(y.device)])

    def adjoint(self, y: Numbers) -> Float[Tensor, "b h w"]:
        y = numbers(y)
        self.check_projections(y)
        counts, slot = [block.slots for block in self._layout.blocks], self._layout.slot
        if slot is not None:
            empty = y.new_zeros(len(y), sum(counts), self.bins)
            y = empty.index_add(1, slot.to(y.device), self._read(y))
        parts = zip(y.split(counts, 1), self._blocks(y), strict=True)
        return sum(self._project_back(part, *block) for part, block in parts)  # pyright: ignore[reportReturnType]

    def _at(self, angles: Float[Tensor, " n"]) -> "Radon":
        """The same geometry at other angles, which are known to be radians."""
        other = copy(self)
        other.angles = angles
        return other

    def finer(self, times: int) -> "Radon":
        """The same rays on a grid of pixels, and with detector bins, so many times as fine."""
        other = self._at(self.angles)
        other.size, other.bins, other.offset = times * self.size, times * self.bins, times * self.offset
        return other

    def check_projections(self, y: Tensor) -> None:
        """Raises where `y` cannot be a batch of this operator's projections."""
        came, expected = tuple(y.shape[1:]), (len(self), self.bins)
        if came != expected:
            raise ValueError(f"projections have shape {came}; expected (angles, bins) = {expected}")

    @cached_property
    def _layout(self) -> Layout:
        per_angle = 2 * self.size * max(self.size, self.bins)
        return lay_out(
            self.angles,
            max(1, CHUNK // per_angle),
            FEW // per_angle,
            KEPT // per_angle,
            centred=self.offset == 0,
        )

    def _blocks(self, like: Tensor) -> Iterator[tuple[Block, Weights]]:
        """The blocks with their weights, which are kept where there is room for those of all."""
        blocks, key = self._layout.blocks, (like.dtype, like.device)
        made = (Weights(self.size, self.bins, block.folded, like, self.offset) for block in blocks)
        if self._keeps and key not in self._stored:
            self._stored[key] = list(made)
        return zip(blocks, self._stored.get(key, made), strict=True)

    @cached_property
    def _keeps(self) -> bool:
        angles = sum(len(block.folded.steps) for block in self._layout.blocks)
        return 2 * angles * self.size * max(self.size, self.bins) <= KEPT

    def _project(self, x: Float[Tensor, "b h w"], block: Block, weights: Weights) -> Tensor:
        """(b, slots, bins)"""
        found = []
        for some in x.split(max(1, COLUMNS // len(block.views))):
            views = torch.stack([seen(some, view) for view in block.views], 1)
            y = Product.apply(views.reshape(-1, self.size**2), weights, False)
            found.append(y.reshape(len(some), block.slots, self.bins))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _project_back(self, y: Float[Tensor, "b slots bins"], block: Block, weights: Weights) -> Tensor:
        """(b, h, w)"""
        found = []
        for some in y.split(max(1, COLUMNS // len(block.views))):
            x = Product.apply(some.reshape(len(some) * len(block.views), -1), weights, True)
            views = x.reshape(len(some), -1, self.size, self.size).unbind(1)
            found.append(sum(map(unseen, views, block.views)))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _read(self, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b n bins"]:
        """Projections with the detector read from the end that each angle asks for; its own inverse."""
        backwards = self._layout.reversed
        return y if backwards is None else torch.where(backwards.to(y.device), y.flip(2), y)


def _check_radians(angles: Float[Tensor, " n"]) -> None:
    """Raises where angles can only be degrees: beyond a turn, and round or even."""
    if angles.abs().max() > 2 * math.pi and (_round(angles) or _even(angles)):
        raise ValueError(
            f"angles go from {angles.min():g} to {angles.max():g} in round or even steps, which looks like "
            "degrees; expected radians: use torch.deg2rad or numpy.deg2rad, or, if they are "
            "radians, take them modulo 2 pi"
        )


def _round(angles: Float[Tensor, " n"]) -> bool:
    """Whether all are tenths of whole numbers."""
    tenths = 10 * angles.double()
    return bool(((tenths - tenths.round()).abs() <= 1e-6 * tenths.abs()).all())


def _even(angles: Float[Tensor, " n"]) -> bool:
    """Whether they divide 180 or 360 evenly, with both ends or without the last."""
    steps = angles.double().sort().values.diff()
    if len(steps) < 2 or (steps - steps.mean()).abs().max() > 1e-3 * steps.mean():
        return False
    covered = steps.mean() * torch.tensor([len(steps), len(steps) + 1])
    return bool(torch.isclose(covered[:, None], covered.new_tensor([180, 360]), rtol=1e-5).any())


def half_turn(count: int = 180) -> Float[Tensor, " n"]:
    """`count` equally spaced angles over half a turn, in radians, from 0."""
    if count < 1:
        raise ValueError(f"{count} angles were asked for; a scan needs at least 1")
    return torch.arange(count) * (math.pi / count)


@lru_cache(maxsize=8)
def _ramp(bins: int) -> Float[Tensor, " f"]:
    """The ramp filter of a band-limited detector, twice zero-padded (Kak & Slaney 2001, Eq. 3.61)."""
    length = 2 ** math.ceil(math.log2(2 * bins))
    lag = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64).round()
    kernel = torch.where(lag % 2 != 0, -1 / (math.pi * lag).square(), torch.zeros_like(lag))
    kernel[0] = 0.25
    return torch.fft.rfft(kernel).real.float()


def angular_weights(angles: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Half the gap to both neighbours on the half turn, for angles in any order and spacing; sums to pi.

    A missing wedge counts as a usual gap, so its ends weigh as much as their neighbours. An angle that was
    measured again, on this turn or another, shares its weight.
    """
    turn, order = angles.remainder(math.pi).sort()
    gaps = torch.diff(turn, append=turn[:1] + math.pi)
    rounding = 4 * torch.finfo(angles.dtype).eps * angles.abs().max().item()
    apart = gaps > max(SAME, rounding)
    gaps = _scanned(gaps, apart)
    place = apart.roll(1).cumsum(0) % apart.sum()  # the last of a half turn may be the first again
    total = torch.zeros_like(gaps).index_add(0, place, (gaps + gaps.roll(1)) / 2)
    weights = torch.empty_like(gaps)
    weights[order] = (total / place.bincount(minlength=len(gaps)).clamp(min=1))[place]
    return weights


def _scanned(gaps: Float[Tensor, " n"], apart: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Gaps without missing wedges, and none that counts for much more than the others; sums to pi."""
    real = gaps[apart].sort(descending=True).values
    most = torch.full_like(gaps, torch.inf)
    for wider, following in pairwise(real[:3]):
        if wider > WEDGE * following:
            most.fill_(following)
    shorter = torch.minimum(gaps, most)
    if len(real) > 1:
        shorter = torch.minimum(shorter, SPARSE * (shorter.sum() - shorter) / (len(real) - 1))
    return gaps if torch.equal(shorter, gaps) else shorter * (math.pi / shorter.sum())


def filtered_backprojection(radon: Radon, y: Numbers) -> Float[Tensor, "b h w"]:
    """The image by ramp filter and back-projection; unevenly spaced angles count by the gap they fill.

    Each pixel reads the filtered projections where its centre falls, between two bins: on a disc, a tenth of
    the error inside that the transpose of `forward` leaves, which is rough from pixel to pixel.
    Beyond the detector, a projection is continued by its outermost values: where the object is wider than the
    detector this is far better than zeros, and elsewhere it is the same.
    """
    y = numbers(y)
    radon.check_projections(y)
    ramp = _ramp(2 * radon.bins).to(y)
    length, margin = 2 * (len(ramp) - 1), radon.bins // 2
    padded = torch.nn.functional.pad(y, (margin, radon.bins - margin), mode="replicate")
    filtered = torch.fft.irfft(torch.fft.rfft(padded, length) * ramp, length)[
        ..., margin : margin + radon.bins
    ]
    return _read_back(radon, filtered * angular_weights(radon.angles).to(y)[:, None])


def _read_back(radon: Radon, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b h w"]:
    """At each pixel, the sum over angles of the projections' values there, linear between bins, 0 outside."""
    line = torch.arange(radon.size, dtype=y.dtype, device=y.device) - (radon.size - 1) / 2
    middle = (radon.bins + 1) / 2 + radon.offset  # with a bin of 0 at either end
    padded = torch.nn.functional.pad(y, (1, 1))
    image = y.new_zeros(len(y), radon.size**2)
    for theta, profile in zip(radon.angles.tolist(), padded.unbind(1), strict=True):
        place = line * math.cos(theta) - line[:, None] * math.sin(theta) + middle
        place = place.flatten().clamp(0, radon.bins + 1)
        below = place.long().clamp(max=radon.bins)
        image = image + torch.lerp(profile[:, below], profile[:, below + 1], place - below)
    return image.unflatten(1, radon.image_shape)
