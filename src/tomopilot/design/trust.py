"""How far the samples can be trusted: the error they predict, and predicted against measured projections."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Inexact
from torch import Tensor


def surprise(
    predicted: Inexact[Tensor, "k *block"], values: Inexact[Tensor, "*block"], precision: Tensor
) -> float | None:
    """Squared error of the samples' mean prediction over what their spread and the noise let expect.

    About 1 where the prior holds. Both are averaged over the block first, because the variance of a few
    samples is too uncertain a denominator for any single detector bin. None for a single sample, whose
    spread is unknown.
    """
    k = len(predicted)
    if k < 2:
        return None
    error = (values - predicted.mean(0)).abs().square().mean()
    expected = ((1 + 1 / k) * predicted.var(0) + 1 / precision).mean()
    return (error / expected).item()


def expected_rmse(images: Float[Tensor, "k *image"]) -> float | None:
    """Root mean squared error that the spread of k samples predicts of their mean, in image units.

    sqrt((1 + 1/k) mean variance): truth and samples are alike, and the mean of k wavers too. None for a
    single sample, whose spread is unknown.
    """
    k = len(images)
    return math.sqrt((1 + 1 / k) * images.var(0).mean().item()) if k > 1 else None


@dataclass(frozen=True)
class Alarm:
    """Cumulative sum (Page 1954) of log surprises in excess of `drift`; rings above `threshold`."""

    drift: float
    threshold: float

    def __call__(self, surprises: Sequence[float | None]) -> int | None:
        """The measurement, from 1, at which the alarm was raised, or None."""
        sums = enumerate(self.sums(surprises), 1)
        return next((count for count, total in sums if total > self.threshold), None)

    def sums(self, surprises: Sequence[float | None]) -> Iterator[float]:
        """The cumulative sum after each measurement; one that was not predicted leaves it as it is."""
        total = 0.0
        for value in surprises:
            if value is not None:
                total = max(0.0, total + math.log(max(value, 1e-12)) - self.drift)
            yield total

    def peak(self, surprises: Sequence[float | None]) -> float:
        """The highest sum."""
        return max(self.sums(surprises), default=0.0)
