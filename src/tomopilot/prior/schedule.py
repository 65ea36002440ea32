"""Grids of noise levels, from high to low, in the sigma parametrisation: noisy = clean + sigma * noise."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

TIMES = 1000  # T of the paper


def ddpm_sigmas() -> Float[Tensor, " t"]:
    """Noise levels of the T = 1000 DDPM times, ascending, for clean images in [-1, 1].

    Linear beta from 1e-4 to 2e-2 (Ho et al. 2020), sigma^2 = (1 - abar) / abar.
    """
    alphas = (1 - torch.linspace(1e-4, 2e-2, TIMES, dtype=torch.float64)).cumprod(0)
    return ((1 - alphas) / alphas).sqrt()


def ddpm(steps: int = 50, scale: float = 0.5) -> Float[Tensor, " n"]:
    """Every (1000 / steps)-th DDPM noise level, descending (paper, App. C.1).

    `scale` is half the prior's intensity range, in image units: 0.5 for images in [0, 1].
    """
    if not 1 <= steps <= TIMES:
        raise ValueError(f"{steps} sampling steps were asked for; a DDPM schedule takes 1 to {TIMES}")
    times = torch.linspace(TIMES - 1, TIMES // steps - 1, steps).round().long()
    return (scale * ddpm_sigmas()[times]).float()


def logarithmic(high: float, low: float, steps: int) -> Float[Tensor, " n"]:
    """`steps` noise levels from `high` to `low`, evenly spaced in their logarithm, in image units."""
    if steps < 1 or not 0 < low <= high < math.inf:
        raise ValueError(f"{steps} noise levels from {high} to {low}; expected at least 1, falling, above 0")
    return torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64).exp().float()
