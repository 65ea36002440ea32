"""Fault F18: STOP at any instant, and runs that end early."""

import threading
import time
from contextlib import suppress

import pytest

pytest.importorskip("bluesky", reason="needs Bluesky: pip install 'tomopilot[bluesky]'")
pytest.importorskip("ophyd", reason="needs ophyd")
pytest.importorskip("ophyd_async", reason="needs ophyd-async")

from beamline.runs import Classic, scan, told
from bluesky.utils import RunEngineInterrupted
from instruments import Stage

from tomopilot.files.logbook import Wish
from tomopilot.live.export import export
from tomopilot.raw.door import read_measured

pytestmark = pytest.mark.fault


def stop_now(live):
    threading.Thread(target=live.wish, args=[Wish("s", "stop", {})]).start()


@pytest.mark.parametrize("during", ["suggest", "move", "exposure"])
def test_nothing_is_exposed_after_a_stop(engine, tmp_path, during):
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.1, move=0.1)
        sweep = live.sweep

        def stopping(count):
            if len(live.held.ledger.suggestions) == 3 and during == "suggest":
                threading.Timer(0.02, stop_now, [live]).start()
            return sweep(count)

        class Moving(Stage):
            def set(self, value):
                if len(self.moves) == 2 and during == "move":
                    stop_now(live)
                return super().set(value)

        live.sweep = stopping
        beamline.stage = Moving(beamline.instrument, 0.1)
        if during == "exposure":
            beamline.detector.watch.append(lambda: stop_now(live) if beamline.exposed == 3 else None)
        result = engine(beamline.plan(live, overlap=False))
        after = live.state()
        assert export(live.folder, tmp_path / "scan.nxs") == after["measured"]
    raw = read_measured(str(tmp_path / "scan.nxs"))  # closed, and valid
    assert len(raw.projections) == beamline.exposed
    assert result.plan_result == "the scan is stopped: stopped by the operator"
    assert result.exit_status == "success" and after["mode"] == "stopped"
    assert after["measured"] == beamline.exposed == {"suggest": 3, "move": 2, "exposure": 3}[during]


@pytest.mark.parametrize("how", ["abort", "stop", "halt"])
def test_what_was_measured_is_told_however_the_run_ends(engine, tmp_path, whole, how):
    documents = []
    with scan(tmp_path) as live:
        beamline = Classic(engine, tmp_path, exposure=0.02)
        sweep, ended = live.sweep, threading.Event()

        def slow(count):
            if len(live.held.ledger.suggestions) >= 3:
                ended.wait(60)  # the third exposure waits to be told
            return sweep(count)

        live.sweep = slow

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
        live.sweep = sweep
        engine(beamline.plan(live))  # outstanding first
        assert [one["id"] for one in live.held.ledger.told] == [1, 2, 3, 4, 5, 6]
        assert [angle for angle, _ in told(live)][:3] == [angle for angle, _ in whole][:3]
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["exit_status"] == {"stop": "success"}.get(how, "abort")
