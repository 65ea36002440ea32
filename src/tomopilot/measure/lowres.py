"""A low-resolution image of the whole object: the pre-scan of a beamline, one measurement by itself."""

from copy import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.measure.kind import PRESCAN, Kind
from tomopilot.measure.operator import Numbers, Operator, numbers


class LowRes(Operator):
    """The image averaged over square blocks, so that `side` of them lie along each of its sides.

    It is the only design; an index may repeat it.
    """

    def __init__(self, size: int, side: int) -> None:
        if not 1 <= side <= size or size % side:
            fitting = [n for n in range(1, size + 1) if size % n == 0]
            near = min(fitting, key=lambda n: abs(n - side))
            raise ValueError(
                f"a pre-scan of {side} x {side} pixels was asked for, of an image of {size} x {size}; "
                f"expected a divisor of {size}, such as {near}"
            )
        self.size, self.side, self.block = size, side, size // side
        self._settings = torch.zeros(1)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    @property
    def settings(self) -> Float[Tensor, " n"]:
        return self._settings

    @property
    def kind(self) -> Kind:
        return PRESCAN

    def __getitem__(self, index: Int[Tensor, " m"]) -> "LowRes":
        again = copy(self)
        again._settings = self._settings[index]
        return again

    def __repr__(self) -> str:
        return f"LowRes(size={self.size}, side={self.side})"

    def forward(self, x: Numbers) -> Float[Tensor, "b n side side"]:
        blocks = self.images(x).unflatten(2, (self.side, self.block)).unflatten(1, (self.side, self.block))
        return blocks.mean((2, 4))[:, None].expand(-1, len(self), -1, -1)

    def adjoint(self, y: Numbers) -> Float[Tensor, "b size size"]:
        return self.enlarged(numbers(y)) * (len(self) / self.block**2)

    def enlarged(self, y: Float[Tensor, "b n side side"]) -> Float[Tensor, "b size size"]:
        """The smallest image that looks like the mean of these: each block of one value."""
        return y.mean(1).repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
