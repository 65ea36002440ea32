"""Joseph's weights of any straight rays, through the pixels of an image or the voxels of a volume.

A ray is sampled once per plane across the axis that it runs along most, with linear interpolation between the
two pixels, or four voxels, around it (Joseph 1982).
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.sparse import AT_ONCE, Weights, csr


class Straight(Weights):
    """The weights of rays through a grid of 2 or 3 axes.

    Places are counted in pixels from the middle of the grid, along its axes.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        points: Float[Tensor, "rays axes"],
        directions: Float[Tensor, "rays axes"],
        dtype: torch.dtype,
    ) -> None:
        """`points`: one on each ray; `directions`: of length 1."""
        self.shape, self.points, self.directions, self.dtype = shape, points, directions, dtype

    def by_ray(self) -> Float[Tensor, "rays pixels"]:
        ways = torch.arange(len(self.points), device=self.points.device)
        per_ray = max(self.shape) * 2 ** (len(self.shape) - 1)
        parts = map(self._some, ways.split(max(1, AT_ONCE // per_ray)))
        return csr(parts, per_ray, (len(self.points), self.points.new_empty(self.shape).numel()))

    def _some(self, some: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels and weights of some rays, plane by plane and corner by corner."""
        along, others = self._axes(self.directions[some].abs().argmax(1, keepdim=True))
        device = self.points.device
        shape = torch.tensor(self.shape, device=device)
        stride = torch.tensor([*self.shape[1:], 1], device=device).flip(0).cumprod(0).flip(0)
        point, way = self.points[some], self.directions[some]
        slope = way.gather(1, others) / way.gather(1, along)
        start = point.gather(1, others) - slope * point.gather(1, along) + (shape[others] - 1) / 2
        plane = torch.arange(max(self.shape), device=device)
        middle = (shape[along] - 1) / 2
        place = start[:, None] + slope[:, None] * (plane - middle)[..., None]  # ray, plane, other axis
        lower = place.floor()
        share = (place - lower).to(self.dtype)
        length = 1 / way.gather(1, along).abs().to(self.dtype)
        found = []
        for corner in product((0, 1), repeat=len(self.shape) - 1):
            above = torch.tensor(corner, device=device)
            at = lower.long() + above
            inside = ((at >= 0) & (at < shape[others][:, None])).all(2) & (plane < shape[along])
            weight = torch.where(above > 0, share, 1 - share).prod(2) * length * inside
            pixel = (at * stride[others][:, None]).sum(2) + plane * stride[along]
            found.append((pixel * inside, weight))
        pixel, weight = (torch.stack(each, -1) for each in zip(*found, strict=True))
        return pixel.int().flatten(), weight.flatten()

    def _axes(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """The axis of each ray, and all others in their order."""
        axes = torch.arange(len(self.shape), device=along.device).expand(len(along), -1)
        return along, axes[axes != along].reshape(len(along), -1)
