"""Parallel-beam projections, and the filtered back-projection that belongs to their geometry."""

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.measure.joseph import Block, Layout, Product, Weights, lay_out, seen, unseen
from tomopilot.measure.kind import PROJECTION, Kind
from tomopilot.measure.operator import Operator

CHUNK = 2**24  # weights of one matrix, 0.13 GB
FEW = 2**22  # weights up to which mirrored angles do not share them: 128 angles at 128 x 128
KEPT = 2**27  # weights that are kept for the next call, 1 GB in each direction: 180 angles at 1024 x 1024
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

    def __init__(self, size: int, angles: Float[Tensor, " n"], bins: int | None = None) -> None:
        if size < 2:
            raise ValueError(f"the image is {size} pixels wide; a projection needs at least 2")
        if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
            raise ValueError(
                f"angles are {angles!r}; expected a list of at least one finite angle in radians"
            )
        self.size, self.angles, self.bins = size, angles, size if bins is None else bins
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
        return Radon(self.size, self.angles[index.to(self.angles.device)], self.bins)

    def __repr__(self) -> str:
        return f"Radon(size={self.size}, angles=<{len(self)} angles>, bins={self.bins})"

    def to(self, device: torch.device | str) -> "Radon":
        return Radon(self.size, self.angles.to(device), self.bins)

    def forward(self, x: Float[Tensor, "b h w"]) -> Float[Tensor, "b n bins"]:
        if tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])}, but this operator projects {self.image_shape}"
            )
        y = torch.cat([self._project(x, *block) for block in self._blocks(x)], 1)
        slot = self._layout.slot
        return y if slot is None else self._read(y[:, slot.to(y.device)])

    def adjoint(self, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b h w"]:
        self.check_projections(y)
        counts, slot = [block.slots for block in self._layout.blocks], self._layout.slot
        if slot is not None:
            empty = y.new_zeros(len(y), sum(counts), self.bins)
            y = empty.index_add(1, slot.to(y.device), self._read(y))
        parts = zip(y.split(counts, 1), self._blocks(y), strict=True)
        return sum(self._project_back(part, *block) for part, block in parts)  # pyright: ignore[reportReturnType]

    def check_projections(self, y: Tensor) -> None:
        """Raises where `y` cannot be a batch of this operator's projections."""
        came, expected = tuple(y.shape[1:]), (len(self), self.bins)
        if came != expected:
            raise ValueError(f"projections have shape {came}; expected (angles, bins) = {expected}")

    @cached_property
    def _layout(self) -> Layout:
        per_angle = 2 * self.size * max(self.size, self.bins)
        return lay_out(self.angles, max(1, CHUNK // per_angle), FEW // per_angle, KEPT // per_angle)

    def _blocks(self, like: Tensor) -> Iterator[tuple[Block, Weights]]:
        """The blocks with their weights, which are kept where there is room for those of all."""
        blocks, key = self._layout.blocks, (like.dtype, like.device)
        made = (Weights(self.size, self.bins, block.folded, like) for block in blocks)
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
    """Half the gap to both neighbours on the half turn, for angles in any order and spacing; sums to pi."""
    turn = angles.remainder(math.pi)
    order = torch.argsort(turn)
    gaps = torch.diff(turn[order], append=turn[order][:1] + math.pi)
    weights = torch.empty_like(turn)
    weights[order] = (gaps + gaps.roll(1)) / 2
    return weights


def filtered_backprojection(radon: Radon, y: Float[Tensor, "b n bins"]) -> Float[Tensor, "b h w"]:
    """The image by ramp filter and back-projection; unevenly spaced angles count by the gap they fill.

    Beyond the detector, a projection is continued by its outermost values: where the object is wider than the
    detector this is far better than zeros, and elsewhere it is the same.
    """
    radon.check_projections(y)
    ramp = _ramp(2 * radon.bins).to(y)
    length, margin = 2 * (len(ramp) - 1), radon.bins // 2
    padded = torch.nn.functional.pad(y, (margin, radon.bins - margin), mode="replicate")
    filtered = torch.fft.irfft(torch.fft.rfft(padded, length) * ramp, length)[
        ..., margin : margin + radon.bins
    ]
    return radon.adjoint(filtered * angular_weights(radon.angles).to(y)[:, None])
