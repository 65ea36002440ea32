"""Scores of samples: exact samples score what they should for every number of them, and wrong ones do not."""

import math

import pytest
import torch
from torch.testing import assert_close

from tomopilot.bench.calibration import (
    Calibration,
    coverage,
    coverage_floor,
    fair_crps,
    rank_histogram,
    scores,
    spread_and_error,
    spread_over_error,
)
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan

COUNTS, LEVELS, PIXELS = (2, 4, 10, 25), (0.5, 0.8, 0.9), 200_000


def exchangeable(kind: str, k: int, rng: torch.Generator):
    """Samples and a truth from the same distribution, of another mean and width in each pixel."""
    noise = torch.randn(k + 1, PIXELS, generator=rng)
    if kind == "skewed":
        noise = noise.exp()
    if kind == "tied":  # a third of all values are exactly 0, as in the air around a sample
        noise = (noise - 0.43).clamp(min=0)
    values = noise * torch.rand(PIXELS, generator=rng) + (0 if kind == "tied" else torch.arange(PIXELS) % 7)
    return values[1:], values[0]


@pytest.mark.parametrize("kind", ["normal", "skewed", "tied"])
@pytest.mark.parametrize("k", COUNTS)
def test_exact_samples_reach_the_nominal_coverage(k, kind, rng):
    ranks = rank_histogram(*exchangeable(kind, k, rng))
    assert_close(ranks, torch.full((k + 1,), 1 / (k + 1)), atol=0.004, rtol=0)
    assert_close([coverage(ranks, level) for level in LEVELS], [*LEVELS], atol=0.004, rtol=0)


def test_coverage_is_that_of_order_statistics_where_they_fit(rng):
    """Of nine samples, the second and the eighth enclose 6 / 10; the outermost two 8 / 10."""
    samples, truth = torch.randn(9, 999, generator=rng), 2 * torch.randn(999, generator=rng)
    ranks, ordered = rank_histogram(samples, truth), samples.sort(0).values
    for cut, level in ((0, 0.8), (1, 0.6), (2, 0.4)):
        inside = (ordered[cut] < truth) & (truth < ordered[8 - cut])
        assert coverage(ranks, level) == pytest.approx(inside.double().mean().item(), abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("k", COUNTS)
def test_coverage_floor_is_what_samples_beside_the_truth_get(k, level, rng):
    ranks = rank_histogram(torch.rand(k, 50, generator=rng), torch.full((50,), 2.0))
    assert coverage(ranks, level) == pytest.approx(coverage_floor(k, level), abs=1e-6)


def test_coverage_of_too_narrow_samples_falls_and_of_too_wide_ones_rises(rng):
    samples, truth = exchangeable("normal", 25, rng)
    middle = samples.mean(0)
    found = [coverage(rank_histogram(middle + width * (samples - middle), truth), 0.8) for width in (0.5, 2)]
    assert found[0] < 0.6 and found[1] > 0.95


def test_all_ranks_are_possible_where_all_are_equal():
    assert_close(rank_histogram(torch.zeros(3, 2, 2), torch.zeros(2, 2)), torch.full((4,), 0.25))


def test_fair_crps_equals_its_definition(rng):
    samples, truth = torch.randn(6, 5, 4, generator=rng), torch.randn(5, 4, generator=rng)
    error = (samples - truth).abs().mean(0)
    between = (samples[:, None] - samples).abs().sum((0, 1)) / (2 * 6 * 5)
    assert fair_crps(samples, truth) == pytest.approx((error - between).mean().item(), rel=1e-5)


@pytest.mark.parametrize("k", COUNTS)
def test_fair_crps_does_not_hang_on_the_number_of_samples(k, rng):
    """Its expectation for exact normal samples is 1 / sqrt(pi)."""
    samples, truth = torch.randn(k, PIXELS, generator=rng), torch.randn(PIXELS, generator=rng)
    assert fair_crps(samples, truth) == pytest.approx(1 / math.sqrt(math.pi), abs=0.006)


@pytest.mark.parametrize("k", COUNTS)
def test_spread_equals_error_for_exact_samples(k, rng):
    pair = spread_and_error(*exchangeable("normal", k, rng))
    assert spread_over_error([pair]) == pytest.approx(1, abs=0.02)


def test_spread_over_error_pools_sums():
    assert spread_over_error([(1.0, 4.0), (8.0, 5.0)]) == 1.0
    assert spread_over_error([(1.0, 0.0)]) is None


def test_scores_tell_the_mean_from_the_samples():
    samples, truth = torch.tensor([[0.0], [2.0]]), torch.tensor([4.0])
    found = scores(samples, truth)
    assert found["pair"] == pytest.approx((3.0, 9.0)) and found["spread_over_error"] == pytest.approx(
        math.sqrt(1 / 3)
    )
    assert found["ranks"] == [0, 0, 1] and found["crps"] == pytest.approx(3 - 1)


@pytest.mark.parametrize(("name", "count", "said"), [("tv", 4, "tv gives one image"), ("prox", 1, "--count")])
def test_a_plan_without_samples_is_refused(name, count, said):
    method = Method(name, "uniform", None if name == "tv" else "chip-128")
    with pytest.raises(ValueError, match=said):
        Calibration(Plan(("phantom:chip::0",), (method,), count=count))
