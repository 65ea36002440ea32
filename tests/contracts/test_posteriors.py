"""Every posterior: a newcomer adds one line."""

from dataclasses import replace

import pytest
import torch

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.lowres import LowRes
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation, ZeroFilled
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.ensemble import Bootstrap, Swag
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.inflated import Inflated
from tomopilot.posterior.laplace import Laplace
from tomopilot.posterior.posterior import Posterior
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.records import Data
from tomopilot.testing import check_posterior, smooth_prior, twin

SIZE, SHAPE = 16, (8, 6)
PRIOR, COMPLEX, FEW = smooth_prior((SIZE, SIZE)), smooth_prior((2, *SHAPE)), logarithmic(2.5, 0.02, 10)
ONE, FIVE, ROWS = Radon(SIZE, half_turn(1)), Radon(SIZE, half_turn(5)), Fourier(SHAPE, torch.tensor([4, 3]))
OF_PROJECTIONS = [
    DiffusionPosterior(PRIOR, Soft(steps=5), ddpm(10)),
    DiffusionPosterior(PRIOR, Soft(steps=5, batch=2), ddpm(10), eta=0.3),
    DiffusionPosterior(PRIOR, Prox(), FEW),
    DiffusionPosterior(PRIOR, Moments(), FEW, weigh=(0.1,)),
    DiffusionPosterior(PRIOR, Hard(Soft(steps=5)), ddpm(10)),
    DiffusionPosterior(PRIOR, DPS(0.2), ddpm(10), eta=0.27),
    Inflated(DiffusionPosterior(PRIOR, Prox(), FEW), {1: 2.0}),
    FilteredBackProjection(),
    TotalVariation(0.1, steps=20),
    Bootstrap(steps=10),
    Bootstrap(steps=3, network=True, width=2),
    Swag(steps=10, every=2),
    Swag(steps=3, every=1, network=True, width=2),
    Laplace(steps=5, width=2, climbs=1, solves=5, rank=5),
]
POSTERIORS: list[tuple[Posterior, Operator]] = [
    *((posterior, operator) for posterior in OF_PROJECTIONS for operator in (ONE, FIVE)),
    (DiffusionPosterior(COMPLEX, Inpaint(), FEW), ROWS),
    (DiffusionPosterior(COMPLEX, Prox(), FEW), ROWS),
    (ZeroFilled(), ROWS),
    (Bootstrap(steps=10), ROWS),
    (Bootstrap(steps=3, network=True, width=2), ROWS),
    (Swag(steps=10, every=2), ROWS),
    (Slicewise(DiffusionPosterior(PRIOR, Prox(), FEW)), Stack(FIVE, 2)),
    (Slicewise(Inflated(DiffusionPosterior(PRIOR, Prox(), FEW), {1: 2.0}), (7, 3)), Stack(FIVE, 2)),
    (Slicewise(TotalVariation(0.1, steps=20)), Stack(ONE, 3)),
    (Slicewise(Bootstrap(steps=3, network=True, width=2)), Stack(FIVE, 2)),
]


def fitted(posterior: Posterior) -> Posterior:
    """The same, long enough at it where a network is fitted."""
    if isinstance(posterior, Laplace):
        return replace(posterior, steps=60, width=4, rank=30, solves=30)
    if isinstance(posterior, Bootstrap | Swag) and posterior.network:
        return replace(posterior, steps=60, width=8)
    return posterior


@pytest.mark.parametrize("posterior", OF_PROJECTIONS, ids=lambda part: type(part).__name__)
def test_a_prescan_is_one_more_observation(posterior, rng):
    """It keeps the laws, and brings the estimate nearer to the truth, also without a projection."""
    truth = twin(FIVE, Gaussian(0.1), rng=rng).truth
    low, noise = LowRes(SIZE, 8), Gaussian(0.01)
    few = Data(truth.shape)
    for design in (0, 2):
        few = few.add(FIVE, design, FIVE.forward(truth[None])[0, design], Gaussian(0.1))
    known = Data(truth.shape).add(low, 0, low.forward(truth[None])[0, 0], noise)
    both = replace(few, observations=few.observations + known.observations)

    def error(data: Data) -> float:
        draws = fitted(posterior).sample(data, 2, rng=torch.Generator().manual_seed(1))
        return (draws.guess - truth).square().mean().item()

    check_posterior(posterior, both)
    check_posterior(posterior, known)
    assert error(both) < 0.7 * error(few)


@pytest.mark.parametrize(("posterior", "operator"), POSTERIORS, ids=lambda part: type(part).__name__)
def test_laws(posterior, operator, rng):
    check_posterior(posterior, twin(operator, Gaussian(0.1), rng=rng).data)
