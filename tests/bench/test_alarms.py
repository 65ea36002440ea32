import math
from dataclasses import replace

import pytest
import torch

from tomopilot.bench.alarms import fit, fit_all, fit_strangeness, rung_by_others
from tomopilot.design.trust import Alarm, Trust
from tomopilot.records import Told

SCANS = [[None, 1.0, 2.0, 0.5, 3.0, 3.0], [None, None, 0.7, 1.5, 1.0, 0.4]]


def told(surprises, moves):
    """The measurements of a scan."""
    return [Told(0, 0.0, *each, noise=0.01) for each in zip(surprises, moves, strict=True)]


def test_a_fitted_alarm_is_just_quiet_on_its_own_scans():
    alarm = fit(SCANS, above=0.5)
    assert [alarm(surprises) for surprises in SCANS] == [None, None]
    lower = Alarm(alarm.drift, 0.99 * alarm.threshold)
    assert alarm.threshold > 0 and [lower(surprises) for surprises in SCANS] != [None, None]


def test_a_fitted_alarm_rings_on_lasting_surprise():
    assert fit(SCANS)([None, 30.0, 30.0, 30.0]) == 2


def test_too_little_to_fit():
    with pytest.raises(ValueError, match="scan longer"):
        fit([[None, 1.0]])


def test_one_odd_scan_among_many_does_not_make_it_deaf():
    quiet, odd = [[None, 1.0, 2.0, 0.5, 1.5]] * 19, [[None, 50.0, 50.0, 50.0, 50.0]]
    alarm = fit([*quiet, *odd])
    assert [alarm(surprises) for surprises in quiet] == [None] * 19 and alarm(odd[0]) is not None


def test_a_fit_to_few_scans_leaves_room_for_the_next():
    scans = [told(surprises, 6 * [None]) for surprises in SCANS]
    assert fit(SCANS).threshold < 2 == fit_all(scans)["alarm"]["threshold"]


def test_each_scan_is_judged_by_a_fit_to_the_others():
    """The fit to all of them leaves the odd one quiet, or nearly; the others' does not know it."""
    usual, odd = (
        told(5 * [None] + 10 * [1.0, 2.0, 0.5], 35 * [None]),
        told(5 * [None] + 30 * [9.0], 35 * [None]),
    )
    scans = [usual, odd, usual]
    watch = watch_of({kind: {"scout": values} for kind, values in fit_all(scans).items()})
    assert [watch(one) for one in scans] == [None] * 3
    assert rung_by_others(scans) == [None, (7, "surprise"), None]
    assert rung_by_others([usual]) == [None]


def watch_of(trust):
    """What a card with this `trust` has watch over a scan that `scout` chooses for, from the first on."""
    watch = Trust.from_card({"trust": trust}).watch("scout")
    return watch and replace(watch, since=0)


@pytest.fixture
def moves(rng):
    """Of 20 scans, of which the first four measurements were not chosen by samples taken up again."""
    known = torch.randn(20, 16, 3, generator=rng) * torch.tensor([0.1, 1.0, 0.5]) + 3
    return [[*4 * [None], *scan] for scan in known.tolist()]


def test_both_alarms_are_fitted_at_once_and_ring_on_what_each_hears(moves):
    surprises = [[None, *torch.rand(19).tolist()] for _ in moves]
    fitted = fit_all([told(*scan) for scan in zip(surprises, moves, strict=True)])
    watch = watch_of({kind: {"scout": values} for kind, values in fitted.items()})
    raised = [watch(told(*scan)) for scan in zip(surprises, moves, strict=True)]
    assert raised.count(None) >= 19
    calm, odd = [None, *19 * [0.5]], [*4 * [None], *16 * [[4.0, 3.0, 3.0]]]  # 10 deviations off in one number
    assert watch(told(calm, odd)) == (5, "strangeness")
    assert watch(told([*4 * [None], *16 * [1e6]], moves[0])).by == "surprise"


def test_scans_like_those_it_was_fitted_to_are_left_quiet(rng):
    """Of images that each keep an oddness of their own through a scan: 300 new ones, after a fit to 40."""

    def scan():
        own, passing = torch.randn(9, generator=rng), torch.randn(16, 9, generator=rng)
        return told(16 * [None], (own + 0.7 * passing).tolist())

    strange = fit_all([scan() for _ in range(40)])["strangeness"]
    watch = watch_of({"strangeness": {"scout": strange}})
    assert sum(watch(scan()) is not None for _ in range(300)) <= 9


