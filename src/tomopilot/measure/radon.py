"""Parallel-beam projections."""

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.angles import angular_weights
from tomopilot.measure.backprojection import (
    filtered_backprojection as filtered_backprojection,  # its first home
)
from tomopilot.measure.backprojection import pixels, ramp
from tomopilot.measure.joseph import Block, Layout, Parallel, lay_out, seen, unseen
from tomopilot.measure.operator import Numbers, numbers
from tomopilot.measure.projector import Projector
from tomopilot.measure.sparse import COLUMNS, Product, Weights

FEW = 2**22  # weights up to which mirrored angles do not share them: 128 angles at 128 x 128


class Radon(Projector):
    """Line integrals of a square image along parallel rays, in image value times pixel width.

    With x to the right and y upwards from the image's centre, in pixels, detector bin t of angle theta
    integrates over x cos(theta) + y sin(theta) = t: 0 radians sums along columns, and angles turn
    counter-clockwise. Rays are sampled once per image row (or column, whichever they cross more steeply) with
    linear interpolation (Joseph 1982). The weights are sparse matrices, see `joseph`, and the adjoint is the
    transpose to rounding.
    """

    def __init__(self, size: int, angles: Numbers, bins: int | None = None, offset: float = 0.0) -> None:
        """`angles`: radians, (n,); `offset`: bins from the detector's middle to the axis' projection."""
        super().__init__((size, size), (size if bins is None else bins,), angles, offset)

    def __repr__(self) -> str:
        offset = f", offset={self.offset!r}" if self.offset else ""
        return f"Radon(size={self.size}, angles=<{len(self)} angles>, bins={self.bins}{offset})"

    @property
    def per_angle(self) -> int:
        return 2 * self.size * max(self.size, self.bins)

    def weights(self, part: Block, like: Tensor) -> Weights:
        return Parallel(self.size, self.bins, part.folded, like, self.offset)

    @cached_property
    def parts(self) -> list[Block]:
        return self._layout.blocks

    @cached_property
    def keeps(self) -> bool:
        return sum(len(block.folded.steps) for block in self.parts) <= self.room

    @cached_property
    def _layout(self) -> Layout:
        few, centred = FEW // self.per_angle, self.offset == 0
        return lay_out(self.angles, self.per_matrix, few, self.room, centred=centred)

    def forward(self, x: Numbers) -> Float[Tensor, "b n bins"]:
        x = self.images(x)
        blocks = zip(self.parts, self.made(x), strict=True)
        y = torch.cat([self._project(x, *block) for block in blocks], 1)
        slot = self._layout.slot
        return y if slot is None else self._read(y[:, slot.to(y.device)])

    def adjoint(self, y: Numbers) -> Float[Tensor, "b h w"]:
        y = numbers(y)
        self.check_projections(y)
        counts, slot = [block.slots for block in self.parts], self._layout.slot
        if slot is not None:
            empty = y.new_zeros(len(y), sum(counts), self.bins)
            y = empty.index_add(1, slot.to(y.device), self._read(y))
        parts = zip(y.split(counts, 1), self.parts, self.made(y), strict=True)
        return sum(self._project_back(*part) for part in parts)  # pyright: ignore[reportReturnType]

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

    def before_filter(self) -> Float[Tensor, "n 1"]:
        """The share of the half turn that each angle stands for."""
        return angular_weights(self.angles)[:, None]

    def ramp(self) -> Float[Tensor, " f"]:
        return ramp(2 * self.bins)

    def seen_at(self, like: Tensor) -> Iterator[tuple[Tensor, float]]:
        x, y = pixels(self.size, like)
        middle = (self.bins - 1) / 2 + self.offset
        for theta in self.angles.tolist():
            yield x * math.cos(theta) + y * math.sin(theta) + middle, 1.0


def half_turn(count: int = 180) -> Float[Tensor, " n"]:
    """`count` equally spaced angles over half a turn, in radians, from 0."""
    if count < 1:
        raise ValueError(f"{count} angles were asked for; a scan needs at least 1")
    return torch.arange(count) * (math.pi / count)
