"""The verbs of a live scan: what is suggested, told and answered."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from live.conftest import SETUP, drive, expose, open_beam
from torch.testing import assert_close

from tomopilot.files.logbook import Logbook, Wish
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK, KEY


def test_a_live_scan_chooses_as_an_experiment_does(tmp_path, setup, camera):
    """Told the same projections, which are those of the camera, with the noise that the flats show."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        suggestions = drive(live)
        state = live.state()
        blocks = live.held.book.blocks(KEY)
    parts, scouts = setup.settled().assembled()
    experiment = parts.experiment
    for one, block in zip(suggestions, blocks, strict=True):
        assert experiment.ask() == one.design
        noise = live.held.experiment.data.observations[0].noise
        experiment.tell(one.design, scouts.rows(block.values), noise, block.setting)
    clean = setup.operator().forward(camera.volume[None])[0]
    counts = camera.photons * torch.exp(-camera.scale * clean)
    for block in blocks:
        error = (block.values - clean[block.design]) * camera.scale * counts[block.design].sqrt()
        assert error.abs().max() < 5  # standard deviations of 32 bins, flats and rounding included
    assert state["mode"] == "finished" and state["why"] == "the budget is measured"
    assert state["measured"] == setup.budget == len(suggestions)
    assert [one.by for one in suggestions] == ["variance"] * setup.budget
    assert suggestions[0].gain is None and sum(g is not None for g in suggestions[3].gain) == 24 - 3


