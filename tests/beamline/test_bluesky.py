"""Adaptive scans by Bluesky's RunEngine, through every interruption and fault that a beamline has."""

import asyncio
import random
import re
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bluesky", reason="needs Bluesky: pip install 'tomopilot[bluesky]'")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from instruments import (
    COLUMNS,
    ROWS,
    Beam,
    Detector,
    FileDetector,
    Instrument,
    Monitor,
    Stage,
    Toggle,
    failed,
    lags,
    small_setup,
)
from ophyd.status import Status
from ophyd_async.core import wait_for_connection
from ophyd_async.sim import SimMotor

from tomopilot.beamline.bluesky import Switch, adaptive_scan
from tomopilot.beamline.documents import Place
from tomopilot.files.logbook import Wish
from tomopilot.live.live import hold
from tomopilot.raw.door import read_measured

FIELDS = 2  # flats and darks


@pytest.fixture(scope="module")
def engine():
    return RunEngine(context_managers=[], call_returns_result=True)


class Classic:
    """Devices of ophyd; images come in events."""

    def __init__(self, engine, folder, exposure=0.0, move=0.0, **options):
        self.instrument = Instrument()
        self.stage = Stage(self.instrument, move, **options)
        self.detector = Detector(self.instrument, exposure)
        self.begun = self.detector.begun

    def plan(self, live, **options):
        usual = {
            "shutter": Switch(Toggle("shutter", self.instrument, "open")),
            "sample": Switch(Toggle("sample", self.instrument, "inside")),
            "flats": FIELDS,
            "darks": FIELDS,
        }
        return adaptive_scan(live, self.stage, self.detector, **(usual | options))

    @property
    def exposed(self):
        """How many projections were begun."""
        return len(self.begun) - 2 * FIELDS


class Async(Classic):
    """Devices of ophyd-async; images are in HDF5 files that are being written."""

    def __init__(self, engine, folder, exposure=0.0):
        self.instrument = Instrument()
        self.detector = FileDetector(self.instrument, folder, exposure)
        self.begun = self.detector.writer.begun
        self.stage = SimMotor("rotation")

        async def connect():
            await wait_for_connection(stage=self.stage.connect(), detector=self.detector.connect())
            self.stage.subscribe_reading(self._follow)

        asyncio.run_coroutine_threadsafe(connect(), engine.loop).result()

    def _follow(self, reading):
        self.instrument.angle = reading["rotation"]["value"]


@contextmanager
def scan(folder, **changes):
    with hold(folder / "scan", small_setup(**changes)) as live:
        yield live


def told(live):
    """Angle and frame of each projection, in order."""
    return [(one["angle"], live.held.book.frames(one["event"])) for one in live.held.ledger.told]


