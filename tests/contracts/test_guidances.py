"""Every guidance, in the posterior it is usually drawn by: a newcomer adds one line."""

import pytest
import torch

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.posterior import Guidance
from tomopilot.testing import Twin, check_guidance, twin

PROJECTIONS = twin(Radon(16, half_turn(6)), Gaussian(0.1), rng=torch.Generator().manual_seed(1))
ROWS = twin(Fourier((8, 6), torch.tensor([4, 3, 5])), Gaussian(0.2), rng=torch.Generator().manual_seed(1))
GUIDANCES: list[tuple[Guidance, Twin]] = [
    (Soft(steps=10), PROJECTIONS),
    (Soft(steps=10, batch=2), PROJECTIONS),
    (Prox(), PROJECTIONS),
    (Prox(), ROWS),
    (Moments(below=1.0), PROJECTIONS),
    (Hard(Soft(steps=10)), PROJECTIONS),
    (DPS(0.2), PROJECTIONS),
    (Inpaint(), ROWS),
]


@pytest.mark.parametrize(("guidance", "known"), GUIDANCES, ids=lambda one: type(one).__name__)
def test_laws(guidance, known):
    check_guidance(guidance, known)
