"""Every denoiser: a newcomer adds one line."""

import pytest
import torch

from tomopilot.nets.folded import FoldedUNet
from tomopilot.posterior.fitting import Fitting
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.denoiser import Denoiser, Metered, Preconditioned, Scaled, Stationary
from tomopilot.records import Data
from tomopilot.testing import check_denoiser, smooth_prior


def network() -> FoldedUNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FoldedUNet(fold=2, widths=[8, 8], layers=1, groups=4).requires_grad_(False).eval()


SIZE = 8
PRIOR = smooth_prior((SIZE, SIZE))
POWER = torch.linspace(0.1, 2.0, SIZE**2).reshape(SIZE, SIZE)
DENOISERS: list[Denoiser] = [
    PRIOR,
    Stationary(torch.full((1, 1), 0.4), POWER),
    Preconditioned(network()),
    Preconditioned(network(), "epsilon"),
    Scaled(PRIOR, -2.0, 2.0),
    Metered(PRIOR),
    Fitting(PRIOR),
    Prox()(PRIOR, Data((SIZE, SIZE))),
]


@pytest.mark.parametrize("denoise", DENOISERS, ids=lambda denoise: type(denoise).__name__)
def test_laws(denoise, rng):
    check_denoiser(denoise, PRIOR.mean.expand(4, SIZE, SIZE), rng=rng)
