"""Reconstructions that need no prior: each is a posterior of one image, for comparison."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, filtered_backprojection
from tomopilot.measure.solve import largest_eigenvalue
from tomopilot.records import Data, Draws


@dataclass(frozen=True)
class FilteredBackProjection:
    """Filtered back-projection of the measured projections."""

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        operator, known, used = _all(data)
        if not isinstance(operator, Radon):
            raise ValueError(f"fbp needs parallel-beam projections, but the data come from {operator!r}")
        seen = used.any(-1)
        if not bool(seen.any()):  # all masked, or opaque: the image of nothing, as of `TotalVariation`
            image = torch.zeros(1, *data.image_shape, device=data.device)
            return Draws(image, image[0])
        values = filled(known[seen], used[seen])
        image = filtered_backprojection(operator[seen.nonzero()[:, 0]], values[None])
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
        operator, known, _ = _all(data)
        if not isinstance(operator, Fourier):
            raise ValueError(f"zero-filled needs rows of k-space, but the data come from {operator!r}")
        image = operator.adjoint(known[None])
        return Draws(image, image[0])


@dataclass(frozen=True)
class TotalVariation:
    """argmin over x >= 0 of |A x - y|^2 / 2 + `weight` TV(x), isotropic, by the primal-dual method.

    Chambolle & Pock 2011, Algorithm 1. `weight` is in units of the unweighted sum of squares of projections.
    """

    weight: float = 0.5
    steps: int = 300

    @torch.no_grad()
    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        operator, known, seen = _all(data)
        y, used = known[None], seen.to(known)  # what a masked bin holds is not fitted
        x = torch.zeros(1, *data.image_shape, device=data.device)
        norm = (1.05 * largest_eigenvalue(lambda image: operator.adjoint(operator.forward(image)), x)) ** 0.5
        ratio = (
            norm / 8**0.5
        )  # balances the two parts of K = (A, ratio * gradient), so that |K|^2 <= 2 norm^2
        step = 0.95 / (norm * 2**0.5)
        dual, edges, ahead = torch.zeros_like(y), torch.zeros(2, *x.shape, device=x.device), x
        for _ in range(self.steps):
            dual = used * (dual + step * (operator.forward(ahead) - y)) / (1 + step)
            edges = edges + step * ratio * _differences(ahead)
            edges = edges / (edges.square().sum(0).sqrt() * ratio / self.weight).clamp(min=1)
            following = x - step * (operator.adjoint(dual) + ratio * _divergence(edges))
            following = following.clamp(min=0)
            ahead, x = 2 * following - x, following
        return Draws(x, x[0])


def _all(data: Data) -> tuple[Operator, Inexact[Tensor, "m *block"], Bool[Tensor, "m *block"]]:
    """What was measured, under whatever noise: operator, values (0 if masked), and which are not masked."""
    parts = data.observations
    families = {id(part.family): part.family for part in parts}
    if len(families) != 1:
        raise ValueError(
            f"expected measurements of one kind, at least one; the data hold {len(families)} kinds"
        )
    (family,) = families.values()
    settings, known, precision = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("settings", "known", "precision")
    )
    return family.at(settings), known, precision > 0


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
