import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder
from tomopilot.experiment import Experiment
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Draws, Forecast


@pytest.mark.parametrize("block", [(5,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_variance_is_equation_3(block, dtype, rng):
    draws = torch.randn(4, 3, *block, generator=rng, dtype=dtype)
    k, n = draws.shape[:2]
    expected = []
    for design in range(n):
        mean = sum(draws[i, design] for i in range(k)) / k
        expected.append(sum(((draws[i, design] - mean).abs() ** 2).sum() for i in range(k)) / k)
    found = variance(Forecast(draws, draws.mean(0)))
    assert not found.is_complex()
    torch.testing.assert_close(found, torch.stack(expected))


def test_variance_ignores_what_all_draws_share(rng):
    draws, shared = (torch.randn(k, 3, 5, generator=rng, dtype=torch.float64) for k in (4, 1))
    found = variance(Forecast(3 * draws + 100 * shared, shared[0]))
    torch.testing.assert_close(found, 9 * variance(Forecast(draws, shared[0])))


def test_equal_draws_have_no_variance():
    assert bool((variance(Forecast(torch.ones(3, 4, 5), torch.ones(4, 5))) == 0).all())


def log_determinant(forecast: Forecast) -> torch.Tensor:
    """A user's own: information gained, log det(1 + W C) / 2, as the determinant of a k x k matrix."""
    spread = forecast.draws - forecast.draws.mean(0)
    weighted = forecast.noise.precision(forecast.guess).sqrt() * spread
    root = weighted.flatten(2).transpose(0, 1) / (len(spread) - 1) ** 0.5
    return torch.logdet(torch.eye(len(spread)) + root @ root.mT) / 2


@pytest.mark.parametrize("noise", [Gaussian(0.1), Gaussian(2.0), Masked(Gaussian(0.1), (0, 5))], ids=repr)
def test_a_score_of_ones_own_sees_the_noise(noise, rng):
    """Against determinants of whole covariances, in a scan by `Greedy`."""
    radon, images = Radon(8, half_turn(5)), torch.rand(4, 8, 8, generator=rng)

    class Known:
        def sample(self, data, count, *, rng, previous=None):
            return Draws(images, images.mean(0))

    scan = Experiment(radon, noise, Known(), Greedy(log_determinant, InOrder([0])), count=4)
    scan.tell(scan.ask(), torch.zeros(8))
    decision = scan.decide()
    assert decision.scores is not None
    for design in scan.free:
        predicted = radon.forward(images)[:, design].double()
        gain = noise.precision(predicted[0])[:, None] * predicted.T.cov()
        expected = (torch.eye(8, dtype=torch.float64) + gain).logdet() / 2
        torch.testing.assert_close(decision.scores[design].double(), expected, rtol=1e-3, atol=1e-3)
    assert decision.design == decision.scores.nan_to_num(-1).argmax()
