"""A two-dimensional operator on every slice of a volume: one exposure measures all of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from tomopilot.measure.kind import Kind
from tomopilot.measure.noise import Masked, Noise
from tomopilot.measure.operator import Numbers, Operator, numbers


class Stack(Operator):
    """The measurements of a volume (z, *slice): each design is measured in all of its slices at once.

    Its block has one row per slice, (z, *block), so that scores that sum over a block sum over the slices.
    """

    def __init__(self, operator: Operator, slices: int) -> None:
        if slices < 1:
            raise ValueError(f"a volume of {slices} slices was asked for; expected at least 1")
        self.operator, self.slices = operator, slices

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.slices, *self.operator.image_shape)

    @property
    def block_shape(self) -> tuple[int, ...]:
        return (self.slices, *self.operator.block_shape)

    @property
    def settings(self) -> Float[Tensor, "n *setting"]:
        return self.operator.settings

    @property
    def complex_values(self) -> bool:
        return self.operator.complex_values

    @property
    def kind(self) -> Kind:
        return self.operator.kind

    @property
    def shown(self) -> Float[Tensor, "n *setting"]:
        return self.operator.shown

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Stack":
        return Stack(self.operator[index], self.slices)

    def at(self, settings: Numbers) -> "Stack":
        return Stack(self.operator.at(settings), self.slices)

    def to(self, device: torch.device | str) -> "Stack":
        return Stack(self.operator.to(device), self.slices)

    def __repr__(self) -> str:
        return f"Stack({self.operator!r}, slices={self.slices})"

    def forward(self, x: Numbers) -> Inexact[Tensor, "b n z *block"]:
        y = self.operator.forward(self.images(x).flatten(0, 1))
        return y.unflatten(0, (-1, self.slices)).transpose(1, 2)

    def adjoint(self, y: Numbers) -> Float[Tensor, "b z *slice"]:
        x = self.operator.adjoint(numbers(y).transpose(1, 2).flatten(0, 1))
        return x.unflatten(0, (-1, self.slices))


@dataclass(frozen=True)
class Scouts:
    """The slices of a volume, by number, that a scan is chosen by; all are measured."""

    whole: Stack
    numbers: tuple[int, ...]

    @property
    def operator(self) -> Stack:
        """What is measured of them."""
        return Stack(self.whole.operator, len(self.numbers))

    def rows(self, frame: Inexact[Tensor, "z *block"]) -> Inexact[Tensor, "s *block"]:
        """What a measurement of the whole volume says of them."""
        return frame[list(self.numbers)]

    def noise(self, noise: Noise) -> Noise:
        """Of theirs, where it is that of a measurement of the whole volume."""
        return noise.of_slices(self.numbers) if isinstance(noise, Masked) else noise


def over_height(count: int, slices: int) -> tuple[int, ...]:
    """The middle slices of `count` equal parts of a volume; all slices where there are fewer.

    >>> over_height(3, 64), over_height(4, 2)
    ((10, 32, 53), (0, 1))
    """
    count = min(count, slices)
    return tuple((2 * part + 1) * slices // (2 * count) for part in range(count))