@pytest.fixture(scope="module")
def whole(engine, tmp_path_factory):
    """What a scan measures that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    with scan(folder) as live:
        engine(Classic(engine, folder).plan(live))
        return told(live)


def assert_same(found, expected):
    assert [angle for angle, _ in found] == [angle for angle, _ in expected]
    for (_, frame), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame, wanted)


@pytest.mark.parametrize("kind", [Classic, Async])
def test_it_measures_what_the_scan_suggests(engine, tmp_path, whole, kind):
    documents = []
    with scan(tmp_path) as live:
        beamline = kind(engine, tmp_path)
        plan = beamline.plan(live, monitor=Monitor(beamline.instrument), md={"sample": "chip"})
        result = engine(plan, lambda name, doc: documents.append((name, doc)))
        assert_same(told(live), whole)
        camera = beamline.instrument.camera
        for angle, frame in told(live):
            np.testing.assert_array_equal(frame, camera.frame(angle))
        for kind_of_field, expected in (("flats", camera.flats(1)), ("darks", camera.darks(1))):
            frames = live.held.book.frames(live.held.ledger.fields[kind_of_field])
            np.testing.assert_array_equal(frames, np.repeat(expected, FIELDS, 0))
        assert [one["monitor"] for one in live.held.ledger.told] == [1.0] * 6
        ids = [one["id"] for one in live.held.ledger.told]
    assert result.plan_result == "the scan is finished: the budget is measured"
    start, stop = documents[0][1], documents[-1][1]
    assert start["sample"] == "chip" and start["tomopilot"]["setup"]["columns"] == COLUMNS
    assert stop["exit_status"] == "success"
    assert stop["num_events"] == {"darks": FIELDS, "flats": FIELDS, "primary": 6}
    primary = next(doc["uid"] for name, doc in documents if name == "descriptor" and doc["name"] == "primary")
    events = [doc["data"] for name, doc in documents if name == "event" and doc["descriptor"] == primary]
    assert [event["suggestion"] for event in events] == ids == [1, 2, 3, 4, 5, 6]
    assert [event["suggested_angle"] for event in events] == [angle for angle, _ in whole]


def test_without_overlap_each_choice_knows_all_that_was_measured(engine, tmp_path):
    with scan(tmp_path) as live:
        engine(Classic(engine, tmp_path).plan(live, overlap=False))
        kinds = [event.kind for event in live.held.book.events() if event.kind in ("suggested", "told")]
    assert kinds == ["suggested", "told"] * 6


def test_with_overlap_the_next_angle_is_chosen_before_the_frame_is_told(engine, tmp_path):
    with scan(tmp_path) as live:
        engine(Classic(engine, tmp_path).plan(live))
        kinds = [event.kind for event in live.held.book.events() if event.kind in ("suggested", "told")]
    assert kinds == ["suggested", *["suggested", "told"] * 5, "told"]


def test_sweeps_are_measured_in_the_order_of_their_angles(engine, tmp_path):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        engine(beamline.plan(live, sweep=3, overlap=False))
        assert live.state()["measured"] == 6
        asked = [one.angle for one in live.held.ledger.suggestions.values()]
    first, second = beamline.stage.moves[:3], beamline.stage.moves[3:]
    assert sorted(first) == sorted(asked[:3]) and sorted(second) == sorted(asked[3:])
    assert first == sorted(first) and second in (sorted(second), sorted(second)[::-1])


def test_flats_are_taken_again_when_they_are_due(engine, tmp_path):
    with scan(tmp_path, flats_every=2) as live:
        engine(Classic(engine, tmp_path).plan(live, overlap=False))
        kinds = [event.kind for event in live.held.book.events()]
    taken = [kind for kind in kinds if kind in ("darks", "flats", "told")]
    assert taken == [*["darks", "flats", "told", "told"] * 3]


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
            pauses += 1
            timer.join()
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


@pytest.mark.fault
@pytest.mark.parametrize("kind", [Classic, Async])
def test_pauses_at_random_instants_change_nothing(engine, tmp_path, whole, kind):
    pauses, found, ids, documents = pause_at_random(engine, tmp_path, kind, seed=0, most=6)
    assert pauses >= 3
    assert_same(found, whole)
    assert ids == [1, 2, 3, 4, 5, 6]
    assert documents[-1][1]["exit_status"] == "success"


@pytest.mark.fault
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


@pytest.mark.fault
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


@pytest.mark.fault
def test_no_exposure_begins_while_the_beam_is_down_during_sampling(engine, tmp_path, whole):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        beam, suggest = Beam(engine, beamline.detector), live.suggest

        def tripping():
            threading.Timer(0.02, beam.trip).start()
            time.sleep(0.1)  # at least
            return suggest()

        live.suggest = tripping
        with beam.watched():
            engine(beamline.plan(live, overlap=False))
        assert beam.trips >= 6 and beam.begun_down == 0
        assert live.state()["measured"] == 6


@pytest.mark.fault
def test_an_exposure_is_repeated_that_lost_its_beam(engine, tmp_path, whole):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.1)
        beam = Beam(engine, beamline.detector)
        beamline.detector.watch.append(
            lambda: threading.Timer(0.02, beam.trip).start() if beamline.exposed in (2, 4) else None
        )
        with beam.watched():
            engine(beamline.plan(live))
        assert beam.trips == 2 and beam.begun_down == 0
        assert beamline.exposed == 6 + 2
        assert_same(told(live), whole)


@pytest.mark.fault
def test_the_event_loop_is_free_while_the_model_runs(engine, tmp_path):
    with scan(tmp_path, posterior="bootstrap(steps=60)") as live, lags(engine) as found:
        engine(Classic(engine, tmp_path).plan(live))
    p99 = np.quantile(found, 0.99)
    print(f"event loop lag: p99 {1000 * p99:.1f} ms, largest {1000 * max(found):.1f} ms of {len(found)}")
    assert p99 < 0.5


@pytest.mark.fault
@pytest.mark.parametrize("where", ["detector", "stage"])
@pytest.mark.parametrize("fault", ["timeout", "failure", "exception"])
def test_a_device_that_fails_costs_one_attempt(engine, tmp_path, where, fault):
    def raises():
        raise ConnectionError("it does not answer")

    answers = {"timeout": lambda: Status(timeout=0.05), "failure": failed, "exception": raises}
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        device, number = (beamline.detector, 3) if where == "detector" else (beamline.stage, 2)  # the third
        beamline.detector.watch.append(
            lambda: device.broken.append(answers[fault]) if beamline.exposed == number else None
        )
        result = engine(beamline.plan(live))
        fates = [one.fate for one in live.held.ledger.suggestions.values()]
        (lost,) = [one for one in live.held.ledger.suggestions.values() if one.fate == "failed"]
        repeated = [one for one in live.held.ledger.suggestions.values() if one.by == "again"]
        assert live.state()["measured"] == 6
    assert result.exit_status == "success" and fates.count("told") == 6 and len(fates) == 7
    assert lost.id == 3 and [one.design for one in repeated] == [lost.design]
    expected = {"timeout": "StatusTimeoutError", "failure": "it broke", "exception": "it does not answer"}
    assert expected[fault] in lost.answer["reason"]


@pytest.mark.fault
@pytest.mark.parametrize("where", ["detector", "stage"])
def test_a_device_that_never_answers_is_given_up(engine, tmp_path, where):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        device, number = (beamline.detector, 3) if where == "detector" else (beamline.stage, 2)
        beamline.detector.watch.append(
            lambda: device.broken.append(Status) if beamline.exposed == number else None
        )
        engine(beamline.plan(live, timeout=1.0))
        (lost,) = [one for one in live.held.ledger.suggestions.values() if one.fate == "failed"]
        assert live.state()["measured"] == 6
    assert "Timeout" in lost.answer["reason"]


@pytest.mark.fault
def test_the_angle_that_was_reached_is_kept(engine, tmp_path):
    with scan(tmp_path) as live:
        engine(Classic(engine, tmp_path, miss=0.2).plan(live))
        for one in live.held.ledger.told:
            asked = live.held.ledger.suggestions[one["id"]].angle
            assert one["angle"] == pytest.approx(asked + 0.2)


@pytest.mark.fault
def test_a_stage_that_misses_is_quarantined(engine, tmp_path):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)

        def miss():
            beamline.stage.miss = 3.0 if beamline.exposed == 2 else 0.0

        beamline.detector.watch.append(miss)  # of the move after this exposure
        engine(beamline.plan(live))
        state = live.state()
        lost = live.held.ledger.suggestions[state["quarantined"][0]]
    assert state["measured"] == 6 and state["quarantined"] == [3]
    assert "3 from" in lost.answer["reason"]


@pytest.mark.fault
def test_a_detector_that_is_dead_ends_the_run(engine, tmp_path):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        beamline.detector.watch.append(
            lambda: beamline.detector.broken.append(failed) if beamline.exposed > 2 else None
        )
        with pytest.raises(
            RuntimeError, match="5 exposures in a row failed; the latest: RuntimeError: it broke"
        ):
            engine(beamline.plan(live))
        assert live.state()["measured"] == 2
        engine(Classic(engine, tmp_path).plan(live))  # repaired
        assert live.state()["measured"] == 6


def stop_now(live):
    threading.Thread(target=live.wish, args=[Wish("s", "stop", {})]).start()


@pytest.mark.fault
@pytest.mark.parametrize("during", ["suggest", "move", "exposure"])
def test_nothing_is_exposed_after_a_stop(engine, tmp_path, during):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.1, move=0.1)
        suggest = live.suggest
        after = {}

        def stopping():
            if len(live.held.ledger.suggestions) == 3 and during == "suggest":
                threading.Timer(0.02, stop_now, [live]).start()
            return suggest()

        class Moving(Stage):
            def set(self, value):
                if len(self.moves) == 2 and during == "move":
                    stop_now(live)
                return super().set(value)

        live.suggest = stopping
        beamline.stage = Moving(beamline.instrument, 0.1)
        if during == "exposure":
            beamline.detector.watch.append(lambda: stop_now(live) if beamline.exposed == 3 else None)
        result = engine(beamline.plan(live, overlap=False))
        after = live.state()
    assert result.plan_result == "the scan is stopped: stopped by the operator"
    assert result.exit_status == "success" and after["mode"] == "stopped"
    assert after["measured"] == beamline.exposed == {"suggest": 3, "move": 2, "exposure": 3}[during]


@pytest.mark.fault
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


@pytest.mark.fault
@pytest.mark.parametrize("how", ["abort", "stop", "halt"])
def test_what_was_measured_is_told_however_the_run_ends(engine, tmp_path, whole, how):
    documents = []
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.02)
        suggest, ended = live.suggest, threading.Event()

        def slow():
            if len(live.held.ledger.suggestions) >= 3:
                ended.wait(60)  # the third exposure waits to be told
            return suggest()

        live.suggest = slow

        def end():
            while [doc["data"]["suggestion"] for name, doc in documents if name == "event"][-1:] != [3]:
                time.sleep(0.01)
            time.sleep(0.3)  # by now it waits for the next suggestion
            getattr(engine, how)()

        threading.Thread(target=end).start()
        with suppress(RunEngineInterrupted):
            engine(beamline.plan(live), lambda name, doc: documents.append((name, doc)))
        assert live.state()["measured"] == 3
        ended.set()
        while not live.state()["outstanding"]:
            time.sleep(0.01)
        assert [one["id"] for one in live.state()["outstanding"]] == [4]
        live.suggest = suggest
        engine(beamline.plan(live))  # outstanding first
        assert [one["id"] for one in live.held.ledger.told] == [1, 2, 3, 4, 5, 6]
        assert [angle for angle, _ in told(live)][:3] == [angle for angle, _ in whole][:3]
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["exit_status"] == {"stop": "success"}.get(how, "abort")


@pytest.mark.fault
def test_a_full_disk_is_waited_for(engine, tmp_path, whole, monkeypatch):
    monkeypatch.setattr("tomopilot.beamline.workers.POLL", 0.05)
    with scan(tmp_path) as live:
        tell, full = live.tell, [True] * 3

        def telling(*args):
            if full and full.pop():
                raise OSError("no space left on device")
            return tell(*args)

        live.tell = telling
        beamline = Classic(engine, tmp_path)
        engine(beamline.plan(live))
        assert not full and beamline.exposed == 6
        assert_same(told(live), whole)


@pytest.mark.fault
def test_a_model_that_is_late_does_not_hold_up_the_scan(engine, tmp_path):
    with scan(tmp_path, posterior="bootstrap(steps=400)", deadline=0.05) as live:
        engine(Classic(engine, tmp_path).plan(live))
        found = [(one.by, one.why) for one in live.held.ledger.suggestions.values()]
        assert live.state()["measured"] == 6
    assert ("golden", "no samples in time") in found


@pytest.mark.fault
def test_a_frame_that_cannot_be_read_costs_one_attempt(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("tomopilot.beamline.documents.PATIENCE", 0.2)
    read, lost = Place.read, []

    def reading(place):
        if place.number == 2 * FIELDS + 2 and not lost:
            lost.append(place)
            place = place._replace(path=tmp_path / "elsewhere.h5")
        return read(place)

    monkeypatch.setattr(Place, "read", reading)
    with scan(tmp_path) as live:
        engine(Async(engine, tmp_path).plan(live))
        (failure,) = [one for one in live.held.ledger.suggestions.values() if one.fate == "failed"]
        assert live.state()["measured"] == 6
    assert failure.id == 3 and "elsewhere.h5 cannot be read" in failure.answer["reason"]


def test_angles_beyond_the_limits_are_said_before_the_run(engine, tmp_path):
    class Limited(Stage):
        def check_value(self, value):
            if value > 170:
                raise ValueError("above the high limit of 170")

    documents = []
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        beamline.stage = Limited(beamline.instrument)
        with pytest.raises(ValueError, match=r"refuses angles .* 175 \(above the high limit of 170\)"):
            engine(beamline.plan(live), lambda name, doc: documents.append(name))
    assert documents == []
    with scan(tmp_path / "wedge", angles=tuple(range(0, 170, 5))) as live:
        engine(beamline.plan(live))
        assert live.state()["measured"] == 6


def test_frames_of_another_shape_end_the_run(engine, tmp_path):
    words = r"camera_image \[2, 16\].* expected one of \(3, 16\)"
    with scan(tmp_path, rows=ROWS + 1) as live, pytest.raises(ValueError, match=words):
        engine(Classic(engine, tmp_path).plan(live))


def test_what_is_missing_is_said_at_once(engine, tmp_path):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path)
        with pytest.raises(ValueError, match="monitor has no trigger"):
            adaptive_scan(live, beamline.stage, Monitor(beamline.instrument))
        for options, words in (
            ({"shutter": None}, "2 dark fields need a shutter"),
            ({"sample": None}, "2 flat fields need the sample out of the beam"),
            ({"flats": 0}, "counts, which need flat fields"),
            ({"sweep": 0}, "sweep is 0"),
        ):
            with pytest.raises(ValueError, match=words):
                beamline.plan(live, **options)


def test_the_page_runs_as_it_is_printed(tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "bluesky.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    entries = {
        "rows": ROWS,
        "columns": COLUMNS,
        "angles": 36,
        "scale": 0.02,
        "count": 3,
        "start": 2,
        "budget": 6,
    }
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (tmp_path / "scan.toml").write_text("\n".join([*lines, f'posterior = "{small_setup().posterior}"']))
    monkeypatch.chdir(tmp_path)
    instrument = Instrument()
    devices = {
        "rotation": Stage(instrument),
        "camera": Detector(instrument),
        "shutter": Toggle("shutter", instrument, "open", {"Open": 1, "Closed": 0}),
        "translation": Toggle("translation", instrument, "inside", {0.0: 1, 25.0: 0}),
        "ion_chamber": Monitor(instrument),
    }
    exec(code, devices)
    raw = read_measured("runs/chip/scan.nxs")
    assert [len(raw.darks), len(raw.flats), len(raw.projections)] == [10, 20, 6]
    for angle, frame in zip(np.rad2deg(raw.angles), raw.projections.read(), strict=True):
        np.testing.assert_array_equal(frame, instrument.camera.frame(round(float(angle), 4)))
