"""Several designs by the same samples: against the exact Gaussian, and what it is worth."""

import math

import pytest
import torch
from gaussians import covariance, forecast, known, matrix, measured, samples

from tomopilot.design.acquisition import variance
from tomopilot.design.ensemble import check_positive, conditioned
from tomopilot.design.policy import Choice, Greedy, InOrder
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Draws

RADON, ROWS = Radon(8, half_turn(5)), Fourier((6, 4))


@pytest.mark.parametrize("operator", [RADON, ROWS], ids=repr)
@pytest.mark.parametrize("designs", [[2], [0, 3], [3, 0, 1]], ids=str)
def test_what_is_left_is_the_covariance_of_a_measured_gaussian(operator, designs, rng):
    seen = forecast(operator, rng, Gaussian(0.5), k=6)
    left = conditioned(seen, designs)
    c, a = covariance(seen.images), matrix(operator)
    for design in designs:
        c = measured(c, a[design], 0.5 / (2**0.5 if operator is ROWS else 1))
    torch.testing.assert_close(covariance(left.images), c, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(left.draws, operator.forward(left.images), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(left.images.mean(0), seen.images.mean(0))
    assert conditioned(seen, []) is seen


def left_by(designs, a, c, noise):
    for design in designs:
        c = measured(c, a[design], noise)
    return c.trace().item()


def test_four_by_the_same_samples_are_nearly_as_good_as_four_one_by_one(rng):
    """Image variance left, in dB, over that by fresh samples each time; the top four are neighbours."""
    operator, a, c = known(angles=72)
    taken, noise, totals = [0, 36], 0.02, {"single": 0.0, "batch": 0.0, "top": 0.0}
    free = [design for design in range(72) if design not in taken]
    for _ in range(6):
        draws = Draws(images := samples(c, 10, rng), images.mean(0))
        greedy = Greedy(variance, InOrder(range(72)), start=2, batch=4)
        batch, single, now = [], [], c
        for number in range(4):
            rest = tuple(design for design in free if design not in batch)
            asked = Choice(
                operator, rest, 2 + number, lambda d=draws: d, noise=Gaussian(noise), pending=tuple(batch)
            )
            batch.append(greedy.choose(asked).design)
            fresh = Draws(images := samples(now, 10, rng), images.mean(0))
            rest = tuple(design for design in free if design not in single)
            one = Choice(operator, rest, 2 + number, lambda d=fresh: d, noise=Gaussian(noise))
            single.append(Greedy(variance, InOrder(range(72))).choose(one).design)
            now = measured(now, a[single[-1]], noise)
        asked = Choice(operator, tuple(free), 2, lambda d=draws: d, noise=Gaussian(noise))
        top = greedy.choose(asked).scores.nan_to_num(-1).topk(4).indices.tolist()
        for name, designs in (("single", single), ("batch", batch), ("top", top)):
            totals[name] += left_by(designs, a, c, noise)
    worse = {name: 10 * math.log10(total / totals["single"]) for name, total in totals.items()}
    assert worse["batch"] < 1 and worse["top"] > worse["batch"] + 2, worse


@pytest.mark.parametrize("batch", [0, -1, 33, True], ids=repr)
def test_a_batch_that_cannot_be_meant(batch):
    with pytest.raises(ValueError, match=r"batch is .*expected how many designs.*1 to 32"):
        Greedy(variance, InOrder([0]), batch=batch)


@pytest.mark.parametrize("value", ["x", None, True, 0, -0.1, math.nan, math.inf, [1.0]], ids=repr)
def test_an_option_that_is_no_number_above_0(value):
    """Whatever a command line may say."""
    with pytest.raises(ValueError, match=r"noise is .*; expected a number above 0: a share"):
        check_positive("noise", value, "a share")
