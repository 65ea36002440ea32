"""Adaptive scans by Bluesky's RunEngine."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bluesky", reason="needs Bluesky: pip install 'tomopilot[bluesky]'")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

from beamline.runs import FIELDS, Async, Classic, assert_same, scan, told
from instruments import COLUMNS, ROWS, Detector, Instrument, Monitor, Stage, Toggle, small_setup

from tomopilot.beamline.bluesky import adaptive_scan
from tomopilot.raw.door import read_measured


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
    assert asked == [angle for sweep in swept(tmp_path / "core", 3) for angle in sweep]


def swept(folder, count):
    """The angles of each sweep as the scan itself chooses them."""
    camera = Instrument().camera
    with scan(folder) as live:
        live.darks(np.repeat(camera.darks(1), FIELDS, 0))
        live.flats(np.repeat(camera.flats(1), FIELDS, 0))
        while live.state()["mode"] == "running":
            batch = live.sweep(count)
            for one in batch:
                live.tell(one.id, camera.frame(one.angle), one.angle)
            yield [one.angle for one in batch]


def test_flats_are_taken_again_when_they_are_due(engine, tmp_path):
    with scan(tmp_path, flats_every=2) as live:
        engine(Classic(engine, tmp_path).plan(live, overlap=False))
        kinds = [event.kind for event in live.held.book.events()]
    taken = [kind for kind in kinds if kind in ("darks", "flats", "told")]
    assert taken == [*["darks", "flats", "told", "told"] * 3]


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