def fitted_on(moves):
    return fit_strangeness([told([None] * len(scan), scan) for scan in moves])


def test_strangeness_needs_many_draws_and_no_spread_in_every_number(moves):
    assert fitted_on([[None, [1.0, 2.0, 3.0]]]) is None and fitted_on([[None]]) is None
    assert "strangeness" not in fit_all([told([None, 1.0, 2.0], [None, None, [1.0, 2.0]])])
    held = [[move and [7.0, *move[1:]] for move in scan] for scan in moves]
    assert math.isfinite(fitted_on(held)([7.0, 3.0, 3.0], 9, 0.01))


def test_what_counts_and_noise_do_to_moves_is_found(rng):
    """Of moves made by a law, the law; of one noise only, that of the count."""
    slopes, mean = torch.tensor([[-0.5, 0.8], [0.1, 0.0], [0.3, -0.2]]), torch.tensor([1.0, -2.0, 0.5])

    def scan(noise):
        logs = torch.tensor([[math.log(n), math.log(noise)] for n in range(1, 21)])
        moves = mean + logs @ slopes.T + 0.01 * torch.randn(20, 3, generator=rng)
        return [Told(0, 0.0, None, move, noise) for move in moves.tolist()]

    found = fit_strangeness([scan(noise) for noise in 10 * [0.003, 0.01, 0.03]])
    torch.testing.assert_close(torch.tensor(found.slopes), slopes, rtol=0, atol=0.01)
    torch.testing.assert_close(torch.tensor(found.mean), mean, rtol=0, atol=0.03)
    assert found.noise == (0.003, 0.03) and found.until == 20
    assert [found(one.moves, n, one.noise) < 5 for n, one in enumerate(scan(0.02), 1)] == [True] * 20
    one = fit_strangeness([scan(noise) for noise in 10 * [0.0099, 0.01, 0.0101]])
    torch.testing.assert_close(torch.tensor(one.slopes)[:, 0], slopes[:, 0], rtol=0, atol=0.02)
    assert [slope for _, slope in one.slopes] == [0.0] * 3


STRANGE = {
    "mean": [0.0], "slopes": [[0.0, 0.0]], "precision": [[1.0]], "drift": 3.0, "threshold": 4.0,
    "noise": [0.01, 0.01], "until": 2,
}  # fmt: skip


def test_a_card_may_hold_either_alarm_or_none():
    surprise = {"drift": 1.0, "threshold": 2.0}
    assert watch_of({}) is None
    assert watch_of({"strangeness": {"soft": STRANGE}}) is None
    old = watch_of({"alarm": {"scout": surprise}})
    assert old.surprise == Alarm(1.0, 2.0) and old.strangeness is old.strange is None
    assert old.seen(told([None, None], [None, [5.0]])) == [None, None]
    new = watch_of({"strangeness": {"scout": STRANGE}})
    assert (
        new.surprise is None
        and new.strangeness == Alarm(3.0, 4.0)
        and new.seen(told([None], [[2.0]])) == [4.0]
    )


def test_strangeness_is_heard_under_its_own_noise_and_as_long_as_it_was_fitted():
    trust = {"alarm": {"scout": {"drift": 1.0, "threshold": 2.0}}, "strangeness": {"scout": STRANGE}}
    watch = watch_of(trust)
    assert watch.seen(told(4 * [None], 4 * [[2.0]])) == [4.0, 4.0, None, None]
    assert watch.seen([Told(0, 0.0, None, [2.0], 0.1)]) == [None]
    assert watch(told(4 * [None], [None, None, [1e9], [1e9]])) is None
    assert watch(told(4 * [None], [None, [1e9], None, None])) == (2, "strangeness")


def test_a_card_of_an_earlier_form_is_rejected_with_what_to_do():
    old = {"mean": [0.0], "precision": [[1.0]], "drift": 3.0, "threshold": 4.0, "noise": "none", "until": 2}
    with pytest.raises(ValueError, match=r"fit it again with `tomopilot bench"):
        watch_of({"strangeness": {"scout": old}})
