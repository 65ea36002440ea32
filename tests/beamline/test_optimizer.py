"""A live scan in the plans of bluesky-adaptive."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("bluesky_adaptive", reason="needs bluesky-adaptive")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.utils import FailedStatus
from bluesky_adaptive import protocols
from bluesky_adaptive.plans import optimize, optimize_in_run
from bluesky_adaptive.protocols import OptimizationProblem
from instruments import Beam, Detector, Instrument, Stage, Toggle, failed, lags, small_setup

from tomopilot.beamline.bluesky import Switch, adaptive_scan
from tomopilot.beamline.optimizer import ScanOptimizer
from tomopilot.live.held import Refused
from tomopilot.live.live import hold


@pytest.fixture(scope="module")
def engine():
    return RunEngine(context_managers=[], call_returns_result=True)


@pytest.fixture
def beamline():
    instrument = Instrument()
    return Stage(instrument), Detector(instrument)


@pytest.fixture
def live(tmp_path, beamline):
    camera = beamline[1].instrument.camera
    with hold(tmp_path, small_setup()) as live:
        live.darks(camera.darks(2))
        live.flats(camera.flats(2))
        yield live


@pytest.fixture
def optimizer(live):
    optimizer = ScanOptimizer(live, "rotation", "camera")
    yield optimizer
    optimizer.close()


def solve(optimizer, beamline, plan, **options):
    stage, detector = beamline
    problem = OptimizationProblem(optimizer, [stage], [detector], optimizer.evaluate)
    return bpp.subs_wrapper(plan(problem, **options), optimizer.hear)


@pytest.mark.parametrize(
    "protocol", ["Optimizer", "TrialFaultAware", "SupportsStoppingCriteria", "Checkpointable"]
)
def test_it_has_the_shape_of(optimizer, protocol):
    assert isinstance(optimizer, getattr(protocols, protocol))


@pytest.mark.parametrize("plan", [optimize, optimize_in_run], ids=["optimize", "optimize_in_run"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_plans_of_bluesky_adaptive_measure_a_scan(engine, live, optimizer, beamline, plan, at_once):
    documents = []
    engine(
        solve(optimizer, beamline, plan, iterations=9, n_points=at_once, checkpoint_interval=1),
        lambda name, doc: documents.append((name, doc)),
    )
    camera = beamline[1].instrument.camera
    told = live.held.ledger.told
    assert live.state()["mode"] == "finished" and optimizer.should_stop() == (True, "the budget is measured")
    assert sorted(one["id"] for one in told) == [1, 2, 3, 4, 5, 6]
    for one in told:
        assert one["angle"] == live.held.ledger.suggestions[one["id"]].angle
        frame = live.held.book.frames(one["event"])
        np.testing.assert_array_equal(frame, camera.frame(one["angle"]))
    assert [angle for _, point, _ in optimizer.get_best_points() for angle in point.values()] == [
        one["angle"] for one in told
    ]
    tracked = [doc["data"] for name, doc in documents if name == "event" and "frame" in doc["data"]]
    events = {
        f"{doc['descriptor']}/{doc['seq_num']}": doc["data"] for name, doc in documents if name == "event"
    }
    assert tracked
    for one in tracked:  # a reference, no image
        assert events[one["frame"]]["rotation"] == one["angle"] and np.size(one["frame"]) == 1


def test_a_failed_acquisition_is_suggested_again(engine, live, optimizer, beamline):
    beamline[1].broken = [failed]
    with pytest.raises(FailedStatus):
        engine(solve(optimizer, beamline, optimize, iterations=1))
    assert live.held.known(1).fate == "failed"
    engine(solve(optimizer, beamline, optimize_in_run, iterations=9))
    assert live.held.known(2).by == "again" and live.state()["measured"] == 6


def test_what_is_outstanding_is_suggested_first(live):
    one = live.suggest()
    optimizer = ScanOptimizer(live, "rotation", "camera")
    assert [point["_id"] for point in optimizer.suggest(3)] == [one.id, 2, 3]
    optimizer.close()


def test_fewer_are_suggested_where_no_more_are_left(live, optimizer):
    assert len(optimizer.suggest(9)) == 6
    with pytest.raises(Refused, match="asked for"):
        optimizer.suggest()


def test_points_from_elsewhere_are_rejected(live, optimizer):
    optimizer.suggest()
    with pytest.raises(ValueError, match="no outcome of `evaluate`"):
        optimizer.ingest([{"_id": 1, "rotation": 3.0}])
    with pytest.raises(ValueError, match="1 suggestions were acquired, but documents of 0 frames"):
        optimizer.evaluate((1,), [{"_id": 1}])
    assert live.state()["measured"] == 0


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("stock", [True, False], ids=["optimize", "adaptive_scan"])
def test_what_the_stock_plan_costs(engine, tmp_path, beamline, stock):
    """A model of a second, and a beam that is lost while it runs."""
    stage, detector = beamline
    beam, camera = Beam(engine, detector), detector.instrument.camera
    with hold(tmp_path, small_setup()) as live:
        suggest = live.suggest

        def slow():
            threading.Timer(0.3, beam.trip, [1.2, 1 if stock else 100]).start()
            time.sleep(1.0)
            return suggest()

        live.suggest = slow
        optimizer = ScanOptimizer(live, "rotation", "camera")
        live.darks(camera.darks(2))
        live.flats(camera.flats(2))
        if stock:
            plan = solve(optimizer, beamline, optimize, iterations=9)
        else:
            sample = Switch(Toggle("sample", detector.instrument, "inside"))
            plan = adaptive_scan(live, stage, detector, sample=sample, darks=0, flats=2, overlap=False)
        with beam.watched(), lags(engine) as found:
            engine(plan)
        optimizer.close()
        assert live.state()["measured"] == 6
    print(
        f"event loop lag: p99 {1000 * np.quantile(found, 0.99):.1f} ms, largest {1000 * max(found):.0f} ms; "
        f"{beam.begun_down} of {len(detector.begun)} exposures begun with the beam down"
    )
    assert max(found) > 0.9 if stock else max(found) < 0.9
    assert (beam.begun_down > 0) is stock
