"""How far warm samples move: by hand, for every guidance, and of whole draws alone."""

import math

import pytest
import torch

from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.inflated import Inflated
from tomopilot.posterior.moves import SHORTEST, Moves
from tomopilot.prior.denoiser import GaussianPrior, Metered
from tomopilot.prior.schedule import logarithmic

SIZE = 8
PRIOR = GaussianPrior(torch.full((SIZE, SIZE), 0.5), 0.04 * torch.eye(SIZE**2))
LEVELS, WARM = logarithmic(2.5, 0.1, 4), logarithmic(0.3, 0.1, 2)


def cold_and_warm(prior, data, guidance=None, count=3):
    rng = torch.Generator().manual_seed(0)
    posterior = DiffusionPosterior(prior, guidance or Prox(), LEVELS, warm=WARM)
    cold = posterior.sample(data, count, rng=rng)
    return cold, posterior.sample(data, count, rng=rng, previous=cold)


@pytest.mark.parametrize("count", [1, 3])
def test_moves_by_hand(count):
    """The prior moves every pixel by 3, the data by -1 more, and the next step starts from there."""
    images = torch.rand(count, SIZE, SIZE)
    moves = Moves(images)
    step = moves.noted(lambda x, sigma: x + 3, lambda denoise: lambda x, sigma: denoise(x, sigma) - 1)
    for _ in range(2):
        images = step(images, torch.ones(count))
    expected = 2 * [math.log(3), 0.0, math.log(2)]
    torch.testing.assert_close(moves.lengths(), torch.tensor(expected), rtol=0, atol=1e-5)


def test_no_move_has_a_logarithm_too():
    moves = Moves(torch.zeros(2, SIZE, SIZE))
    moves.noted(lambda x, sigma: x, lambda denoise: denoise)(torch.zeros(2, SIZE, SIZE), torch.ones(2))
    torch.testing.assert_close(moves.lengths(), torch.full((3,), math.log(SHORTEST)))


@pytest.mark.parametrize("guidance", [Prox(), Soft(steps=5), Hard(most=5), DPS()], ids=repr)
def test_warm_draws_alone_tell_their_moves(guidance, three_projections):
    cold, warm = cold_and_warm(PRIOR, three_projections, guidance)
    assert cold.moves is None
    assert warm.moves.shape == (3 * len(WARM),) and warm.moves.isfinite().all()
    assert not warm.moves.requires_grad


def test_moves_cost_no_evaluation(three_projections):
    meter = Metered(PRIOR)
    cold_and_warm(meter, three_projections)
    assert meter.evaluations == 3 * (len(LEVELS) + len(WARM))


def test_moves_are_those_of_the_samples_before_any_inflation(three_projections):
    _, warm = cold_and_warm(PRIOR, three_projections)
    inner = DiffusionPosterior(PRIOR, Prox(), LEVELS, warm=WARM)
    rng = torch.Generator().manual_seed(0)
    inflated = Inflated(inner, {1: 2.0})
    first = inflated.sample(three_projections, 3, rng=rng)
    assert torch.equal(inflated.sample(three_projections, 3, rng=rng, previous=first).moves, warm.moves)


@pytest.mark.parametrize("most", [1, 2])
def test_nothing_is_told_of_draws_in_smaller_batches(most, three_projections):
    def small(x, sigma):
        if len(x) > most:
            raise MemoryError
        return PRIOR(x, sigma)

    assert cold_and_warm(small, three_projections)[1].moves is None
