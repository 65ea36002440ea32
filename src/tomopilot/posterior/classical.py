"""Reconstructions that need no prior: each is a posterior of one image, for comparison."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from tomopilot.measure.backprojection import Beam, filtered_backprojection
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.lowres import LowRes
from tomopilot.measure.operator import Operator
from tomopilot.measure.solve import largest_eigenvalue
from tomopilot.records import Data, Draws


@dataclass(frozen=True)
class FilteredBackProjection:
    """Filtered back-projection of the measured projections, or of what they differ by from a pre-scan's."""

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        image = torch.zeros(1, *data.image_shape, device=data.device)
        for part in _families(data):
            if isinstance(part.operator, LowRes):
                image += part.operator.enlarged(part.known[None])
        for operator, known, used, _ in _families(data):
            if isinstance(operator, LowRes):
                continue
            if not isinstance(operator, Beam):
                raise ValueError(f"fbp needs projections of a slice, but the data come from {operator!r}")
            seen = used.any(-1)
            if bool(seen.any()):  # else all masked, or opaque: the image of nothing, as of `TotalVariation`
                chosen = operator[seen.nonzero()[:, 0]]
                assert isinstance(chosen, Beam)
                values = filled(known[seen], used[seen]) - chosen.forward(image)[0]
                image = image + filtered_backprojection(chosen, values[None])
        return Draws(image, image[0])


def filled(y: Float[Tensor, "n bins"], known: Bool[Tensor, "n bins"]) -> Float[Tensor, "n bins"]:
    """Projections with bins that are not known on the line between their known neighbours."""
    if bool(known.all()):
        return y
    rows = []
    for row, good in zip(y.cpu().numpy(), known.cpu().numpy(), strict=True):
        rows.append(np.interp(np.arange(len(row)), good.nonzero()[0], row[good]))
    return torch.from_numpy(np.stack(rows)).to(y)


@dataclass(frozen=True)
class ZeroFilled:
    """The inverse Fourier transform of the measured k-space rows, all others zero."""

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        (operator, known, _, _), *others = _families(data)
        if others or not isinstance(operator, Fourier):
            raise ValueError(f"zero-filled needs rows of k-space alone, but the data come from {operator!r}")
        image = operator.adjoint(known[None])
        return Draws(image, image[0])


@dataclass(frozen=True)
class TotalVariation:
    """argmin over x >= 0 of |A x - y|^2 / 2 + `weight` TV(x), isotropic, by the primal-dual method.

    Chambolle & Pock 2011, Algorithm 1. `weight` is in units of the unweighted sum of squares of projections;
    a pre-scan weighs as much more as its precision is higher.
    """

    weight: float = 0.5
    steps: int = 300

    @torch.no_grad()
    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        parts = _families(data)
        weights = [(part.precision / parts[0].precision) ** 0.5 for part in parts]
        ys = [weight * part.known[None] for part, weight in zip(parts, weights, strict=True)]
        used = [part.used.to(y) for part, y in zip(parts, ys, strict=True)]  # masked bins are not fitted

        def forward(x: Tensor) -> list[Tensor]:
            return [w * part.operator.forward(x) for part, w in zip(parts, weights, strict=True)]

        def adjoint(y: list[Tensor]) -> Tensor:
            images = [w * part.operator.adjoint(v) for part, w, v in zip(parts, weights, y, strict=True)]
            return torch.stack(images).sum(0)

        x = torch.zeros(1, *data.image_shape, device=data.device)
        norm = (1.05 * largest_eigenvalue(lambda image: adjoint(forward(image)), x)) ** 0.5
        ratio = norm / 8**0.5  # balances K = (A, ratio * gradient), so that |K|^2 <= 2 norm^2
        step = 0.95 / (norm * 2**0.5)
        duals = [torch.zeros_like(y) for y in ys]
        edges, ahead = torch.zeros(2, *x.shape, device=x.device), x
        for _ in range(self.steps):
            duals = [
                mask * (dual + step * (seen - y)) / (1 + step)
                for mask, dual, seen, y in zip(used, duals, forward(ahead), ys, strict=True)
            ]
            edges = edges + step * ratio * _differences(ahead)
            edges = edges / (edges.square().sum(0).sqrt() * ratio / self.weight).clamp(min=1)
            following = x - step * (adjoint(duals) + ratio * _divergence(edges))
            following = following.clamp(min=0)
            ahead, x = 2 * following - x, following
        return Draws(x, x[0])


class Measured(NamedTuple):
    """What was measured of one family, under whatever noise."""

    operator: Operator
    known: Inexact[Tensor, "m *block"]  # 0 if masked
    used: Bool[Tensor, "m *block"]
    precision: float  # mean of those that are used


def _families(data: Data) -> list[Measured]:
    """The measurements, a pre-scan last; raises ValueError where there are none."""
    if not data.observations:
        raise ValueError("nothing was measured; expected at least one projection or row")
    found = []
    for family in dict.fromkeys(part.family for part in data.observations):
        parts = [part for part in data.observations if part.family is family]
        settings, known, precision = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("settings", "known", "precision")
        )
        used = precision > 0
        mean = precision[used].mean().item() if bool(used.any()) else 1.0
        found.append(Measured(family.at(settings), known, used, mean))
    return sorted(found, key=lambda part: isinstance(part.operator, LowRes))


def _differences(x: Float[Tensor, "b h w"]) -> Float[Tensor, "2 b h w"]:
    """Forward differences along rows and columns, 0 at the far edges."""
    return torch.stack([torch.diff(x, dim=d, append=x.narrow(d, -1, 1)) for d in (1, 2)])


def _divergence(edges: Float[Tensor, "2 b h w"]) -> Float[Tensor, "b h w"]:
    """The transpose of `_differences`."""
    parts = []
    for d, e in zip((1, 2), edges, strict=True):
        inner = e.narrow(d, 0, e.shape[d] - 1)
        zero = torch.zeros_like(e.narrow(d, 0, 1))
        parts.append(torch.cat([zero, inner], d) - torch.cat([inner, zero], d))
    return parts[0] + parts[1]
