"""Live scans without a pause, with faults at random: what is lost, and how memory grows.

    python benchmarks/soak.py --minutes 60 --out runs/soak

A service in a process of its own, a control system that asks and tells, and a watcher of the events. At
random: the service is killed and started again; projections are told twice, in another order, or spoiled;
angles fail; an operator pauses, resumes and forces angles. Scans follow each other until the time is over.
At the end of each, every acknowledged projection is looked for in the record and in the exported file, and
the events that the watcher saw are compared with the record's.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from tomopilot.beamline.client import Client, ServiceError
from tomopilot.files.logbook import Logbook
from tomopilot.live.export import export
from tomopilot.live.record import BOOK
from tomopilot.raw.door import read_measured
from tomopilot.simulate.camera import Camera

ROWS, COLUMNS, SCALE, BUDGET = 4, 64, 0.02, 120
SETUP = f"""
columns = {COLUMNS}
rows = {ROWS}
bins = 32
scale = {SCALE}
posterior = "bootstrap(steps=20)"
count = 4
budget = {BUDGET}
flats_every = 40
deadline = 5
"""


def camera(seed: int) -> Camera:
    """Blobs that change from scan to scan."""
    noise = torch.rand(ROWS, 1, COLUMNS, COLUMNS, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 9, 1, 4, count_include_pad=False)[:, 0]
    return Camera((smooth > smooth.median()).float(), SCALE, seed=seed)


class Service:
    """`tomopilot serve` in a process of its own, which may be killed."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.kills, self.memory = folder, port, 0, []
        (folder.parent / "setup.toml").write_text(SETUP)
        self.start("--setup", str(folder.parent / "setup.toml"))

    def start(self, *more: str) -> None:
        command = [
            sys.executable,
            "-m",
            "tomopilot",
            "serve",
            "--out",
            str(self.folder),
            "--port",
            str(self.port),
        ]
        log = (self.folder.parent / f"{self.folder.name}.log").open("a")
        self.process = subprocess.Popen([*command, *more], stdout=log, stderr=log)

    def kill(self) -> None:
        self.measure()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.start()

    def stop(self) -> None:
        self.measure()
        self.process.terminate()
        self.process.wait()

    def measure(self) -> None:
        """Resident memory, MB."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return
        found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]
        self.memory += found


class Watcher(threading.Thread):
    """Follows the numbered events as the page does, over lost connections."""

    def __init__(self, url: str, token: Path) -> None:
        super().__init__(daemon=True)
        self.url, self.token, self.seen, self.over = url, token, [], threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                headers = {"Authorization": f"Bearer {self.token.read_text().strip()}"}
                if self.seen:
                    headers["Last-Event-ID"] = str(self.seen[-1])
                request = urllib.request.Request(f"{self.url}/api/events", headers=headers)
                with urllib.request.urlopen(request, timeout=10) as stream:
                    for line in stream:
                        if line.startswith(b"id:"):
                            self.seen.append(int(line[3:]))
                        if self.over.is_set():
                            return
            except OSError:
                time.sleep(0.2)


def spoiled(frame: np.ndarray, rng: random.Random) -> np.ndarray:
    kind = rng.choice(["nan", "full", "dark", "narrow"])
    if kind == "nan":
        return np.where(np.arange(frame.size).reshape(frame.shape) % 7 == 0, np.nan, frame.astype(float))
    if kind == "narrow":
        return frame[:, :-1]
    return np.full_like(frame, 65535 if kind == "full" else 0)


def scan(out: Path, number: int, rng: random.Random, until: float, pause: float) -> dict:
    """One scan, or what is left of the time of it."""
    folder, port, view = out / f"scan-{number}", 18000 + number % 1000, camera(number)
    service = Service(folder, port)
    url, token = f"http://127.0.0.1:{port}", folder / "token"
    while not token.exists():
        time.sleep(0.1)
    client, watcher = Client(url, token, patience=600.0), Watcher(url, token)
    told: dict[int, tuple[float, int]] = {}  # acknowledged: angle and event
    faults = dict.fromkeys(("kill", "twice", "spoiled", "failed", "paused", "forced", "exchanged"), 0)
    client.darks(view.darks())
    client.flats(view.flats())
    waiting: list[dict] = []
    while time.monotonic() < until:
        chance = rng.random()
        time.sleep(pause * rng.random())
        try:
            if not waiting or (chance < 0.2 and len(waiting) < 3):
                waiting.append(client.suggest())
                continue
        except ServiceError as error:
            if error.code == "over" and not waiting:
                break
            if error.code not in ("over", "paused"):
                raise
        if waiting and waiting[0]["flats"]:
            client.flats(view.flats())
        faults["exchanged"] += len(waiting) > 1
        one = waiting.pop(rng.randrange(len(waiting)))
        frame = view.frame(one["angle"])
        if chance > 0.97:
            faults["failed"] += 1
            client.fail(one["id"], "the motor stalled")
            continue
        if chance > 0.94:
            faults["spoiled"] += 1
            answer = client.tell(one["id"], spoiled(frame, rng), one["angle"])
            assert not answer["accepted"], answer
            continue
        if chance > 0.9:
            faults["kill"] += 1
            threading.Timer(rng.random() * 0.3, service.kill).start()
        answer = client.tell(one["id"], frame, one["angle"])
        assert answer["accepted"], answer
        told[one["id"]] = (one["angle"], answer["event"])
        if chance < 0.05:
            faults["twice"] += 1
            assert client.tell(one["id"], frame, one["angle"]) == answer
        elif chance < 0.08:
            faults["paused"] += 1
            client.wish("pause")
            client.wish("resume")
        elif chance < 0.1:
            faults["forced"] += 1
            client.wish("force", rng.uniform(0, 180))
        service.measure()
    time.sleep(2)
    state = client.state()
    watcher.over.set()
    service.stop()
    memory = {"memory_first": service.memory[0], "memory_most": max(service.memory)}
    row = {"scan": number, "kills": service.kills, **faults, **memory}
    return row | check(folder, view, told, watcher.seen, state)


def check(folder: Path, view: Camera, told: dict, seen: list[int], state: dict) -> dict:
    """What is lost of what was acknowledged, and of what the page was shown."""
    lost = 0
    with closing(Logbook(folder / BOOK)) as book:
        events = book.events()
        for id, (angle, number) in told.items():
            content, frame = events[number - 1].content, book.frames(number)
            there = content.get("id") == id and frame is not None and np.array_equal(frame, view.frame(angle))
            lost += not there
        (health,) = book.connection.execute("pragma integrity_check").fetchone()
    count = export(folder, folder / "scan.nxs")
    raw = read_measured(str(folder / "scan.nxs"))
    gaps = len(set(range(1, state["event"] + 1)) - set(seen))
    return {
        "acknowledged": len(told), "lost": lost, "exported": count, "read": len(raw.angles), "health": health,
        "gaps": gaps, "duplicates": len(seen) - len(set(seen)), "state": state["measured"] == count,
        "record_mb": os.path.getsize(folder / BOOK) / 2**20,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two requests, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    until, rng, number = time.monotonic() + 60 * given.minutes, random.Random(given.seed), 0
    while time.monotonic() < until:
        row = scan(given.out, number, rng, until, given.pause)
        with (given.out / "soak.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        number += 1


if __name__ == "__main__":
    main()
