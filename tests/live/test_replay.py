"""Fault F10: decisions follow from what was measured and asked for, never from a clock."""

import json
import math
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from live.conftest import SETUP, expose, open_beam
from processes import server

from tomopilot.files.logbook import Logbook, Wish
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK
from tomopilot.live.replay import replayed

pytestmark = pytest.mark.fault
PATIENT = replace(SETUP, deadline=3600.0)
DECIDED = ("suggested", "used", "wish", "failed", "finished")


def operate(folder, zone, shift, speed, pause, threads):
    """A scan with a failure and a forced angle, by a clock of its own."""
    torch.set_num_threads(threads)
    now, running = time.time, time.monotonic
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        patch.setattr("time.time", lambda: shift + speed * now())
        patch.setattr("time.monotonic", lambda: speed * running())
        with hold(folder, PATIENT) as live:
            open_beam(live)
            for number in range(PATIENT.budget + 1):
                one = live.suggest()
                time.sleep(pause)
                if number == 3:
                    live.fail(one.id, "the motor stalled")
                else:
                    expose(live, one)
                if number == 4:
                    live.wish(Wish("f", "force", {"angle": 77}))
            with pytest.raises(Refused):
                live.suggest()


def decisions(folder):
    """The log of decisions as bytes: everything but when it was."""
    with closing(Logbook(folder / BOOK)) as book:
        events = [[one.kind, one.content] for one in book.events() if one.kind in DECIDED]
    return json.dumps(events).encode()


def operated(folder, *how):
    """In a process of its own."""
    process = server().Process(target=operate, args=(folder, *how))
    process.start()
    process.join()
    assert process.exitcode == 0
    return decisions(folder)


OTHERS = {
    "another time zone, a clock ten years ahead": ("Pacific/Auckland", 3e8, 1.0, 0.0, 1),
    "a tenth of the speed": ("UTC", 0.0, 0.1, 0.0, 1),
    "ten times the speed": ("America/St_Johns", -3e8, 10.0, 0.0, 1),
    "exposures of half a second": ("UTC", 0.0, 1.0, 0.5, 1),
}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    return operated(folder, "UTC", 0.0, 1.0, 0.0, 1), folder


@pytest.mark.parametrize("how", OTHERS)
def test_other_clocks_leave_the_log_of_decisions_to_the_byte(tmp_path, usual, how):
    assert operated(tmp_path, *OTHERS[how]) == usual[0]
    assert usual[0].count(b'"suggested"') == PATIENT.budget + 1


def test_other_counts_of_threads_leave_the_choices(tmp_path, usual):
    """Sums are taken in another order: gains agree to 1e-6."""
    ours, theirs = json.loads(usual[0]), json.loads(operated(tmp_path, "UTC", 0.0, 1.0, 0.0, 2))
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        assert one.get("design") == other.get("design")
        if one.get("gain"):
            gains = [[math.nan if gain is None else gain for gain in each["gain"]] for each in (one, other)]
            np.testing.assert_allclose(*gains, rtol=1e-6)


def test_decisions_follow_from_the_record(usual, monkeypatch):
    """Made again from it, under another clock: the same designs, and the same gains."""
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    known = [content for kind, content in json.loads(usual[0]) if kind == "suggested"]
    again = replayed(usual[1])
    assert (
        [one.decided for one in again] == [one.recorded for one in again] == [one["design"] for one in known]
    )
    assert sorted({one.by for one in again}) == ["again", "operator", "variance"]
    for one, said in zip(again, known, strict=True):
        assert (one.gain is None) == (said["gain"] is None)
        if one.gain is not None:
            gains = np.array([math.nan if gain is None else gain for gain in said["gain"]])
            np.testing.assert_allclose(one.gain, gains, rtol=1e-6)
