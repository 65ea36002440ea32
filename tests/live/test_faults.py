"""What a live scan survives: the rows of the fault list that concern its core."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from live.conftest import CAMERA, SETUP, drive, expose, open_beam

from tomopilot.design.policy import Guarded, InOrder, uniform_order
from tomopilot.design.trust import Alarm, Watch
from tomopilot.files.logbook import Logbook, Wish
from tomopilot.live.export import export
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK, KEY
from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.prior.checkpoint import folder_of
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured
from tomopilot.simulate.camera import Camera

pytestmark = pytest.mark.fault


def operate(folder, acknowledged):
    """A control system: goes on with a scan, and writes down what was acknowledged."""
    torch.set_num_threads(1)
    begun = (folder / BOOK).exists() and Logbook(folder / BOOK).described("live") is not None
    with hold(folder, None if begun else SETUP) as live, acknowledged.open("a") as file:
        if live.held.fields is None:
            open_beam(live)
        waiting = list(live.held.ledger.outstanding)
        while True:
            try:
                one = waiting.pop(0) if waiting else live.suggest()
            except Refused:
                break
            answer = expose(live, one)
            file.write(json.dumps([one.id, one.design, answer["event"]]) + "\n")
            file.flush()
            os.fsync(file.fileno())
    (folder / "over").touch()


def killed(folder, seed, kills):
    """Operates a scan in processes that are killed, then to its end; how many kills hit a running scan."""
    rng, fork, hits = random.Random(seed), multiprocessing.get_context("fork"), 0
    for kill in range(1000):
        process = fork.Process(target=operate, args=(folder, folder / "acknowledged"))
        process.start()
        if kill < kills:
            process.join(rng.uniform(0.02, 1.2))
            hits += process.is_alive()
            os.kill(process.pid, signal.SIGKILL) if process.is_alive() else None
        process.join()
        if (folder / "over").exists():
            return hits
    raise AssertionError("the scan never ended")


def check_killed(tmp_path, scans, kills):
    """F1: whatever was acknowledged is there, and the choices are those of a scan that was not killed."""
    whole, hits = tmp_path / "whole", 0
    whole.mkdir()
    killed(whole, 0, 0)
    with closing(Logbook(whole / BOOK)) as book:
        expected = [e.content["design"] for e in book.events() if e.kind == "suggested"]
        blocks = book.blocks(KEY)
    for seed in range(scans):
        folder = tmp_path / str(seed)
        folder.mkdir()
        hits += killed(folder, seed, kills)
        with closing(Logbook(folder / BOOK)) as book:
            events = {event.number: event for event in book.events()}
            suggested = [e.content["design"] for e in events.values() if e.kind == "suggested"]
            lines = (folder / "acknowledged").read_text().splitlines()
            for id, design, number in map(json.loads, lines):
                assert events[number].kind == "told" and events[number].content["id"] == id
                angle = events[number].content["angle"]
                np.testing.assert_array_equal(book.frames(number), CAMERA.frame(angle))
                assert events[number].content["design"] == design
            for block, other in zip(book.blocks(KEY), blocks, strict=True):
                assert block.design == other.design and torch.equal(block.values, other.values)
        assert suggested == expected
    print(f"{hits} kills of {scans} scans: all acknowledged projections there, choices equal")
    return hits


def test_a_killed_scan_goes_on(tmp_path):
    assert check_killed(tmp_path, scans=1, kills=4) >= 1


@pytest.mark.slow
def test_scans_killed_fifty_times_go_on(tmp_path):
    assert check_killed(tmp_path, scans=10, kills=8) >= 50


def fill(live):
    """Leaves the record no room."""
    connection = live.held.book.connection
    (count,) = connection.execute("pragma page_count").fetchone()
    connection.execute(f"pragma max_page_count = {count}")
    with pytest.raises(OSError, match="full"):
        for number in range(10_000):  # pages that were freed
            live.held.book.describe(f"ballast {number}", "0" * 4000)


def make_room(live):
    live.held.book.connection.execute("pragma max_page_count = 1000000")


class Wide:
    """The camera with narrower columns: a frame does not fit where there is no room."""

    def __getattr__(self, name):
        return lambda *given: np.repeat(getattr(CAMERA, name)(*given), 64, -1)


def test_a_full_disk_loses_nothing(tmp_path, setup):
    """F3: what is acknowledged stays, the rest can be told again once there is room."""
    wide = replace(setup, columns=64 * setup.columns, bins=setup.columns)
    with hold(tmp_path, wide) as live:
        open_beam(live, Wide())
        drive(live, 2, Wide())
        one, other = live.suggest(), live.suggest()
        first = expose(live, one, Wide())
        fill(live)
        before = live.held.experiment.data
        with pytest.raises(OSError, match="is it damaged, or the disk full"):
            expose(live, other, Wide())
        assert "full" in live.state()["stuck"] and live.state()["measured"] == 3
        assert live.held.experiment.data is before
        assert expose(live, one, Wide()) == first
        make_room(live)
        assert expose(live, other, Wide())["number"] == 4 and live.state()["stuck"] is None
        assert len(drive(live, camera=Wide())) == setup.budget - 4
        assert live.held.book.connection.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_a_disk_of_two_megabytes(tmp_path, setup):
    """F3 on a file system that is full: `mount` is needed."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with hold(place, setup) as live:
            open_beam(live)
            drive(live, 2)
            one = live.suggest()
            (place / "ballast").write_bytes(b"0" * (shutil.disk_usage(place).free - 4096))
            with pytest.raises(OSError, match="full"):
                for _ in range(100):
                    expose(live, one)
                    one = live.suggest()
            with pytest.raises(OSError):
                export(place, place / "scan.nxs")
            measured = live.state()["measured"]
            (place / "ballast").unlink()
            assert expose(live, one)["number"] == measured + 1
            drive(live)
            assert live.state()["mode"] == "finished"
    finally:
        subprocess.run(["umount", place], check=True)


