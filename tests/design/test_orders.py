"""Orders by the golden angle, and learned on images."""

import pytest
import torch
from gaussians import known, measured, samples

from tomopilot.design.orders import golden_order, population_order
from tomopilot.design.policy import uniform_order
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.radon import Radon, half_turn


def test_the_golden_order_of_degrees():
    """Multiples of 111.246 degrees, modulo 180: 0, 111.2, 42.5, 153.7, 85.0, 16.2, 127.5."""
    assert golden_order(Radon(8, half_turn(180)))[:7] == [0, 111, 42, 154, 85, 16, 127]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 180])
@pytest.mark.parametrize("turns", [1, 2])
def test_the_golden_order_takes_each_angle_once_and_each_line_before_any_again(n, turns):
    operator = Radon(8, torch.arange(n * turns) * (torch.pi / n))
    order = golden_order(operator)
    assert sorted(order) == list(range(n * turns))
    assert sorted(design % n for design in order[:n]) == list(range(n))


def test_a_population_order_is_that_of_its_gaussian(rng):
    """Greedy by the image variance that is left, of the covariance of the images."""
    operator, a, c = known(angles=12)
    images = samples(c, 30, rng)
    off = images.flatten(1) - images.flatten(1).mean(0)
    left, std = off.T @ off / len(off), 0.1 * operator.forward(images).square().mean().sqrt()
    found, expected = population_order(operator, images, 3, 0.1), []
    widths = [(one @ one.T).sum(1) for one in a]
    for _ in range(3):
        pixel = left.trace() / 256 * 30 / 29
        reduced = [
            left.trace() - (left - _gain(left, one, std, 0.1 * pixel * w)).trace()
            for one, w in zip(a, widths, strict=True)
        ]
        order = torch.stack(reduced).argsort(descending=True).tolist()
        expected.append(next(design for design in order if design not in expected))
        left = measured(left, a[expected[-1]], std)
    assert found == expected


def _gain(c, a, std, more):
    s = (std**2 + more).diag()
    return c @ a.T @ torch.linalg.solve(s + a @ c @ a.T, a @ c)


def test_a_population_order_knows_the_direction_that_images_share(rng):
    operator, a, c = known(angles=18)
    left = {}
    learned = population_order(operator, samples(c, 40, rng), 4, 0.1)
    for name, order in (("learned", learned), ("uniform", uniform_order(operator)[2:])):
        rest = c
        for design in order[:4]:
            rest = measured(rest, a[design], 0.02)
        left[name] = rest.trace().item()
    assert left["learned"] < 0.7 * left["uniform"], left


def test_a_population_of_rows(rng):
    """Images whose rows are alike have all their energy in the row of frequency 0."""
    rows = Fourier((6, 4))
    line = torch.randn(5, 2, 1, 4, generator=rng)
    order = population_order(rows, line.expand(5, 2, 6, 4).contiguous(), 99, 0.1)
    assert order[0] == 3 and sorted(order) == list(range(6))


def test_one_image_is_no_population():
    with pytest.raises(ValueError, match="at least 2"):
        population_order(Radon(8, half_turn(3)), torch.ones(1, 8, 8), 2, 0.1)
    with pytest.raises(ValueError, match="noise is 0"):
        population_order(Radon(8, half_turn(3)), torch.rand(3, 8, 8), 2, 0.0)
