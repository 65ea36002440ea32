"""Joseph's weights of parallel rays as sparse matrices, by formula in both directions: nothing is sorted.

A ray that crosses rows more steeply than columns is sampled once per row, with linear interpolation (Joseph
1982). A pixel that projects to t* sees this as a triangle on the detector: with c = cos(theta), theta at most
45 degrees, bin t weighs max(0, 1 - |t - t*| / c) / c. So a ray meets at most two pixels of a row, and a pixel
at most two bins. Any other angle is one of these 45 degrees under a mirrored or transposed image.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tomopilot.measure.sparse import AT_ONCE, Weights, csr

GRID = 403200  # steps of a quarter turn to which angles are rounded, 0.8 arc seconds each


class Folded(NamedTuple):
    """Angles, each as the one of the first 45 degrees that it is seen at."""

    steps: Int[Tensor, " n"]  # of GRID to a quarter turn, 0 to GRID / 2
    view: Int[Tensor, " n"]  # of the image, see `seen`
    reversed: Bool[Tensor, " n"]  # whether the detector is read from its other end


def fold(angles: Float[Tensor, " n"]) -> Folded:
    """Angles on a grid that holds 180, 256, 1800 and other even divisions of the half turn exactly.

    Without it, mirror images of an angle would miss each other by the rounding of pi.

    >>> fold(torch.tensor([1.0, 89.0, 91.0, 179.0, 181.0]).deg2rad()).steps.unique()
    tensor([4480])
    """
    steps = (angles.double() * (2 * GRID / math.pi)).round().long() % (4 * GRID)
    half = steps % (2 * GRID)
    quarter = torch.minimum(half, 2 * GRID - half)
    view = (2 * quarter > GRID) + 2 * (half > GRID)
    return Folded(torch.minimum(quarter, GRID - quarter), view, steps >= 2 * GRID)


def seen(x: Float[Tensor, "b h w"], view: int) -> Float[Tensor, "b h w"]:
    """Images mirrored left to right (views 2 and 3), then with x and y exchanged (views 1 and 3)."""
    x = x.flip(2) if view & 2 else x
    return x.flip(1, 2).mT if view & 1 else x


def unseen(x: Float[Tensor, "b h w"], view: int) -> Float[Tensor, "b h w"]:
    """The inverse, and transpose, of `seen`."""
    x = x.flip(1, 2).mT if view & 1 else x
    return x.flip(2) if view & 2 else x


class Parallel(Weights):
    """The weights of parallel rays at some angles."""

    def __init__(self, size: int, bins: int, folded: Folded, like: Tensor, offset: float = 0.0) -> None:
        self.size, self.bins, self.dtype, self.offset = size, bins, like.dtype, offset
        steps, self.view, reversed_ = (part.to(like.device) for part in folded)
        theta = steps.double() * (math.pi / (2 * GRID))
        self.cos, self.sin, self.sign = theta.cos(), theta.sin(), 1 - 2 * reversed_.double()
        self.line, self.t = centred(size, like.device), centred(bins, like.device) - offset

    def by_ray(self) -> Float[Tensor, "rays pixels"]:
        slope, rise = self.sign / self.cos, self.sin / self.cos
        first, down, right = _strides(self.size).to(self.view.device)[:, self.view]
        row = torch.arange(self.size, dtype=torch.int32, device=self.view.device)

        def some(a: Tensor) -> tuple[Tensor, Tensor]:
            place = slope[a, None, None] * self.t[:, None] + rise[a, None, None] * self.line
            both, weight = self._neighbours(place, self.size)  # angle, bin, row, neighbour
            weight = weight / self.cos[a, None, None, None].to(self.dtype)
            pixel = both * right[a, None, None, None] + (first + down * row[:, None]).mT[a, None, :, None]
            return pixel.flatten(), weight.flatten()

        angles = torch.arange(len(self.cos), device=self.view.device)
        parts = angles.split(max(1, AT_ONCE // (2 * self.size * self.bins)))
        return csr(map(some, parts), 2 * self.size, (len(angles) * self.bins, self.size**2))

    def by_pixel(self) -> Float[Tensor, "pixels rays"]:
        mirrored = self.sign * (1 - (self.view & 2))
        swapped = (self.view & 1).bool()
        along_x = torch.where(swapped, mirrored * self.sin, mirrored * self.cos)
        along_y = self.sign * torch.where(swapped, self.cos, self.sin)
        first = torch.arange(len(self.cos), dtype=torch.int32, device=self.view.device)[:, None] * self.bins

        def some(y: Tensor) -> tuple[Tensor, Tensor]:
            place = self.line[:, None] * along_x - y[:, None, None] * along_y + self.offset
            both, weight = self._neighbours(place, self.bins, self.cos)  # row, column, angle, neighbour
            return (both + first).flatten(), weight.flatten()

        parts = self.line.split(max(1, AT_ONCE // (2 * self.size * len(self.cos))))
        return csr(map(some, parts), 2 * len(self.cos), (self.size**2, len(self.cos) * self.bins))

    def _neighbours(self, place: Tensor, count: int, width: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two of 0 ... `count` - 1 around each place, and what they weigh; outside, nothing.

        place: from the middle
        width: of the triangle under which they weigh, 1 / width at its top; 1 if not given
        """
        place = place + (count - 1) / 2
        lower = place.floor()
        share = (place - lower).to(self.dtype)
        weight = torch.stack([1 - share, share], -1)
        if width is not None:
            inverse = (1 / width).to(self.dtype)[:, None]
            weight = (1 - (1 - weight) * inverse).relu() * inverse
        both = torch.stack([lower := lower.int(), lower + 1], -1)
        weight = weight * ((both >= 0) & (both < count))
        return both.clamp_(0, count - 1), weight


