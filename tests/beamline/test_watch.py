"""A viewer in a process of its own is killed again and again: the scan, and its readers, miss nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest
from beamline.conftest import BEARER, TOKEN
from live.conftest import CAMERA, SETUP, Deaf, open_beam
from processes import server

from tomopilot.beamline.server import listen
from tomopilot.cli.serve import watch
from tomopilot.live.live import hold

PATIENCE = 1500  # seconds for a process to start, on a machine however busy


def forked(folder, port):
    """A viewer of a scan, of a process that has loaded all it needs: many start soon."""
    process = server().Process(target=watch, args=(folder, "127.0.0.1", port, None, False))
    process.start()
    return process


def start(folder, port):
    """A viewer of a scan, by its command."""
    words = [sys.executable, "-m", "tomopilot", "watch", str(folder), "--port", str(port)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Reader(threading.Thread):
    """Follows the events as a browser does: it comes back with the last number that it has seen."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url, self.seen, self.beats, self.over = f"http://127.0.0.1:{port}", [], 0, False
        # one client: each reads its certificates, and the scan that is timed would wait for that
        self.client = httpx.Client(headers=BEARER, timeout=5)

    def run(self):
        while not self.over:
            try:
                self.read({"Last-Event-ID": str(self.seen[-1])} if self.seen else {})
            except httpx.HTTPError:
                time.sleep(0.1)
        self.client.close()

    def read(self, headers):
        with self.client.stream("GET", f"{self.url}/api/events", headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    self.seen.append(int(line.removeprefix("id: ")))
                self.beats += line.startswith("data: ") and "alive" in json.loads(line.removeprefix("data: "))
                if self.over:
                    return


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the viewer does not answer"
        time.sleep(0.05)


LONG = replace(SETUP, angles=1024, budget=1024, policy="uniform")
STEPS, EXPOSURE = 10, 0.02  # measured beside a viewer, around its death and after it; seconds


def measure(live, count):
    """Seconds that each of so many steps takes."""
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        one = live.suggest()
        time.sleep(EXPOSURE)
        live.tell(one.id, CAMERA.frame(one.angle))
        seconds.append(time.perf_counter() - begun)
    return seconds


@pytest.mark.fault
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_viewer_is_killed_while_a_scan_runs(tmp_path, kills):
    """Fault F2: no event is missing, none comes twice, and the scan does not wait for a dead viewer."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    steps, chance = {"beside a viewer": [], "around its death": [], "after it": []}, random.Random(0)
    with hold(tmp_path, LONG, Deaf) as live:
        open_beam(live)
        reader = Reader(port)
        reader.start()
        for _ in range(kills):
            viewer, before = forked(tmp_path, port), reader.beats
            wait_for(lambda before=before: reader.beats > before)
            steps["beside a viewer"] += measure(live, STEPS)
            end = threading.Timer(chance.uniform(0, STEPS * EXPOSURE), os.kill, [viewer.pid, signal.SIGKILL])
            end.start()
            steps["around its death"] += measure(live, STEPS)
            end.join()
            viewer.join()
            steps["after it"] += measure(live, STEPS)
        viewer = start(tmp_path, port)
        last = live.held.ledger.last
        wait_for(lambda: reader.seen and reader.seen[-1] >= last)
        stop = httpx.post(f"{reader.url}/api/wishes", headers=BEARER, json={"key": "s", "name": "stop"})
        reader.over = True
        viewer.terminate()
        out, _ = viewer.communicate()
        assert stop.json()["granted"] and live.state()["mode"] == "stopped"
        assert viewer.returncode == 0 and TOKEN in out and "Traceback" not in out, out
        recorded = [event.number for event in live.held.book.events()]
        reader.join()
    assert reader.seen == [*range(1, len(reader.seen) + 1)] and last <= len(reader.seen) <= len(recorded)
    print(f"{kills} kills of the viewer: {len(reader.seen)} events, none missing, none twice")
    medians = {name: np.median(np.reshape(seconds, (kills, STEPS)), 1) for name, seconds in steps.items()}
    for name, found in medians.items():
        change = 100 * (found / medians["beside a viewer"] - 1)
        band = 2 * change.std(ddof=1) / kills**0.5
        print(f"steps {name}: {1000 * np.median(found):.1f} ms, {change.mean():+.1f} ± {band:.1f} %")
