"""Fault F19: a run is paused, suspended and resumed at any instant, and the event loop stays free."""

import random
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("bluesky", reason="needs Bluesky: pip install 'tomopilot[bluesky]'")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

from beamline.runs import Async, Classic, assert_same, scan, told
from bluesky.utils import RunEngineInterrupted
from instruments import Beam, lags

from tomopilot.files.logbook import Wish

pytestmark = pytest.mark.fault


def interrupted(engine, plan, delays):
    """Runs a plan, pausing after each of these delays; the number of pauses."""
    pauses = 0

    def pause():
        with suppress(Exception):  # it was over
            engine.request_pause()

    go = lambda: engine(plan)  # noqa: E731
    for delay in delays:
        timer = threading.Timer(delay, pause)
        timer.start()
        try:
            go()
            timer.join()
            return pauses
        except RunEngineInterrupted:
            timer.join()
            if engine.state == "idle":  # asked for as the plan ended
                return pauses
            pauses += 1
            go = engine.resume
    go()
    return pauses


def pause_at_random(engine, folder, kind, seed, most):
    generator, documents = random.Random(seed), []
    with scan(folder) as live:
        beamline = kind(engine, folder, exposure=0.02)
        token = engine.subscribe(lambda name, doc: documents.append((name, doc)))
        pauses = interrupted(engine, beamline.plan(live), [generator.uniform(0, 0.3) for _ in range(most)])
        engine.unsubscribe(token)
        ids = [one["id"] for one in live.held.ledger.told]
        return pauses, told(live), ids, documents


@pytest.mark.parametrize("kind", [Classic, Async])
def test_pauses_at_random_instants_change_nothing(engine, tmp_path, whole, kind):
    pauses, found, ids, documents = pause_at_random(engine, tmp_path, kind, seed=0, most=6)
    assert pauses >= 3
    assert_same(found, whole)
    assert ids == [1, 2, 3, 4, 5, 6]
    assert documents[-1][1]["exit_status"] == "success"


@pytest.mark.parametrize("kind", [Classic, Async])
def test_an_exposure_that_was_interrupted_ends_before_it_is_repeated(engine, tmp_path, whole, kind):
    with scan(tmp_path) as live:
        beamline = kind(engine, tmp_path, exposure=0.3)

        def pause():
            while beamline.exposed < 3:
                time.sleep(0.01)
            engine.request_pause()

        threading.Thread(target=pause).start()
        with pytest.raises(RunEngineInterrupted):
            engine(beamline.plan(live))
        engine.resume()
        assert beamline.exposed == 6 + 1
        assert_same(told(live), whole)
        assert len(live.held.ledger.suggestions) == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Classic, Async])
def test_fifty_pauses_change_nothing(engine, tmp_path, whole, kind):
    pauses = seed = 0
    while pauses < 50:
        folder = tmp_path / str(seed)
        folder.mkdir()
        more, found, ids, _ = pause_at_random(engine, folder, kind, seed, most=8)
        pauses, seed = pauses + more, seed + 1
        assert_same(found, whole)
        assert ids == [1, 2, 3, 4, 5, 6]
    print(f"{kind.__name__}: {pauses} pauses in {seed} scans, no projection lost")


def test_no_exposure_begins_while_the_beam_is_down_during_sampling(engine, tmp_path, whole):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        beam, sweep = Beam(engine, beamline.detector), live.sweep

        def tripping(count):
            threading.Timer(0.02, beam.trip).start()
            time.sleep(0.1)  # at least
            return sweep(count)

        live.sweep = tripping
        with beam.watched():
            engine(beamline.plan(live, overlap=False))
        assert beam.trips >= 6 and beam.begun_down == 0
        assert live.state()["measured"] == 6


def test_an_exposure_is_repeated_that_lost_its_beam(engine, tmp_path, whole):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.5)
        beam = Beam(engine, beamline.detector)
        beamline.detector.watch.append(
            lambda: threading.Timer(0.02, beam.trip).start() if beamline.exposed in (2, 4) else None
        )
        with beam.watched():
            engine(beamline.plan(live))
        assert beam.trips == 2 and beam.begun_down == 0
        assert beamline.exposed == 6 + 2
        assert_same(told(live), whole)


def test_the_event_loop_is_free_while_the_model_runs(engine, tmp_path):
    with scan(tmp_path, posterior="bootstrap(steps=60)") as live, lags(engine) as found:
        engine(Classic(engine, tmp_path).plan(live))
    p99 = np.quantile(found, 0.99)
    print(f"event loop lag: p99 {1000 * p99:.1f} ms, largest {1000 * max(found):.1f} ms of {len(found)}")
    assert p99 < 0.5


def test_a_paused_scan_waits_without_blocking(engine, tmp_path):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        at_pause = []

        def pause():
            if beamline.exposed == 3:
                live.wish(Wish("p", "pause", {}))
                threading.Timer(1.0, resume).start()

        def resume():
            at_pause.append(beamline.exposed)
            live.wish(Wish("r", "resume", {}))

        beamline.detector.watch.append(pause)
        engine(beamline.plan(live))
        assert at_pause == [3] and live.state()["measured"] == 6
