"""Honest spread: deviations from the mean, times a factor that validation scans have shown to be right."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from tomopilot.posterior.posterior import Posterior
from tomopilot.records import Data, Draws


@dataclass(frozen=True)
class Inflated:
    """Another posterior's samples, their deviations from the mean times a factor.

    `factors` by number of measurements, linear in the logarithm of the number in between, constant outside.
    The estimate stays, and what the posterior wants back next time is its own.
    """

    posterior: Posterior
    factors: Mapping[int, float]

    def factor(self, measurements: int) -> float:
        """How much wider the samples are spread after so many measurements."""
        counts = sorted(self.factors)
        values = [self.factors[count] for count in counts]
        return float(np.interp(np.log(max(measurements, 1)), np.log(counts), values))

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        draws = self.posterior.sample(data, count, rng=rng, previous=previous)
        mean = draws.images.mean(0)
        return replace(draws, images=mean + self.factor(len(data)) * (draws.images - mean))
