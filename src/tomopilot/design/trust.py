"""Whether the scan still behaves as the prior expects: predicted against measured projections."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Inexact
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


@dataclass(frozen=True)
class Alarm:
    """Cumulative sum (Page 1954) of log surprises in excess of `drift`; rings above `threshold`."""

    drift: float
    threshold: float

    def __call__(self, surprises: Sequence[float | None]) -> int | None:
        """The measurement, from 1, at which the alarm was raised, or None."""
        total = 0.0
        for count, value in enumerate(surprises, 1):
            if value is not None:
                total = max(0.0, total + math.log(max(value, 1e-12)) - self.drift)
                if total > self.threshold:
                    return count
        return None
