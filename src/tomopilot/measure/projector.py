"""What all projectors share: an object on a rotation stage, seen along straight rays from some angles."""

import abc
import math
from collections.abc import Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.measure.angles import check_radians
from tomopilot.measure.kind import PROJECTION, Kind
from tomopilot.measure.operator import Numbers, Operator, numbers
from tomopilot.measure.sparse import Weights, times

CHUNK = 2**24  # weights of one matrix, 0.13 GB
KEPT = 2**27  # weights that are kept for the next call, 1 GB in each direction: 180 angles at 1024 x 1024


class Projector(Operator):
    """Line integrals of an object on a rotation stage, one block of detector values per angle.

    The weights are sparse matrices, and the adjoint is their transpose. Each direction is made when first
    needed and kept, except where the weights of all angles would not fit (`KEPT`): then matrices of some
    angles are made again, one at a time, whenever they are used.
    """

    def __init__(
        self, image: Sequence[int], block: Sequence[int], angles: Numbers, offset: float = 0.0
    ) -> None:
        """`image`, `block`: shapes; `angles`: radians; `offset`: of the rotation axis, in bins."""
        angles = numbers(angles)
        if min(image[-2:]) < 2:
            raise ValueError(f"the image is {min(image[-2:])} pixels wide; a projection needs at least 2")
        if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
            raise ValueError(
                f"angles are {angles!r}; expected a list of at least one finite angle in radians"
            )
        check_radians(angles)
        if not math.isfinite(offset):
            raise ValueError(f"the detector offset is {offset}; expected a finite number of bins")
        if min(block) < 1:
            raise ValueError(f"the detector has {min(block)} bins; it needs at least 1")
        self._image, self._block = tuple(image), tuple(block)
        self.angles, self.offset = angles, float(offset)
        self._stored: dict[tuple, list[Weights]] = {}

    @property
    @abc.abstractmethod
    def per_angle(self) -> int:
        """Weights of one angle, at most."""

    @abc.abstractmethod
    def weights(self, part: Any, like: Tensor) -> Weights:
        """Of one of `parts`, with the dtype and device of `like`."""

    def finer(self, times: int) -> "Projector":
        """The same rays on a grid of pixels, and with detector bins, so many times as fine."""
        other = self._at(self.angles)
        other._image, other._block = (tuple(times * n for n in shape) for shape in (self._image, self._block))
        other.offset = times * self.offset
        return other

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self._image

    @property
    def block_shape(self) -> tuple[int, ...]:
        return self._block

    @property
    def size(self) -> int:
        """Pixels along a row of the image."""
        return self._image[-1]

    @property
    def bins(self) -> int:
        """Along a row of the detector."""
        return self._block[-1]

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

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Projector":
        return self._at(self.angles[index.to(self.angles.device)])

    def at(self, settings: Numbers) -> "Projector":
        angles = numbers(settings).to(self.angles)
        if not bool(angles.isfinite().all()):
            raise ValueError(f"angles are {angles!r}; expected finite angles in radians")
        return self if torch.equal(angles, self.angles) else self._at(angles)  # its weights may be made

    def to(self, device: torch.device | str) -> "Projector":
        return self._at(self.angles.to(device))

    def _at(self, angles: Float[Tensor, " n"]) -> "Projector":
        """The same geometry at other angles, which are known to be radians."""
        other = copy(self)
        other.angles = angles
        return other

    def __getstate__(self) -> dict[str, Any]:
        """The geometry without its weights, also for copies: they are made again where they are needed."""
        own = {
            name for name in vars(self) if not isinstance(getattr(type(self), name, None), cached_property)
        }
        return {name: getattr(self, name) for name in own} | {"_stored": {}}

    def forward(self, x: Numbers) -> Float[Tensor, "b n *block"]:
        x = self.images(x).flatten(1)
        found = [times(x, weights, False) for weights in self.made(x)]
        return torch.cat(found, 1).unflatten(1, (len(self), *self.block_shape))

    def adjoint(self, y: Numbers) -> Float[Tensor, "b *image"]:
        y = numbers(y)
        self.check_projections(y)
        parts = zip(y.split([len(part) for part in self.parts], 1), self.made(y), strict=True)
        found = sum(times(part.flatten(1), weights, True) for part, weights in parts)
        return found.unflatten(1, self.image_shape)  # pyright: ignore[reportAttributeAccessIssue]

    def check_projections(self, y: Tensor) -> None:
        """Raises where `y` cannot be a batch of this operator's projections."""
        came, expected = tuple(y.shape[1:]), (len(self), *self.block_shape)
        if came != expected:
            axes = "angles, rows, bins" if len(expected) > 2 else "angles, bins"
            raise ValueError(f"projections have shape {came}; expected ({axes}) = {expected}")

    @property
    def per_matrix(self) -> int:
        """Angles whose weights make one matrix."""
        return max(1, CHUNK // self.per_angle)

    @property
    def room(self) -> int:
        """Angles whose weights can be kept."""
        return KEPT // self.per_angle

    @cached_property
    def parts(self) -> Sequence[Any]:
        """What has a matrix each; some of the angles."""
        return self.angles.split(self.per_matrix)

    @cached_property
    def keeps(self) -> bool:
        """Whether there is room for the weights of all parts."""
        return len(self) <= self.room

    def made(self, like: Tensor) -> Iterator[Weights]:
        """The weights of each part, which are kept where there is room for those of all."""
        key, weights = (like.dtype, like.device), (self.weights(part, like) for part in self.parts)
        if self.keeps and key not in self._stored:
            self._stored[key] = list(weights)
        return iter(self._stored.get(key, weights))
