"""Stopping rules: when they hold, what they ask for, and what they refuse."""

import math

import pytest
import torch

from tomopilot.design.stopping import budget, certain, either
from tomopilot.design.trust import Raised, expected_rmse
from tomopilot.records import Draws, Told


class Scan:
    """An experiment with given samples, which counts how often it is asked for them."""

    raised = None

    def __init__(self, told: int, images: torch.Tensor, surprises=(1.0, 2.0, 0.5)) -> None:
        self.count_told, self.images, self.asked = told, images, 0
        self.told = [Told(0, 0.0, surprise, None) for surprise in surprises]

    def choosing(self) -> Draws:
        self.asked += 1
        return Draws(self.images, self.images.mean(0))


def scan(told: int = 3, k: int = 5) -> Scan:
    return Scan(told, torch.randn(k, 200, 200, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("k", [2, 5, 30])
def test_the_expected_error_is_that_of_the_mean_of_exact_samples(k, rng):
    values = torch.randn(k + 1, 400, 400, generator=rng)
    error = (values[1:].mean(0) - values[0]).square().mean().sqrt().item()
    expected = expected_rmse(values[1:])
    assert expected == pytest.approx(error, rel=0.01) == pytest.approx(math.sqrt(1 + 1 / k), rel=0.01)


def test_one_sample_expects_nothing():
    assert expected_rmse(torch.zeros(1, 4, 4)) is None
    with pytest.raises(ValueError, match="at least 2"):
        certain(1.0)(scan(k=1))


def test_certain_once_the_expected_error_with_its_margin_is_small_enough():
    expected = expected_rmse(scan().images)
    assert certain(1.01 * expected)(scan()) and not certain(0.99 * expected)(scan())
    assert certain(2.01 * expected, margin=2.0)(scan()) and not certain(1.99 * expected, margin=2.0)(scan())


def test_nothing_is_certain_before_the_first_measurement():
    nothing = scan(told=0)
    assert not certain(1e9)(nothing) and nothing.asked == 0


def test_either_asks_the_samples_only_where_the_budget_lasts():
    rule = either(budget(3), certain(1e-9))
    spent, going = scan(told=3), scan(told=2)
    assert rule(spent) and spent.asked == 0
    assert not rule(going) and going.asked == 1


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="the error"):
        certain(wrong)
    with pytest.raises(ValueError, match="the margin"):
        certain(1.0, wrong)
    with pytest.raises(ValueError, match="at least 1"):
        budget(0)


def test_certain_of_what_is_shown():
    """Complex images that differ in phase alone are sure in their magnitude."""
    phases = torch.linspace(0, 3, 4)[:, None, None].expand(4, 8, 8)
    turned = Scan(3, torch.stack([phases.cos(), phases.sin()], 1))
    assert not certain(0.1)(turned)
    assert certain(0.1, picture=lambda images: images.square().sum(1).sqrt())(turned)


@pytest.mark.parametrize(
    ("surprises", "stops"),
    [
        ([], False),
        ([None, None, None, 1.0, 1.0], False),
        ([None, 1.0, 1.0, 1.0], True),
        ([1.0, 1.0, 50.0, 50.0], False),
        ([50.0, 1.0, 3.0, 2.0], True),
    ],
)
def test_samples_are_believed_once_they_have_predicted_rightly(surprises, stops):
    sure = Scan(5, torch.full((3, 8, 8), 0.5), surprises)
    assert certain(0.1)(sure) is stops


def test_nothing_is_certain_after_an_alarm():
    sure = Scan(5, torch.full((3, 8, 8), 0.5))
    assert certain(0.1)(sure)
    sure.raised = Raised(5, "surprise")
    assert not certain(0.1)(sure) and sure.asked == 1