def spoiled(name):
    frame = CAMERA.frame(0.0).astype(float)
    monitor, rng = None, np.random.default_rng(0)
    if name == "no numbers":
        frame[0, 3:9] = np.nan
    elif name == "black":
        frame[:] = 0
    elif name == "saturated":
        frame = CAMERA.frame(0.0)
        frame[:, 2:8] = 65535
    elif name == "below dark":
        frame[:] = rng.uniform(20, 90, frame.shape)
    elif name == "beam lost":
        frame = CAMERA.frame(0.0, beam=0.5)
    elif name == "monitor":
        monitor = 0.5
    elif name == "narrow":
        frame = frame[:, :-1]
    elif name == "complex":
        frame = frame.astype(complex)
    return frame, monitor


FAULTS = {
    "no numbers": "not finite",
    "black": "not above the dark field",
    "saturated": "saturated",
    "below dark": "not above the dark field",
    "beam lost": "beam is .* weaker",
    "monitor": "beam monitor reads 0.5",
    "narrow": "shape \\(2, 15\\); expected \\(2, 16\\)",
    "complex": "holds complex128",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_says_nothing_of_the_sample_is_quarantined(tmp_path, setup, name):
    """F7: with a reason, kept as it came; what is known stays as it was, bit for bit."""
    with hold(tmp_path, replace(setup, policy="uniform"), Deaf) as live:
        open_beam(live)
        drive(live, 4)
        before, draws = live.held.experiment.data, live.held.experiment.snapshot
        first = live.suggest()
        frame, monitor = spoiled(name)
        for attempt in range(setup.retries + 1):
            one = live.suggest() if attempt else first
            assert one.design == first.design
            answer = live.tell(one.id, frame, one.angle, monitor)
            assert not answer["accepted"] and live.tell(one.id, frame, one.angle, monitor) == answer
            assert re.search(FAULTS[name], answer["reason"]), answer["reason"]
            np.testing.assert_array_equal(live.held.book.frames(answer["event"]), frame)
        assert live.held.experiment.data is before and live.held.experiment.snapshot is draws
        assert live.state()["unusable"] == {str(first.design): "failed 3 times"}
        assert first.design not in {one.design for one in drive(live)}


def test_a_sample_that_fills_the_view_is_no_loss_of_the_beam(tmp_path, setup):
    """Where nothing sees air, projections differ as a whole from angle to angle."""
    stripes = (torch.arange(16) < 5).float().expand(2, 16, 16).contiguous()
    camera = Camera(stripes + 0.2, scale=0.2)
    with hold(tmp_path, replace(setup, scale=0.2, policy="uniform"), Deaf) as live:
        open_beam(live, camera)
        assert len(drive(live, camera=camera)) == setup.budget


def test_a_stage_that_stops_elsewhere_is_noticed(tmp_path, setup):
    """F8: the angle is measured again; within the tolerance, the angle that was reached is used."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        one = live.suggest()
        answer = expose(live, one, off=0.7)
        assert "read back 0.7 degrees, 0.7 from 0" in answer["reason"]
        again = live.suggest()
        assert again.design == one.design and expose(live, again, off=-0.2)["accepted"]
        assert live.state()["angles"] == [pytest.approx(-0.2)]


def test_a_second_scan_on_a_folder_is_rejected(tmp_path, setup):
    """F11: with the owner's name; a dead owner's lock is taken over (see the killed scans)."""
    with hold(tmp_path, setup) as live:
        with pytest.raises(ValueError, match=f"being written by process {os.getpid()}"), hold(tmp_path):
            pass
        assert live.suggest().id == 1
        with closing(Logbook(tmp_path / BOOK)) as reader:
            assert [event.kind for event in reader.events()] == ["begun", "suggested"]
    with pytest.raises(ValueError, match="already contains a live scan"), hold(tmp_path, setup):
        pass


def test_a_damaged_prior_is_rejected_before_the_first_exposure(tmp_path, setup):
    """F12."""
    prior = tmp_path / "prior"
    shutil.copytree(folder_of("chip-128"), prior)
    content = bytearray((prior / "prior.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (prior / "prior.safetensors").write_bytes(content)
    wrong = replace(setup, prior=str(prior), posterior="scout:prox")
    with pytest.raises(ValueError, match="prior"), hold(tmp_path / "scan", wrong):
        pass


class Deaf(Executor):
    """Never answers."""

    def submit(self, fn, /, *args, **kwargs):
        return Future()


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
    spawn = multiprocessing.get_context("fork")
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


def test_an_interrupted_scan_is_a_valid_file(tmp_path, setup):
    """F22: at any step, with flats and darks in their places; it reconstructs to the same image."""
    with hold(tmp_path, replace(setup, flats_every=3)) as live:
        with pytest.raises(ValueError, match="has measured nothing yet"):
            export(tmp_path, tmp_path / "scan.nxs")
        open_beam(live)
        for count in range(1, setup.budget + 1):
            one = live.suggest()
            if one.flats:
                open_beam(live)
            expose(live, one, off=0.1)
            assert export(tmp_path, tmp_path / "scan.nxs") == count
            raw = read_measured(str(tmp_path / "scan.nxs"))
            np.testing.assert_array_equal(raw.projections.read()[-1], CAMERA.frame(one.angle + 0.1))
            assert np.rad2deg(raw.angles[-1]) == pytest.approx(one.angle + 0.1)
        lines = Correction()(raw)
        for values, block in zip(lines.values, live.held.book.blocks(KEY), strict=True):
            np.testing.assert_allclose(values, block.values.numpy() * setup.scale, atol=0.03)
    assert sorted(set(raw.flats_after)) == [0, 3, 6]
    image = filtered_backprojection(lines.operator(), torch.from_numpy(lines.values[:, 0])[None])[0]
    truth = CAMERA.volume[0] * setup.scale
    assert np.corrcoef(image.flatten(), truth.flatten())[0, 1] > 0.8


def test_wishes_wait_for_room(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        fill(live)
        with pytest.raises(OSError, match="full"):
            for number in range(200):
                live.wish(Wish(str(number), "uniform", {}))
        make_room(live)
        assert live.wish(Wish("stop", "stop", {}))["granted"]


def test_an_alarm_makes_the_rest_uniform(tmp_path, setup):
    """F21: raised by surprises, kept in the record, and obeyed by the scan that goes on."""
    alarm = Watch(Alarm(drift=-3.0, threshold=5.0))  # two measurements of any surprise

    def watched(live):
        held = live.held
        uniform = InOrder(uniform_order(held.experiment.operator))
        held.experiment.policy = Guarded(held.experiment.policy, uniform, alarm)
        held.parts = replace(held.parts, alarm=alarm)
        return live

    with hold(tmp_path, setup) as live:
        open_beam(watched(live))
        found = drive(live, 5)
        state = live.state()
    assert state["alarm"]["by"] == "surprise" and state["alarm"]["at"] == 4
    assert [one.by for one in found] == [*["variance"] * 4, "uniform"] and found[-1].why == "alarm"
    with hold(tmp_path) as live:
        assert live.state()["alarm"] == state["alarm"]
        assert {one.by for one in drive(watched(live))} == {"uniform"}
