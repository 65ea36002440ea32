"""Scores of candidate measurements: each maps a forecast to one number per design."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.ensemble import check_positive, informed, reached
from tomopilot.records import Forecast

EMPTY = 1e-3  # of the widest reach, below which a ray meets next to nothing of the image


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
    a small change of each of its pixels. `carrying` says what A A^T is.
    """
    return carrying(forecast, forecast.draws - forecast.draws.mean(0)).mean(0)


@dataclass(frozen=True, eq=False)
class Oracle:
    """What each measurement carries of the estimate's true error: by how much it could mend the image.

    |e|^2 falls by d^T A^+ A d when an estimate takes the smallest step that explains the measurement. So this
    is the best next design for such an estimate, and an upper bound of what samples can know about their own
    error; not of a whole scan, whose designs depend on each other, nor of an estimate that a prior completes.
    For scans of known images only.
    """

    truth: Float[Tensor, "*image"]

    def __call__(self, forecast: Forecast) -> Float[Tensor, " n"]:
        assert forecast.operator is not None and forecast.designs is not None, "a forecast of no operator"
        true = forecast.operator.forward(self.truth[None])[:, forecast.designs]
        return carrying(forecast, true - forecast.guess)[0]


def carrying(forecast: Forecast, seen: Tensor) -> Float[Tensor, "k n"]:
    """Energy |A^+ y|^2 of the smallest images that explain measurements (k, n, *block).

    A A^T is taken as diagonal with its row sums. That is exact for rows of k-space, for projections along
    rows and columns, and for smooth projections at any angle: neighbouring rays share pixels.
    """
    width = reached(forecast)
    energy = seen.abs().square() / width
    return energy.where(width > EMPTY * width.max(), 0).flatten(2).sum(2)


@dataclass(frozen=True)
class LogDet:
    """Information that a measurement is expected to bring, in nats: log det(I + S^-1 C) / 2 (paper, Eq. 14).

    C is the covariance of the samples' predictions, with the 1/k that Eq. 15 leaves out; S that of the noise,
    per value, so masked values bring nothing. Worked out as a k x k determinant.

    noise: standard deviation as a share of the rms of the forecast, instead of the scan's own noise; where
    that is unknown or 0, it is `ensemble.FLOOR`
    """

    noise: float | None = None

    def __post_init__(self) -> None:
        if self.noise is not None:
            check_positive(
                "noise", self.noise, "a share of the rms of the predicted measurements, such as 0.01"
            )

    def __call__(self, forecast: Forecast) -> Float[Tensor, " n"]:
        gram = informed(forecast, self.noise)
        return torch.linalg.slogdet(torch.eye(gram.shape[-1]).to(gram) + gram).logabsdet / 2


@dataclass(frozen=True, eq=False)
class AOptimal:
    """Expected reduction of the image variance by a measurement: trace of C_xy (C_yy + S)^-1 C_yx.

    With the samples' differences D (k, pixels) and their predictions in units of the noise B (k, values), it
    is the trace of D D^T K (I + K)^-1 / k with K = B B^T / k, all k x k.

    A few samples span so little that a measurement seems to explain all of it. What they leave out counts as
    noise: a share of their mean pixel variance, uncorrelated, as far as a value reaches (`ensemble.reach`).

    noise: as in `LogDet`
    left_out: that share; 0 trusts the samples' covariance as it is
    roi: weight of each pixel's squared error, 0 or more, broadcast to an image; None: all alike
    """

    noise: float | None = None
    left_out: float = 0.3
    roi: Float[Tensor, "h w"] | None = None

    def __post_init__(self) -> None:
        LogDet(self.noise)
        if self.left_out != 0:
            check_positive(
                "left_out", self.left_out, "0, or a share of the samples' pixel variance, such as 0.3"
            )
        if self.roi is not None and not (bool((self.roi >= 0).all()) and bool((self.roi > 0).any())):
            raise ValueError(
                "the roi has weights below 0, or none above; expected an image that is 0 where errors do "
                "not matter and above 0 where they do"
            )

    def __call__(self, forecast: Forecast) -> Float[Tensor, " n"]:
        assert forecast.images is not None, "a forecast without images"
        off = (forecast.images - forecast.images.mean(0)).double()
        off = off if self.roi is None else self.roi.to(off).sqrt() * off
        error = off.flatten(1) @ off.flatten(1).T / len(off)
        gram = informed(forecast, self.noise, self.left_out)
        explained = torch.linalg.solve(torch.eye(len(off)).to(gram) + gram, gram)
        return (error * explained.mT).sum((1, 2))
