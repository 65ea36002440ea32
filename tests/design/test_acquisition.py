import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.records import Forecast


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
