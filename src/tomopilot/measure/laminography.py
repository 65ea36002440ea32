"""Laminography: projections of a volume that turns about an axis which is tilted towards the beam."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.joseph import centred
from tomopilot.measure.kind import FULL_TURN, Kind
from tomopilot.measure.operator import Numbers
from tomopilot.measure.projector import Projector
from tomopilot.measure.rays import Straight
from tomopilot.measure.sparse import Weights


class Laminography(Projector):
    """Line integrals of a volume (z, h, w) along parallel rays, in image value times voxel width.

    The rotation axis is z, the normal of the slices, and has the angle `tilt` with the beam, so that a plate
    is never seen edge-on. At 90 degrees this is ordinary tomography: row r of the detector is `Radon` of
    slice r. In general, with x and y as in `Radon` and z along the slices, all from the middle, a pixel at
    (row, bin) = (s, t) integrates over the line on which t = x cos(theta) + y sin(theta) and
    s = z sin(tilt) + (x sin(theta) - y cos(theta)) cos(tilt). Rays are sampled with linear interpolation, see
    `rays`. The adjoint is the transpose.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        angles: Numbers,
        block: tuple[int, ...] | None = None,
        *,
        tilt: float,
        offset: float = 0.0,
    ) -> None:
        """
        shape: slices, height and width of the volume
        angles: of rotation, in radians
        block: rows and bins of the detector, as wide as voxels; if not given, as many as see the width and,
        along the axis, all slices
        tilt: of the rotation axis against the beam, in radians, above 0 and at most pi / 2
        offset: bins from the detector's middle to the axis' projection
        """
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"the volume is {shape}; expected slices, height and width")
        if not 0 < tilt <= math.pi / 2:
            raise ValueError(
                f"the tilt is {tilt:g} radians; expected the angle between rotation axis and beam, above 0 "
                f"and at most {math.pi / 2:.4g}, which is ordinary tomography"
            )
        self.tilt = float(tilt)
        super().__init__(shape, block or (self._rows(shape), shape[2]), angles, offset)

    def _rows(self, shape: tuple[int, ...]) -> int:
        """Of a detector that sees the whole height of a plate, and its length as far as it is tilted."""
        slices, height, width = shape
        return math.ceil(slices * math.sin(self.tilt) + max(height, width) * self._along_axis - 1e-6)

    @property
    def _along_axis(self) -> float:
        """How far a ray moves along the rotation axis: cos(tilt), and exactly 0 at a right angle."""
        return math.sin(math.pi / 2 - self.tilt)

    @property
    def kind(self) -> Kind:
        return FULL_TURN

    def __repr__(self) -> str:
        offset = f", offset={self.offset!r}" if self.offset else ""
        return (
            f"Laminography(shape={self.image_shape}, angles=<{len(self)} angles>, block={self.block_shape}, "
            f"tilt={self.tilt!r}{offset})"
        )

    @property
    def per_angle(self) -> int:
        return 4 * math.prod(self.block_shape) * max(self.image_shape)

    def weights(self, part: Float[Tensor, " n"], like: Tensor) -> Weights:
        angles = part.to(like.device).double()
        cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
        steep, along = math.sin(self.tilt), self._along_axis
        beam = torch.stack([zero + along, -steep * cos, -steep * sin], 1)  # z, rows (downwards), columns
        up = torch.stack([zero + steep, along * cos, along * sin], 1)
        beside = torch.stack([zero, -sin, cos], 1)
        rows, bins = (centred(count, like.device) for count in self.block_shape)
        points = (
            rows[:, None, None] * up[:, None, None] + (bins - self.offset)[:, None] * beside[:, None, None]
        )
        ways = beam[:, None, None].expand_as(points)
        return Straight(self.image_shape, points.reshape(-1, 3), ways.reshape(-1, 3), like.dtype)
