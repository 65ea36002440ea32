"""Scores of candidate measurements: each maps a forecast to one number per design."""

from jaxtyping import Float
from torch import Tensor

from tomopilot.records import Forecast


def variance(forecast: Forecast) -> Float[Tensor, " n"]:
    """Total posterior variance of each candidate measurement (paper, Eq. 3)."""
    spread = forecast.draws - forecast.draws.mean(0)
    return spread.abs().square().flatten(2).sum(2).mean(0)
