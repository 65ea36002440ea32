import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import (
    Choice,
    Greedy,
    InOrder,
    bisect_order,
    centre_order,
    centred_bisection,
    equispaced_order,
    random_order,
    uniform_order,
)
from tomopilot.design.stopping import budget
from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Draws, Told

N = 7
OPERATOR = Radon(8, half_turn(N))


@pytest.fixture
def draws(rng):
    images = torch.rand(4, 8, 8, generator=rng)
    return Draws(images, images.mean(0))


def choice(free, draws, taken=1):
    return Choice(OPERATOR, tuple(free), taken, lambda: draws)


def never():
    raise AssertionError("drew samples nobody needs")


@pytest.mark.parametrize("n", [*range(1, 51), 180])
def test_bisect_order_halves_a_widest_gap(n):
    """On the circle of the half turn, to within the one design by which integers cannot be halved."""
    order = bisect_order(n)
    assert sorted(order) == list(range(n))
    for count in range(1, n):
        taken, new = sorted(order[:count]), order[count]
        gaps = {a: b - a for a, b in zip(taken, [*taken[1:], taken[0] + n], strict=True)}
        before = max(a for a in taken if a < new)
        left, right = new - before, gaps[before] - (new - before)
        assert abs(left - right) <= 1
        assert gaps[before] >= max(gaps.values()) - 1


@pytest.mark.parametrize("n", [1, 2, 7, 12, 180])
def test_the_uniform_order_of_half_a_turn_is_bisection(n):
    assert uniform_order(Radon(8, half_turn(n))) == bisect_order(n)


