"""Fault F8: devices that fail, hang or miss; and F3, F20: a full disk, a model that is late."""

import pytest

pytest.importorskip("bluesky", reason="needs Bluesky: pip install 'tomopilot[bluesky]'")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

from beamline.runs import FIELDS, Async, Classic, assert_same, scan, told
from instruments import failed
from ophyd.status import Status

from tomopilot.beamline.documents import Place

pytestmark = pytest.mark.fault


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


def test_the_angle_that_was_reached_is_kept(engine, tmp_path):
    with scan(tmp_path) as live:
        engine(Classic(engine, tmp_path, miss=0.2).plan(live))
        for one in live.held.ledger.told:
            asked = live.held.ledger.suggestions[one["id"]].angle
            assert one["angle"] == pytest.approx(asked + 0.2)


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


def test_a_model_that_is_late_does_not_hold_up_the_scan(engine, tmp_path):
    with scan(tmp_path, posterior="bootstrap(steps=400)", deadline=0.05) as live:
        engine(Classic(engine, tmp_path).plan(live))
        found = [(one.by, one.why) for one in live.held.ledger.suggestions.values()]
        assert live.state()["measured"] == 6
    assert ("golden", "no samples in time") in found
