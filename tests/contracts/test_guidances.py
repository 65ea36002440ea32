"""Every guidance, in a posterior that is known exactly: a newcomer adds one line."""

import pytest
import torch

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.posterior import Guidance
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.testing import Twin, check_guidance, check_mean, twin

PROJECTIONS = twin(Radon(16, half_turn(6)), Gaussian(0.1), rng=torch.Generator().manual_seed(1))
ROWS = twin(Fourier((8, 6), torch.tensor([4, 3, 5])), Gaussian(0.2), rng=torch.Generator().manual_seed(1))
LEVELS = logarithmic(2.5, 0.02, 50)


def drawn(guidance: Guidance, levels=LEVELS, eta: float = 1.0, known: Twin = PROJECTIONS):
    return DiffusionPosterior(known.prior, guidance, levels, eta=eta), known


GUIDANCES: list[tuple[DiffusionPosterior, Twin, float]] = [  # and how far off the mean may be
    (*drawn(Soft(), ddpm(50)), 0.5),
    (*drawn(Soft(batch=2), ddpm(50), eta=0.0), 0.8),
    (*drawn(Prox()), 0.3),
    (*drawn(Prox(), known=ROWS), 0.3),
    (*drawn(Moments(below=1e9)), 0.3),
    (*drawn(Moments(below=0.3)), 0.3),
    (*drawn(Hard(), ddpm(50)), 0.8),
    (*drawn(DPS(0.2), ddpm(250), eta=0.27), 0.6),
    (*drawn(Inpaint(), known=ROWS), 0.3),
]
every = pytest.mark.parametrize(
    ("posterior", "known", "within"), GUIDANCES, ids=[repr(case[0].guidance) for case in GUIDANCES]
)


@every
def test_laws(posterior, known, within):
    check_guidance(posterior.guidance, known)


@every
def test_mean(posterior, known, within):
    check_mean(posterior, known, within=within)