@pytest.mark.parametrize("n", [8, 9, 12, 36, 256, 360, 4096])
def test_the_uniform_order_of_a_turn_sees_all_lines_before_any_again(n):
    order = uniform_order(Radon(8, 2 * half_turn(n)))
    lines = [Fraction(360 * design, n) % 180 for design in order]
    new = len(set(lines))
    assert sorted(order) == list(range(n)) and new == (n // 2 if n % 2 == 0 else n)
    assert len(set(lines[:new])) == new and set(lines[new:]) <= set(lines[:new])
    assert lines[:new] == [Fraction(180 * place, new) for place in bisect_order(new)]


def test_the_uniform_order_of_rows_is_bisection():
    assert uniform_order(Fourier((9, 4))) == bisect_order(9)


def test_random_order_hangs_on_the_seed():
    assert random_order(20, 1) == random_order(20, 1) != random_order(20, 2)
    assert sorted(random_order(20, 1)) == list(range(20))


def test_greedy_takes_the_highest_score_of_the_free_ones(draws):
    scores = torch.tensor([3.0, 9.0, 1.0, 7.0, 5.0, 2.0, 8.0])
    free = (0, 2, 3, 5)
    decision = Greedy(lambda forecast: scores[list(free)], InOrder(range(N))).choose(choice(free, draws))
    assert decision.design == 3
    nan = torch.nan
    expected = torch.tensor([3.0, nan, 1.0, 7.0, nan, 2.0, nan])
    torch.testing.assert_close(decision.scores, expected, equal_nan=True)


def test_greedy_forecasts_the_free_designs(draws):
    seen = []

    def score(forecast):
        seen.append(forecast)
        return variance(forecast)

    Greedy(score, InOrder(range(N))).choose(choice((1, 4), draws))
    projected = OPERATOR.forward(draws.images)[:, [1, 4]]
    torch.testing.assert_close(seen[0].draws, projected)
    torch.testing.assert_close(seen[0].guess, projected.mean(0))


TEN = Radon(8, half_turn(18))  # degrees between them


def moving(score, *told: float, pending=(), move=0.1, draws=None, operator=TEN) -> int:
    """The design chosen by these scores, by design, when the stage has been at some angles (degrees)."""
    measured = tuple(Told(0, math.radians(angle), None, None) for angle in told)
    free = tuple(design for design in range(len(operator)) if design not in pending)
    choice = Choice(operator, free, len(told) + len(pending), lambda: draws, measured, pending=pending)
    scores = torch.tensor([score.get(design, 0.1) for design in free])
    return Greedy(lambda _: scores, InOrder([0]), start=0, move=move).choose(choice).design


def test_a_gain_is_worth_what_it_costs_to_get_there(draws):
    """From 40 degrees, 130 are 90 away: at 0.1 exposures a degree, 10 in all where 50 degrees cost 2."""
    gains = {13: 9.9, 5: 2.0}
    assert moving(gains, 0.0, 40.0, draws=draws) == 5
    assert moving(gains, 0.0, 40.0, draws=draws, move=0.05) == 13  # 5.5 against 1.5
    assert moving({13: 10.1, 5: 2.0}, 0.0, 40.0, draws=draws) == 13
    assert moving(gains, draws=draws) == 13  # nothing was measured, so nothing is near
    assert moving(gains, 40.0, pending=(13, 12), draws=draws) == 5  # it was sent to 120: 8 against 12.4
    assert moving(gains, 40.0, pending=(12,), draws=draws) == 13


def test_a_stage_turns_the_shorter_way(draws):
    """An axis repeats after a whole turn, whatever the projections do."""
    turn = Fan(8, full_turn(36), source=12.0, detector=20.0)
    assert moving({35: 2.0, 2: 2.9}, 0.0, draws=draws, operator=turn) == 35  # 2 / 2 against 2.9 / 3
    found = Choice(turn, (), 1, never, (Told(0, math.radians(355), None, None),)).travel
    torch.testing.assert_close(found[[0, 17, 18, 35]].tolist(), [5.0, 175.0, 175.0, 5.0], rtol=0, atol=1e-3)
    found = Choice(TEN, (), 1, never, (Told(0, 0.0, None, None),)).travel
    assert found[17].item() == pytest.approx(170, abs=1e-3)


def test_scores_are_gains_per_cost(draws):
    told = (Told(0, math.radians(40), None, None),)
    decision = Greedy(lambda _: torch.full((18,), 6.0), InOrder([0]), move=0.1).choose(
        Choice(TEN, tuple(range(18)), 1, lambda: draws, told)
    )
    assert decision.design == 4
    torch.testing.assert_close(decision.scores[:5], 6 / torch.tensor([5.0, 4, 3, 2, 1]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("move", [-0.1, math.inf, math.nan])
def test_a_cost_that_cannot_be_meant(move):
    with pytest.raises(
        ValueError, match=r"move is .*above 0: 0, or what a degree of motion costs in exposures"
    ):
        Greedy(variance, InOrder([0]), move=move)


def test_no_stage_turns_between_rows(draws):
    choice = Choice(Fourier((9, 4)), (0, 1), 1, never, (Told(0, 3.0, None, None),))
    with pytest.raises(ValueError, match="no stage turns from one row to another"):
        _ = choice.travel


@pytest.mark.parametrize("start", [0, 1, 3])
def test_opening_rules_the_first_measurements(start, draws):
    greedy = Greedy(variance, InOrder([6, 5, 4, 3, 2, 1, 0]), start=start)
    for taken in range(start):
        decision = greedy.choose(Choice(OPERATOR, tuple(range(N - taken)), taken, never))
        assert decision.design == N - taken - 1 and decision.scores is None
    assert greedy.choose(choice(range(N), draws, taken=start)).scores is not None


def test_a_fixed_order_draws_nothing():
    assert InOrder([4, 2, 0]).choose(Choice(OPERATOR, (0, 2), 5, never)).design == 2


def test_one_sample_is_too_few(draws):
    one = Draws(draws.images[:1], draws.guess)
    with pytest.raises(ValueError, match=r"variance compares samples.*1 image.*at least 2"):
        Greedy(variance, InOrder(range(N))).choose(choice((0, 1), one))


def test_one_sample_is_too_few_for_a_score_object(draws):
    class Spread:
        def __call__(self, forecast):
            return variance(forecast)

    with pytest.raises(ValueError, match="at least 2"):
        Greedy(Spread(), InOrder(range(N))).choose(choice((0, 1), Draws(draws.images[:1], draws.guess)))


def test_an_order_that_is_used_up_says_so():
    with pytest.raises(ValueError, match="order"):
        InOrder([0, 1]).choose(Choice(OPERATOR, (2, 3), 2, never))


def test_budget():
    class Told:
        count_told = 3

    assert budget(3)(Told()) and budget(2)(Told()) and not budget(4)(Told())
    with pytest.raises(ValueError, match="at least 1"):
        budget(0)


ROWS = [1, 2, 5, 8, 128]


@pytest.mark.parametrize("n", ROWS)
def test_orders_of_rows_begin_at_the_centre_and_miss_none(n):
    orders = [centre_order(n), centred_bisection(n), *(equispaced_order(n, k) for k in (1, n // 2, n, n + 3))]
    for order in orders:
        assert sorted(order) == list(range(n)) and order[0] == n // 2


@pytest.mark.parametrize("n", ROWS)
def test_low_to_high_never_steps_back_towards_the_centre(n):
    distances = [abs(row - n // 2) for row in centre_order(n)]
    assert distances == sorted(distances)
    assert all(distances.count(d) <= 2 for d in distances)


@pytest.mark.parametrize(("n", "count"), [(128, 50), (128, 7), (7, 3), (8, 8), (9, 4)])
def test_equispaced_rows_are_spread_over_kspace_and_taken_from_the_centre(n, count):
    pool = equispaced_order(n, count)[:count]
    distances = [abs(row - n // 2) for row in pool]
    assert distances == sorted(distances)
    gaps = {b - a for a, b in pairwise(sorted(pool))}
    assert max(gaps) - min(gaps) <= 1 and max(gaps) >= n // count
    assert min(pool) < n / count and n - max(pool) <= n / count + 1
