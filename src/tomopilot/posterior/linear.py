"""Images that are linear in Gaussian weights: samples given data, and the variances that the data ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.measure.solve import conjugate_gradients
from tomopilot.records import Data

TOLERANCE = 2e-4  # of a residual, at which it is solved


class Whitened:
    """All measured numbers as one vector whose noise has variance 1: W^1/2 A; 0 where the precision is 0."""

    def __init__(self, data: Data) -> None:
        self.parts = data.observations
        self.roots = [part.weight.sqrt() for part in self.parts]
        self.sizes = [root.numel() for root in self.roots]

    def forward(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b m"]:
        pairs = zip(self.parts, self.roots, strict=True)
        found = [(root.to(x) * part.operator.forward(x)).flatten(1) for part, root in pairs]
        return torch.cat([x.new_zeros(len(x), 0), *found], 1)

    def adjoint(self, y: Float[Tensor, "b m"]) -> Float[Tensor, "b *image"]:
        pairs = zip(self.parts, self.roots, y.split(self.sizes, 1), strict=True)
        back = [p.operator.adjoint(root.to(y) * v.unflatten(1, root.shape)) for p, root, v in pairs]
        return torch.stack(back).sum(0)

    def values(self, like: Tensor) -> Float[Tensor, " m"]:
        pairs = zip(self.parts, self.roots, strict=True)
        found = [(root * part.known).flatten().to(like) for part, root in pairs]
        return torch.cat([like.new_zeros(0), *found])


@dataclass(frozen=True, eq=False)
class LinearModel:
    """image = offset + J w, where weight number i has mean 0 and variance `variances[block[i]]`.

    `push` is J, of one vector of weights; `pull` is J^T, of one image.
    """

    offset: Float[Tensor, "*image"]
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]
    block: Int[Tensor, " p"]
    variances: Float[Tensor, " blocks"]

    def prior(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "k *image"]:
        """Samples of J w."""
        spread = self.variances[self.block].sqrt()
        weights = torch.randn(count, len(spread), generator=rng, dtype=spread.dtype).to(spread)
        return torch.stack([self.push(spread * w) for w in weights])

    def covariance(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b *image"]:
        """J S J^T x, S the variances of the weights."""
        variance = self.variances[self.block]
        return torch.stack([self.push(variance * self.pull(one)) for one in x])

    def energies(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b blocks"]:
        """x^T J_g S_g J_g^T x of each block g."""
        squares = torch.stack([self.pull(one).square() for one in x])
        sums = squares.new_zeros(len(x), len(self.variances)).index_add(1, self.block, squares)
        return sums * self.variances


@dataclass(frozen=True, eq=False)
class Solved:
    """A linear model given data: mean and deviations are images; `energies` of data, and of their samples."""

    mean: Float[Tensor, "*image"]
    deviations: Float[Tensor, "k *image"]
    energies: Float[Tensor, "1+k blocks"]

    def improved(self, model: LinearModel) -> LinearModel:
        """The model with variances under which the data are likelier (Zhou et al. 2019, the MM algorithm).

        s_g <- s_g sqrt( y^T K^-1 K_g K^-1 y / tr K^-1 K_g ), K = sum of K_g + 1 the covariance of the data y;
        the trace is estimated from samples of the data. Each step climbs, up to the samples' noise.
        """
        found, expected = self.energies[0], self.energies[1:].mean(0)
        ratio = torch.where((found > 0) & (expected > 0), found / expected, torch.ones_like(found))
        return replace(model, variances=model.variances * ratio.sqrt())


def solve(
    model: LinearModel, data: Data, count: int, *, steps: int, rank: int, rng: torch.Generator
) -> Solved:
    """Mean and `count` deviations from it, by Matheron's rule in the space of the data.

    mean = offset + C A^T (A C A^T + W^-1)^-1 (y - A offset), deviation = x0 - C A^T (...)^-1 (A x0 + noise)
    with C = J S J^T, x0 a sample of the prior and W the precisions of the data, which are kept as they are.
    The inverse is by `steps` conjugate gradients, preconditioned by `rank` directions.
    """
    white, x = Whitened(data), model.prior(count, rng=rng)
    fake = white.forward(x)
    fake = fake + torch.randn(fake.shape, generator=rng, dtype=x.dtype).to(x)
    true = white.values(x) - white.forward(model.offset[None])[0]
    y = torch.cat([true[None], fake])
    if not y.numel():
        return Solved(model.offset, x, x.new_zeros(1 + count, len(model.variances)))

    def seen(u: Float[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        return white.forward(model.covariance(white.adjoint(u)))

    halve = _preconditioner(seen, y, rank, rng)
    start = torch.zeros_like(y)
    solution = conjugate_gradients(
        lambda v: halve(seen(halve(v)) + halve(v)), halve(y), start, steps, TOLERANCE
    )
    back = white.adjoint(halve(solution))
    moved = model.covariance(back)
    return Solved(model.offset + moved[0], x - moved[1:], model.energies(back))


def _preconditioner(
    apply: Callable[[Tensor], Tensor], like: Float[Tensor, "b m"], rank: int, rng: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """P^-1/2, where P is about apply + 1 in its largest directions and 1 beyond.

    The Nystroem preconditioner of Frangella, Tropp and Udell 2023.
    """
    size = like.shape[1]
    random = torch.randn(size, min(rank, size), generator=rng, dtype=torch.float64).to(like.device)
    basis = torch.linalg.qr(random).Q
    image = apply(basis.T.to(like)).T.double()
    values, turn = torch.linalg.eigh((basis.T @ image + image.T @ basis) / 2)
    good = values > torch.finfo(like.dtype).eps * values.max()
    root = image @ (turn[:, good] / values[good].sqrt())
    if not root.numel():  # nothing is seen, as with data that are all masked
        return lambda v: v
    directions, found, _ = torch.linalg.svd(root, full_matrices=False)
    largest = found.square() + 1
    shrink = ((largest.min() / largest).sqrt() - 1).to(like)
    directions = directions.to(like)
    return lambda v: v + ((v @ directions) * shrink) @ directions.T
