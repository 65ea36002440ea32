"""Several angles at once: one decision, the same as that of the core, however it is asked for."""

from dataclasses import replace

import pytest
from live.conftest import drive, expose, open_beam

from tomopilot.files.logbook import Wish
from tomopilot.live.held import Refused
from tomopilot.live.live import hold


@pytest.mark.parametrize("policy", ["variance", "variance(batch=3)"])
def test_a_sweep_is_the_batch_that_the_core_chooses(tmp_path, setup, policy):
    """Greedy in the space of the samples: they are drawn once, and those asked for are taken into account."""
    with hold(tmp_path, replace(setup, policy=policy)) as live:
        open_beam(live)
        drive(live, setup.start)
        found = live.sweep(3)
        samples = live.held.experiment.snapshot
        blocks = live.held.book.blocks("live")
        used = list(live.held.ledger.used)
    parts, scouts = replace(setup, policy=policy).settled().assembled()
    experiment, noise = parts.experiment, live.held.experiment.data.observations[0].noise
    for block in blocks:
        experiment.ask()
        experiment.tell(block.design, scouts.rows(block.values), noise, block.setting)
    assert [one.design for one in found] == [experiment.ask() for _ in range(3)]
    assert used == [setup.start] and samples.told == setup.start
    gains = [[gain for gain in one.gain if gain is not None] for one in found]
    assert [len(gain) for gain in gains] == [22, 21, 20] and gains[0] != gains[1]


def test_a_sweep_is_answered_again_by_its_key(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        first = live.sweep(2, "a")
        assert live.sweep(2, "a") == first and live.suggest("a") == first[0]
        assert live.suggest("b") not in first
    with hold(tmp_path) as live:
        assert live.sweep(3, "a")[:2] == first  # as asked for before, and one more
        assert [one["id"] for one in live.state()["outstanding"]] == [1, 2, 3, 4]


def test_a_sweep_ends_where_the_scan_does(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        drive(live, 6)
        rest = live.sweep(5)
        assert len(rest) == 2
        with pytest.raises(Refused, match="2 suggestions are outstanding"):
            live.sweep(5)
        for one in rest:
            expose(live, one)
        assert live.state()["mode"] == "finished"
        with pytest.raises(ValueError, match="sweep of 0 angles"):
            live.sweep(0)


def test_forced_angles_are_shown_while_they_wait(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        one = live.suggest()
        for number, angle in enumerate((33, 90, 120)):
            assert live.wish(Wish(str(number), "force", {"angle": angle}))["granted"]
        assert live.state()["forced"] == [30.0, 90.0, 120.0]
        expose(live, one)
        assert live.suggest().angle == 30.0 and live.state()["forced"] == [90.0, 120.0]
    with hold(tmp_path) as live:
        assert live.state()["forced"] == [90.0, 120.0]
        assert [one.by for one in live.sweep(3)] == ["operator", "operator", "variance"]
        assert live.state()["forced"] == []


def test_an_angle_that_failed_and_is_forced_is_measured_once(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        one = live.suggest()
        live.fail(one.id, "the motor stalled")
        assert live.wish(Wish("f", "force", {"angle": one.angle}))["granted"]
        again = live.suggest()
        assert (again.design, again.by) == (one.design, "operator")
        assert live.suggest().design != one.design
