"""Scores of candidate measurements: each maps a forecast to one number per design."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.records import Forecast

FLOOR = 0.01  # of the rms of a forecast: the noise that is assumed where none is known


def variance(forecast: Forecast) -> Float[Tensor, " n"]:
    """Total posterior variance of each candidate measurement (paper, Eq. 3)."""
    spread = forecast.draws - forecast.draws.mean(0)
    return spread.abs().square().flatten(2).sum(2).mean(0)


def committee(forecast: Forecast) -> Float[Tensor, " n"]:
    """Mean squared distance of the samples' predictions from the estimate's (paper, Eq. 17)."""
    apart = forecast.draws - forecast.guess
    return apart.abs().square().flatten(2).sum(2).mean(0)


def carried(forecast: Forecast) -> Float[Tensor, " n"]:
    """Variance of the images in what one measurement can carry of them, as in AdaSense (Elata et al. 2024).

    The mean of d^T A^+ A d over the samples' differences d from their mean: a large value of a long ray is
    a small change of each of its pixels. See `carrying` for A A^T.
    """
    return carrying(forecast, forecast.draws - forecast.draws.mean(0)).mean(0)


def carrying(forecast: Forecast, seen: Tensor) -> Float[Tensor, "k n"]:
    """Energy |A^+ y|^2 of the smallest images that explain measurements (k, n, *block).

    A A^T is taken as diagonal with its row sums. That is exact for rows of k-space, for projections along
    rows and columns, and for smooth projections at any angle: neighbouring rays share pixels.
    """
    assert forecast.operator is not None and forecast.designs is not None, "a forecast of no operator"
    width = reach(forecast.operator)[forecast.designs]
    energy = seen.abs().square() / width
    return energy.where(width > EMPTY * width.max(), 0).flatten(2).sum(2)


EMPTY = 1e-3  # of the widest reach, below which a ray meets next to nothing of the image


@lru_cache(maxsize=2)
def reach(operator: Operator) -> Float[Tensor, "n *block"]:
    """Row sums of A A^T for each design: the squared length of what one value reads, with its neighbours."""
    dtype = torch.complex64 if operator.complex_values else torch.float32
    ones = torch.ones(1, 1, *operator.block_shape, dtype=dtype, device=operator.device)
    with torch.no_grad():
        parts = (operator[torch.tensor([design])] for design in range(len(operator)))
        return torch.cat([part.forward(part.adjoint(ones))[0].real for part in parts])


def check_share(name: str, value: Any, *, of: str) -> None:
    """Raises where an option is no finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; expected a number above 0, as a share of {of}, such as 0.01")


@dataclass(frozen=True)
class LogDet:
    """Information that a measurement is expected to bring, in nats: log det(I + S^-1 C) / 2 (paper, Eq. 14).

    C is the covariance of the samples' predictions, with the 1/k that Eq. 15 leaves out; S that of the noise,
    per value, so masked values bring nothing. Worked out as a k x k determinant.

    noise: standard deviation as a share of the rms of the forecast, instead of the scan's own noise; where
    that is unknown or 0, it is `FLOOR`
    """

    noise: float | None = None

    def __post_init__(self) -> None:
        if self.noise is not None:
            check_share("noise", self.noise, of="the rms of the predicted measurements")

    def __call__(self, forecast: Forecast) -> Float[Tensor, " n"]:
        gram = informed(forecast, self.noise)
        return torch.linalg.slogdet(torch.eye(gram.shape[-1]).to(gram) + gram).logabsdet / 2


@dataclass(frozen=True, eq=False)
class AOptimal:
    """Expected reduction of the image variance by a measurement: trace of C_xy (C_yy + S)^-1 C_yx.

    With the samples' differences D (k, pixels) and their predictions in units of the noise B (k, values), it
    is the trace of D D^T K (I + K)^-1 / k with K = B B^T / k, all k x k.

    noise: as in `LogDet`
    roi: weight of each pixel's squared error, 0 or more, broadcast to an image; None: all alike
    """

    noise: float | None = None
    roi: Float[Tensor, "h w"] | None = None

    def __post_init__(self) -> None:
        LogDet(self.noise)
        if self.roi is not None and not (bool((self.roi >= 0).all()) and bool((self.roi > 0).any())):
            raise ValueError(
                "the roi has weights below 0, or none above; expected an image that is 0 where errors do "
                "not matter and above 0 where they do"
            )

    def __call__(self, forecast: Forecast) -> Float[Tensor, " n"]:
        assert forecast.images is not None, "a forecast without images"
        off = (forecast.images - forecast.images.mean(0)).double()
        off = off if self.roi is None else self.roi.to(off).sqrt() * off
        gram, error = informed(forecast, self.noise), off.flatten(1) @ off.flatten(1).T / len(off)
        explained = torch.linalg.solve(torch.eye(len(off)).to(gram) + gram, gram)
        return (error * explained.mT).sum((1, 2))


def informed(forecast: Forecast, noise: float | None = None) -> Float[Tensor, "n k k"]:
    """B B^T / k of the samples' predictions B about their mean, in units of the noise; double precision."""
    off, weight = forecast.draws - forecast.draws.mean(0), precision(forecast, noise)
    if off.is_complex():  # real and imaginary part have half of the variance each
        off, weight = torch.view_as_real(off), 2 * weight[..., None]
    rows = (weight.sqrt() * off).flatten(2).transpose(0, 1).double()
    return rows @ rows.mT / len(off)


def precision(forecast: Forecast, noise: float | None = None) -> Float[Tensor, "n *block"]:
    """Inverse variance of each value to come, 0 where it is masked; `noise` as in `LogDet`."""
    guess = forecast.guess
    known = torch.ones_like(guess.real) if forecast.noise is None else forecast.noise.precision(guess)
    if noise is None and forecast.noise not in (None, Gaussian()):
        return known
    std = (noise or FLOOR) * forecast.draws.abs().square().mean().sqrt()
    return (known > 0) / std.clamp(min=1e-12).square()


def conditioned(forecast: Forecast, designs: Sequence[int], noise: float | None = None) -> Forecast:
    """The forecast once some of its designs, by their place in it, are measured, whatever they read.

    D -> (I + K)^-1/2 D for one after another: the samples' covariance becomes that of a Gaussian that was
    measured (ensemble square-root filter; Tippett et al. 2003). Their mean, and the estimate, stay.
    """
    if not designs:
        return forecast
    turn = torch.eye(len(forecast.draws), dtype=torch.float64, device=forecast.draws.device)
    for gram in informed(forecast[torch.tensor(designs)], noise):
        values, vectors = torch.linalg.eigh(turn @ gram @ turn.T)
        turn = vectors @ ((1 + values.clamp(min=0)) ** -0.5 * vectors).T @ turn
    return forecast.turned(turn)
