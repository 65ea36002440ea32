"""Fan-beam projections: a point source, and a flat or curved detector, about a turning object."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.angles import angular_weights, arcs
from tomopilot.measure.backprojection import pixels, ramp
from tomopilot.measure.kind import FULL_TURN, Kind
from tomopilot.measure.operator import Numbers
from tomopilot.measure.projector import Projector
from tomopilot.measure.rays import Straight
from tomopilot.measure.sparse import Weights

TAPER = math.radians(10)  # over which angles at the end of a range fade where others see the same lines


class Fan(Projector):
    """Line integrals of a square image along rays from a point, in image value times pixel width.

    With x to the right and y upwards from the image's centre, in pixels, the source of angle theta is at
    source * (sin(theta), -cos(theta)), and bins are counted towards (cos(theta), sin(theta)): from far away
    this is `Radon`. A curved detector is an arc about the source. The adjoint is the transpose.

    Its filtered back-projection needs angles over half a turn and the opening of the fan, or more, and a
    detector whose shorter side, if it is offset, still sees the whole object.
    """

    def __init__(
        self,
        size: int,
        angles: Numbers,
        bins: int | None = None,
        *,
        source: float,
        detector: float,
        pitch: float | None = None,
        curved: bool = False,
        offset: float = 0.0,
    ) -> None:
        """All lengths are in pixels of the image.

        source: from the source to the rotation axis
        detector: from the source to the detector
        pitch: width of a detector bin; if not given, that of a pixel at the axis, as it is magnified
        offset: bins from the detector's middle to the axis' projection
        """
        super().__init__((size, size), (size if bins is None else bins,), angles, offset)
        corner = size / 2**0.5
        if not corner < source < math.inf:
            raise ValueError(
                f"the source is {source:g} pixels from the rotation axis, but the image reaches {corner:g}; "
                "expected a larger distance, in pixels of the image"
            )
        if not source <= detector < math.inf:
            raise ValueError(
                f"the detector is {detector:g} pixels from the source, which is less than the axis is, "
                f"{source:g}: were they exchanged?"
            )
        self.source, self.detector, self.curved = float(source), float(detector), curved
        self.pitch = detector / source if pitch is None else float(pitch)
        if not 0 < self.pitch < math.inf:
            raise ValueError(
                f"the pitch is {pitch}; expected the width of a detector bin, in pixels, above 0"
            )
        if curved and self.bins * self.pitch >= math.pi * self.detector:
            raise ValueError(
                f"{self.bins} bins of {self.pitch:g} pixels on an arc of radius {self.detector:g} are half a "
                "circle or more; expected fewer or narrower bins"
            )

    @property
    def kind(self) -> Kind:
        return FULL_TURN

    def __repr__(self) -> str:
        bent, offset = (
            f", {name}={v!r}" if (v := getattr(self, name)) else "" for name in ("curved", "offset")
        )
        return (
            f"Fan(size={self.size}, angles=<{len(self)} angles>, bins={self.bins}, source={self.source!r}, "
            f"detector={self.detector!r}, pitch={self.pitch!r}{bent}{offset})"
        )

    def finer(self, times: int) -> "Fan":
        other = super().finer(times)
        assert isinstance(other, Fan)
        other.source, other.detector = times * self.source, times * self.detector
        return other

    @property
    def per_angle(self) -> int:
        return 2 * self.size * self.bins

    @property
    def middle(self) -> float:
        """Where the axis is seen, in bins from the first one."""
        return (self.bins - 1) / 2 + self.offset

    @property
    def opening(self) -> Float[Tensor, " bins"]:
        """The angle of each bin's ray with that from the source through the axis, in radians."""
        along = self.pitch * (torch.arange(self.bins).double() - self.middle) / self.detector
        return (along if self.curved else along.atan()).to(self.device)

    def rays(self, angles: Float[Tensor, " n"]) -> tuple[Float[Tensor, "n bins"], Float[Tensor, " bins"]]:
        """The angle of each ray's normal, and its distance from the axis along it, as bins of `Radon`."""
        opening = self.opening.to(angles)
        return angles[:, None] - opening, self.source * opening.sin()

    def weights(self, part: Float[Tensor, " n"], like: Tensor) -> Weights:
        angle, distance = self.rays(part.to(like.device).double())
        right, up = angle.cos().flatten(), angle.sin().flatten()
        points = torch.stack([-up, right], 1) * distance.repeat(len(part))[:, None]  # rows run downwards
        return Straight((self.size, self.size), points, torch.stack([-right, -up], 1), like.dtype)

    def before_filter(self) -> Float[Tensor, "n bins"]:
        """The share of all lines that each ray stands for, its slant, and the width of a bin at the axis.

        Another angle may see a line the other way round. Such rays share it (Noo et al. 2002), and their
        shares fade towards the ends of the range of angles, and of a detector that is not centred.
        """
        angles, place = self.angles.double(), torch.arange(self.bins, device=self.device)
        own, opposite = _covered(angles, angles[:, None]), angles[:, None] + math.pi
        here, there = (_fade(self.bins, self.offset, at) for at in (place, 2 * self.middle - place))
        share = own * here / (own * here + _covered(angles, opposite - 2 * self.opening) * there)
        gaps = angular_weights(angles, 2 * math.pi)[:, None]
        axis = gaps * own / (own + _covered(angles, opposite))  # of the lines through it
        width = self.pitch / self.detector * (1 if self.curved else self.source)
        slant = self.opening.cos() * (self.source if self.curved else 1)
        return math.pi / axis.sum() * gaps * share * slant / width

    def ramp(self) -> Float[Tensor, " f"]:
        return ramp(2 * self.bins, self.pitch / self.detector if self.curved else 0.0)

    def seen_at(self, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = pixels(self.size, like)
        middle, scale = self.middle, self.detector / self.pitch
        for theta in self.angles.tolist():
            beside = x * math.cos(theta) + y * math.sin(theta)
            ahead = self.source - x * math.sin(theta) + y * math.cos(theta)
            if self.curved:
                yield torch.atan2(beside, ahead) * scale + middle, 1 / (beside.square() + ahead.square())
            else:
                yield beside / ahead * scale + middle, (self.source / ahead).square()


def _fade(bins: int, offset: float, where: Tensor) -> Tensor:
    """From 0 at the ends of a detector to 1, over twice the distance of the axis from the nearer end."""
    shorter = max(bins / 2 - abs(offset), 0.5)
    return _rise((torch.minimum(where, bins - 1 - where) + 0.5) / (2 * shorter))


def _covered(angles: Float[Tensor, " n"], where: Float[Tensor, "n bins"]) -> Float[Tensor, "n bins"]:
    """1 where angles were measured, 0 in missing wedges, and a smooth rise between them."""
    starts, lengths = arcs(angles)
    if lengths[0] >= 2 * math.pi:
        return torch.ones_like(where)
    into = (where[..., None] - starts).remainder(2 * math.pi)
    return _rise(torch.minimum(into, lengths - into) / TAPER).amax(-1)


def _rise(x: Tensor) -> Tensor:
    return (math.pi / 2 * x.clamp(0, 1)).sin().square()


def full_turn(count: int = 360) -> Float[Tensor, " n"]:
    """`count` equally spaced angles over a full turn, in radians, from 0."""
    if count < 1:
        raise ValueError(f"{count} angles were asked for; a scan needs at least 1")
    return torch.arange(count) * (2 * math.pi / count)
