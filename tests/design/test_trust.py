"""Surprise and alarm: quiet where the prior holds, prompt where it does not."""

import math

import pytest
import torch

from tomopilot.design.trust import (
    Alarm,
    Raised,
    Strangeness,
    Trust,
    Watch,
    deviations,
    left,
    relative_noise,
    surprise,
    worse,
)
from tomopilot.records import Told

BINS = 200


def surprises(k: int, dtype: torch.dtype, rng: torch.Generator, *, wider: float = 1.0) -> torch.Tensor:
    """Of 500 scans whose truth is one more draw of the samples' own law, only `wider`; noise by bin."""
    spread, std = torch.linspace(0.1, 1.0, BINS), torch.linspace(0.6, 0.2, BINS)

    def once() -> float | None:
        draws = torch.randn(k + 1, BINS, generator=rng, dtype=dtype)
        noise = torch.randn(BINS, generator=rng, dtype=dtype)
        return surprise(3 + spread * draws[1:], 3 + wider * spread * draws[0] + std * noise, std**-2)

    return torch.tensor([once() for _ in range(500)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("k", [2, 3, 10])
def test_surprise_is_about_1_where_the_samples_are_right(k, dtype, rng):
    assert surprises(k, dtype, rng).mean().item() == pytest.approx(1.0, abs=0.04)


def test_surprise_grows_with_what_was_not_expected(rng):
    spread, std = torch.linspace(0.1, 1.0, BINS), torch.linspace(0.6, 0.2, BINS)
    known, extra = (1.1 * spread**2 + std**2).mean(), 3 * spread.square().mean()
    expected = (1 + extra / known).item()
    assert expected > 2
    assert surprises(10, torch.float32, rng, wider=2.0).mean().item() == pytest.approx(expected, rel=0.04)


def test_surprise_of_blocks_and_by_hand():
    predicted = torch.tensor([1.0, 3.0])[:, None, None].expand(2, 2, 3)  # mean 2, variance 2
    assert surprise(predicted, torch.full((2, 3), 5.0), torch.full((2, 3), 0.5)) == pytest.approx(9 / (3 + 2))


def test_one_sample_knows_no_spread():
    assert surprise(torch.zeros(1, BINS), torch.ones(BINS), torch.ones(BINS)) is None
    assert deviations(torch.zeros(1, BINS), torch.ones(BINS), torch.ones(BINS)) is None


ALARM = Alarm(drift=0.25, threshold=2.0)
OUTLIER = math.exp(1.5)


def test_alarm_is_quiet_on_what_was_expected():
    assert ALARM([]) is None
    assert ALARM([1.0] * 1000) is None
    assert ALARM([math.exp(0.2)] * 1000) is None  # less than the drift
    assert ALARM([1.5, 0.5] * 500) is None


@pytest.mark.parametrize("calm", [0, 1, 20])
@pytest.mark.parametrize(("excess", "delay"), [(0.5, 9), (1.0, 3), (2.0, 2), (5.0, 1)])
def test_alarm_rings_after_a_known_delay(excess, delay, calm):
    """Each log surprise brings excess - drift; also after long calm, which earns no credit."""
    series = [0.5] * calm + [math.exp(excess)] * 50
    assert ALARM(series) == calm + delay
    assert ALARM(series[: calm + delay]) == calm + delay
    assert ALARM(series[: calm + delay - 1]) is None
    assert ALARM(series[: calm + delay] + [1.0] * 100) == calm + delay  # once raised, it stays


def test_alarm_recovers_from_one_outlier():
    assert ALARM([OUTLIER, OUTLIER]) == 2
    assert ALARM([OUTLIER] + [1.0] * 5 + [OUTLIER] + [1.0] * 5) is None


def test_alarm_ignores_what_was_not_predicted():
    assert ALARM([None] * 100) is None
    assert ALARM([None, OUTLIER, None, None, None, None, None, OUTLIER]) == 8


def test_a_surprise_that_is_no_number_rings():
    """Rather than to begin the sum anew."""
    alarm = Alarm(0.1, 3.0)
    assert list(alarm.sums([5.0, math.nan, 0.1]))[1:] == [math.inf, math.inf]
    assert alarm([1.0, math.nan, 1.0]) == 2 and alarm.peak([math.nan]) == math.inf


def test_a_perfect_prediction_is_no_error():
    assert ALARM([0.0, 0.0, OUTLIER, OUTLIER]) == 4


def test_strangeness_is_about_1_where_moves_are_like_the_known_ones(rng):
    mixing = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    mean, covariance = torch.arange(6.0, dtype=torch.float64), mixing @ mixing.T
    strange = strangeness(mean.tolist(), covariance.inverse().tolist())
    moves = mean + torch.randn(2000, 6, generator=rng, dtype=torch.float64) @ mixing.T
    found = [strange(one, 3, 0.01) for one in moves.tolist()]
    assert sum(found) / 2000 == pytest.approx(1.0, abs=0.05)


def test_strangeness_by_hand():
    strange = strangeness([1.0, 2.0], [[4.0, 0.0], [0.0, 1.0]])
    assert strange([2.0, 5.0], 1, 0.01) == pytest.approx((4 * 1 + 9) / 2)
    assert strange([1.0, 2.0], 9, 0.01) == 0.0 and strange(None, 9, 0.01) is None
    with pytest.raises(ValueError, match="3 moves, but 2 are known"):
        strange([1.0, 2.0, 3.0], 9, 0.01)


def test_strangeness_knows_that_moves_shrink_and_follow_the_noise():
    strange = Strangeness([3.0], [[-2.0, 0.5]], [[1.0]], (0.01, 0.04), 20)
    expected = 3.0 - 2.0 * math.log(7) + 0.5 * math.log(0.02)
    assert strange([expected], 7, 0.02) == pytest.approx(0.0) and strange([expected], 14, 0.02) > 1
    assert strange([expected + 2.0], 7, 0.02) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("number", "noise", "known"),
    [
        (20, 0.01, True), (21, 0.01, False), (5, None, False), (5, 0.0, False), (5, 0.0067, True),
        (5, 0.0066, False), (5, 0.0599, True), (5, 0.0601, False), (5, math.inf, False),
    ],
)  # fmt: skip
def test_nothing_is_strange_where_nothing_was_fitted(number, noise, known):
    strange = Strangeness([0.0], [[0.0, 0.0]], [[1.0]], (0.01, 0.04), 20)
    assert (strange([2.0], number, noise) == 4.0) == known
    assert (strange([2.0], number, noise) is None) != known


def test_relative_noise_is_that_of_the_values_that_are_used():
    values = torch.tensor([3.0, -4.0, math.nan, 5.0])
    precision = torch.tensor([4.0, 4.0, 0.0, 0.0])
    assert relative_noise(values, precision) == pytest.approx(1 / math.sqrt(4 * (9 + 16) / 2))
    assert relative_noise(values, torch.zeros(4)) is None
    assert relative_noise(torch.zeros(4), torch.ones(4)) is None
    assert relative_noise(torch.tensor([3 + 4j]), torch.tensor(1.0)) == pytest.approx(0.2)


def strangeness(mean, precision):
    """Of moves that depend on nothing."""
    return Strangeness(mean, [[0.0, 0.0]] * len(mean), precision, (0.001, 1.0), 100)


STRANGE = strangeness([0.0], [[1.0]])
LOUD, QUIET = [None, OUTLIER, OUTLIER, 1.0], [None, 1.0, 1.0, 1.0]
FAR, NEAR = [None, None, [9.0], [9.0]], [None, None, [0.5], [0.5]]


def told(surprises, moves):
    """The measurements of a scan."""
    return [Told(0, 0.0, *each, noise=0.01) for each in zip(surprises, moves, strict=True)]


@pytest.mark.parametrize(
    ("surprises", "moves", "raised"),
    [
        (QUIET, NEAR, None),
        (LOUD, NEAR, Raised(3, "surprise")),
        (QUIET, FAR, Raised(3, "strangeness")),
        ([None, 50.0, 1.0, 1.0], FAR, Raised(2, "surprise")),
        ([], [], None),
    ],
)
def test_a_watch_tells_the_first_alarm(surprises, moves, raised):
    assert Watch(ALARM, ALARM, STRANGE)(told(surprises, moves)) == raised


def test_either_alarm_of_a_watch_may_be_missing():
    assert Watch(ALARM)(told(LOUD, FAR)) == Raised(3, "surprise") and Watch(ALARM)(told(QUIET, FAR)) is None
    deaf = Watch(strangeness=ALARM, strange=STRANGE)
    assert deaf(told(LOUD, FAR)) == Raised(3, "strangeness") and deaf(told(LOUD, NEAR)) is None
    assert Watch()(told(LOUD, FAR)) is None


def test_nothing_is_judged_while_a_scan_is_opened():
    scan = told([9.0] * 5, [None] * 5)
    assert Watch(ALARM)(scan).at == 2 and Watch(ALARM, since=2)(scan).at == 4
    assert Watch(strange=STRANGE, since=2).seen(told(LOUD, FAR))[:2] == [None, None]
    card = {"trust": {"alarm": {"scout": {"drift": 0.2, "threshold": 1}}}}
    assert Trust.from_card(card).watch("scout").since == 4


def test_worse_is_the_ratio_of_squared_errors_where_values_are_known():
    values, precision = torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([1.0, 4.0, 0.0])
    by_prior = torch.tensor([[2.0, 2.0, 0.0], [4.0, 2.0, 0.0]])  # on average 2 and 0 off
    alone = torch.tensor([0.0, 1.0, 0.0])  # 1 and 1
    assert worse(by_prior, alone, values, precision) == pytest.approx((4 + 0) / (1 + 4))
    assert worse(by_prior.cfloat(), alone.cfloat(), values.cfloat(), precision) == pytest.approx(4 / 5)
    assert worse(by_prior, alone, values, torch.zeros(3)) is None
    assert worse(by_prior, torch.tensor([1.0, 2.0, 0.0]), values, precision) > 1e9  # exact without the prior


@pytest.mark.parametrize(
    ("ratios", "at"),
    [
        ([None, None, 1.5, 1.5], 4),  # 2.25 together
        ([None, 2.1], 2),
        ([0.5, 1.9, 1.9], None),  # a prior that was better has credit
        ([0.5, 2.1, None, 2.0], 4),
        ([math.nan], 1),  # samples that are no numbers
        ([0.0, 5.0], None),
        ([], None),
    ],
)
def test_a_prior_is_left_once_it_has_predicted_too_badly(ratios, at):
    assert left([Told(0, 0.0, None, None, worse=ratio) for ratio in ratios]) == at