def test_the_angle_that_was_reached_is_kept_and_used(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        one = live.suggest()
        expose(live, one, off=0.3)
        assert live.state()["angles"] == [pytest.approx(one.angle + 0.3)]
        used = live.held.experiment.data.observations[0].settings
        assert math.degrees(used.item()) == pytest.approx(one.angle + 0.3, abs=1e-4)


@pytest.mark.fault
@pytest.mark.parametrize("told", [0, 1, 2, 3, 5, 7])
def test_a_scan_that_was_cut_goes_on_as_if_it_had_not_been(tmp_path, setup, told):
    with hold(tmp_path / "whole", setup) as live:
        open_beam(live)
        whole = drive(live)
        expected = [told.deviations for told in live.held.experiment.told]
    with hold(tmp_path / "cut", setup) as live:
        open_beam(live)
        begun = drive(live, told)
        waiting = live.suggest()
    with hold(tmp_path / "cut") as live:
        assert [one["id"] for one in live.state()["outstanding"]] == [waiting.id]
        expose(live, waiting)
        rest = drive(live)
        surprises = live.held.experiment.surprises
        for told, known in zip(live.held.experiment.told, expected, strict=True):
            assert (told.deviations is None and known is None) or torch.equal(told.deviations, known)
    found = [*begun, waiting, *rest]
    assert [one.design for one in found] == [one.design for one in whole]
    assert [one.gain for one in found] == [one.gain for one in whole]
    assert [surprise is None for surprise in surprises[:3]] == [True, True, False]


@pytest.mark.fault
def test_the_same_again_is_answered_the_same(tmp_path, setup, camera):
    """F9: duplicates, conflicts, unknown numbers, and what comes after a stop."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        assert live.suggest("a") == live.suggest("a") != live.suggest("b")
        one, other = (live.held.known(id) for id in (1, 2))
        answer = expose(live, one)
        events = live.state()["event"]
        assert expose(live, one) == answer and live.state()["event"] == events
        with pytest.raises(Refused, match="other data") as refused:
            live.tell(one.id, camera.frame(3.0), one.angle)
        assert refused.value.code == "conflict"
        with pytest.raises(Refused, match="suggestion 9 is unknown; the latest is 2"):
            live.tell(9, camera.frame(0.0))
        live.wish(Wish("stop", "stop", {}))
        with pytest.raises(Refused, match="stopped by the operator"):
            live.suggest()
        assert expose(live, other)["accepted"]  # it was exposed: it is kept
        assert live.state()["measured"] == 2 and live.state()["mode"] == "stopped"


@pytest.mark.fault
def test_the_order_of_tells_does_not_matter(tmp_path, setup):
    """F9: three outstanding projections, told in any order."""
    following = set()
    for order in permutations(range(3)):
        folder = tmp_path / "".join(map(str, order))
        with hold(folder, setup) as live:
            open_beam(live)
            drive(live, 2)
            waiting = [live.suggest() for _ in range(3)]
            for place in order:
                expose(live, waiting[place])
            following.add(live.suggest().design)
    assert len(following) == 1


def test_outstanding_designs_are_not_offered_twice(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        drive(live, 2)
        found = [live.suggest() for _ in range(6)]
        assert len({one.design for one in found}) == 6
        with pytest.raises(Refused, match="all 8 projections of the budget are asked for; 6 suggestions"):
            live.suggest()
        assert live.state()["mode"] == "running"
        for one in found:
            expose(live, one)
        assert live.state()["mode"] == "finished"


def test_what_failed_is_asked_for_again_then_given_up(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        open_beam(live)
        first = live.suggest()
        for attempt in range(setup.retries + 1):
            one = live.suggest() if attempt else first
            assert one.design == first.design and one.by == ("again" if attempt else "variance")
            answer = live.fail(one.id, "the motor stalled")
            assert (
                answer == live.fail(one.id, "the motor stalled") and answer["reason"] == "the motor stalled"
            )
        assert live.state()["unusable"] == {str(first.design): "failed 3 times"}
        found = drive(live)
        assert first.design not in {one.design for one in found} and len(found) == setup.budget
        with pytest.raises(Refused, match="was told already"):
            live.fail(found[0].id, "too late")
    with hold(tmp_path) as live:
        assert first.design in live.held.experiment.barred


def test_wishes_are_answered_whoever_leaves_them(tmp_path, setup):
    """By another process, too, that has only the record."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        other = Logbook(tmp_path / BOOK)
        other.wish(Wish("p", "pause", {}))
        other.wish(Wish("p", "pause", {}))
        while "p" not in live.held.ledger.answered:
            pass
        with pytest.raises(Refused, match="paused by the operator") as refused:
            live.suggest()
        assert refused.value.code == "paused"
        assert live.wish(Wish("r", "resume", {}))["granted"]
        forced = live.wish(Wish("f", "force", {"angle": 93.0}))
        assert forced["granted"] and forced["angle"] == pytest.approx(90)
        one = live.suggest()
        assert one.by == "operator" and one.angle == pytest.approx(90)
        assert live.wish(Wish("g", "force", {"angle": 91}))["why"] == "90 degrees are asked for already"
        assert "expected degrees" in live.wish(Wish("h", "force", {"angle": "north"}))["why"]
        assert "known are stop, pause" in live.wish(Wish("i", "explode", {}))["why"]
        live.wish(Wish("u", "uniform", {}))
        expose(live, one)
        assert [live.suggest().by for _ in range(2)] == ["uniform"] * 2
        live.wish(Wish("v", "adaptive", {}))
        assert live.suggest().by == "variance"
        live.wish(Wish("s", "stop", {}))
        assert not live.wish(Wish("t", "resume", {}))["granted"]
        assert [wish.key for wish in other.wishes()] == ["p"]
        other.close()


@pytest.mark.parametrize(
    ("changes", "count", "why"),
    [
        ({"dose": 2.0, "dose_unit": "mGy", "dose_budget": 9.0}, 4, "exceed the budget of 9 mGy"),
        ({"exposure": 10.0, "time_budget": 35.0}, 3, "exceed the budget of 35 s"),
        ({"exposure": 1.0, "speed": 10.0, "time_budget": 20.0}, 3, "exceed the budget of 20 s"),
    ],
    ids=["dose", "time", "motion"],
)
def test_a_scan_ends_with_its_budget(tmp_path, changes, count, why):
    """Angles are 0, 90, 45 degrees, so that motion takes 13.5 s."""
    with hold(tmp_path, replace(SETUP, start=8, **changes)) as live:
        open_beam(live)
        assert len(drive(live)) == count
        state = live.state()
    assert why in state["why"] and state["mode"] == "finished"
    most = changes.get("dose_budget") or changes["time_budget"]
    assert state["spent"]["dose" if "dose_budget" in changes else "seconds"] <= most


def test_flats_are_due_again(tmp_path):
    with hold(tmp_path, replace(SETUP, flats_every=3)) as live:
        open_beam(live)
        due = []
        for _ in range(8):
            one = live.suggest()
            due.append(one.flats)
            if one.flats:
                open_beam(live)
            expose(live, one)
        assert due == [False] * 3 + [True] + [False] * 2 + [True, False]


def test_a_single_row_is_a_slice(tmp_path, camera):
    with hold(tmp_path, replace(SETUP, rows=1)) as live:
        live.darks(camera.darks()[:, 0])
        live.flats(camera.flats()[:, :1])
        one = live.suggest()
        assert live.tell(one.id, camera.frame(one.angle)[0])["accepted"]
        assert live.held.experiment.data.image_shape == (16, 16)


def test_line_integrals_come_without_flats(tmp_path, camera):
    setup = replace(SETUP, counts=False, noise="gaussian:0.01", offset=0.001)
    clean = setup.operator().forward(camera.volume[None])[0] * 0.05
    ones = setup.operator().forward(torch.ones(1, 2, 16, 16))[0] * 0.001
    with hold(tmp_path, setup) as live:
        for _ in range(3):
            one = live.suggest()
            assert live.tell(one.id, (clean + ones)[one.design].numpy())["accepted"]
        for block in live.held.book.blocks(KEY):
            assert_close(block.values, clean[block.design] / 0.05, atol=1e-4, rtol=0)
        assert live.held.experiment.data.observations[0].noise.std == pytest.approx(0.2)


def test_counts_need_flats(tmp_path, setup, camera):
    with hold(tmp_path, setup) as live:
        one = live.suggest()
        with pytest.raises(ValueError, match="send flats of the open beam first"):
            live.tell(one.id, camera.frame(one.angle))
        assert live.state()["outstanding"][0]["id"] == one.id
        open_beam(live)
        assert expose(live, one)["accepted"]


def test_closing_ends_who_waits_for_a_suggestion(tmp_path, setup, monkeypatch):
    with ThreadPoolExecutor() as pool:
        with hold(tmp_path, replace(setup, start=0, deadline=600.0)) as live:
            open_beam(live)
            monkeypatch.setattr(live._sampler, "start", lambda snapshot: None)  # samples never come
            waiting = pool.submit(live.suggest)
            time.sleep(0.2)
            assert not waiting.done()
        with pytest.raises(Refused) as refused:
            waiting.result(timeout=60)
    assert refused.value.code == "closed"
