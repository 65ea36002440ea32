"""No samples in time, or none at all: a rule answers, and the scan goes on."""

import multiprocessing
import os
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch
from live.conftest import SETUP, Deaf, drive, expose, open_beam

from tomopilot.live.live import hold

pytestmark = pytest.mark.fault


class Failing(Executor):
    """Fails at once."""

    def __init__(self, error):
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (Deaf, "no samples in time"),
        (
            lambda: Failing(FloatingPointError("an image that is NaN")),
            "FloatingPointError: an image that is NaN",
        ),
        (
            lambda: Failing(torch.OutOfMemoryError("CUDA out of memory")),
            "OutOfMemoryError: CUDA out of memory",
        ),
        (lambda: Failing(BrokenProcessPool("a worker died")), "BrokenProcessPool: a worker died"),
    ],
    ids=["slow", "nan", "memory", "worker"],
)
def test_without_samples_a_rule_answers(tmp_path, pool, why):
    """F20: flagged, and the scan goes on to its end."""
    with hold(tmp_path, replace(SETUP, deadline=0.1), pool) as live:
        open_beam(live)
        found = drive(live)
    assert len(found) == SETUP.budget
    assert [one.by for one in found] == ["variance"] * 2 + ["golden"] * 6
    assert all(why in one.why for one in found[2:])
    with hold(tmp_path) as live:
        assert live.state()["mode"] == "finished"


def die(*_):
    os._exit(1)


def test_a_dead_worker_is_replaced(tmp_path, setup, monkeypatch):
    """F20: one draw kills its process; the next one is drawn in another."""
    spawn = multiprocessing.get_context("spawn")
    with hold(tmp_path, setup, lambda: ProcessPoolExecutor(1, spawn)) as live:
        open_beam(live)
        drive(live, 3)
        one = live.suggest()
        with monkeypatch.context() as patch:
            patch.setattr("tomopilot.live.sampling._choosing", die)
            expose(live, one)
            fallen = live.suggest()
        assert fallen.by == "golden" and "BrokenProcessPool" in fallen.why
        expose(live, fallen)
        assert [one.by for one in drive(live)] == ["variance"] * 3


def test_late_samples_are_used_until_others_come(tmp_path):
    """F20: earlier samples, with what was taken since left out of their spread, rather than a rule."""
    pools = [ThreadPoolExecutor(1), Deaf()]

    class Then(Executor):
        """Draws once, then never answers again."""

        def submit(self, fn, /, *args, **kwargs):
            return pools[0 if live.held.experiment.count_told <= 2 else 1].submit(fn, *args, **kwargs)

    with hold(tmp_path, replace(SETUP, deadline=0.5), Then) as live:
        open_beam(live)
        drive(live, 2)
        while not live.held.ready.get(2):
            time.sleep(0.01)
        found = drive(live)
    assert [one.by for one in found] == ["variance"] * 6
    assert [one.why for one in found] == [None, *["earlier samples"] * 5]
    assert len({one.design for one in found}) == 6
    pools[0].shutdown()