def centred(count: int, device: torch.device) -> Float[Tensor, " n"]:
    """Places of so many pixels or bins, from their middle."""
    return torch.arange(count, dtype=torch.float64, device=device) - (count - 1) / 2


def _strides(size: int) -> Int[Tensor, "3 views"]:
    """By view, the pixel seen in the upper left corner, and the steps from it to the one below and beside."""
    pixels = torch.arange(size**2, dtype=torch.float64).reshape(1, size, size)
    corners = torch.stack([seen(pixels, view)[0, :2, :2].int() for view in range(4)])
    first = corners[:, 0, 0]
    return torch.stack([first, corners[:, 1, 0] - first, corners[:, 0, 1] - first])


class Block(NamedTuple):
    """Angles whose weights make one matrix, and the views of the image that it is applied to."""

    folded: Folded
    views: tuple[int, ...] = (0,)

    @property
    def slots(self) -> int:
        """Projections that come out."""
        return len(self.views) * len(self.folded.steps)


class Layout(NamedTuple):
    """Which block projects which angle."""

    blocks: list[Block]
    slot: Int[Tensor, " n"] | None = None  # of each angle, counted through all blocks; None: in order
    reversed: Bool[Tensor, "n 1"] | None = None  # the detector, where the blocks leave this to be done


def lay_out(
    angles: Float[Tensor, " n"], per_block: int, few: int, room: int, *, centred: bool = True
) -> Layout:
    """Views of the image share weights where these are many and become half, or where room for more is short.

    few: angles up to which the copies of the image cost more than shared weights save
    room: angles whose weights can be kept
    centred: whether a detector that is read from its other end is the same; else nothing is shared
    """
    folded = fold(angles.cpu())
    halved = 2 * len(folded.steps.unique()) <= len(angles)
    if not centred or len(angles) <= (min(few, room) if halved else room):
        parts = zip(*(part.split(per_block) for part in folded), strict=True)
        return Layout([Block(Folded(*part)) for part in parts])
    return _shared(folded, per_block)


def _shared(folded: Folded, per_block: int) -> Layout:
    views, blocks, total = folded.view.unique(), [], 0
    slot = torch.empty_like(folded.steps)
    for steps in folded.steps.unique().split(per_block):
        mine = torch.isin(folded.steps, steps)
        place = torch.searchsorted(views, folded.view[mine]) * len(steps)
        slot[mine] = total + place + torch.searchsorted(steps, folded.steps[mine])
        plain = Folded(steps, torch.zeros_like(steps), torch.zeros_like(steps, dtype=torch.bool))
        blocks.append(Block(plain, tuple(views.tolist())))
        total += blocks[-1].slots
    return Layout(blocks, slot, folded.reversed[:, None])
