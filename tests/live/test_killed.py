"""A live scan is killed at any instant: whatever was acknowledged is there, and the choices are the same."""

import json
import os
import random
import signal
from contextlib import closing

import numpy as np
import pytest
import torch
from live.conftest import CAMERA, SETUP, expose, open_beam
from processes import server

from tomopilot.files.logbook import Logbook
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK, KEY

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
    rng, hits = random.Random(seed), 0
    for kill in range(1000):
        process = server().Process(target=operate, args=(folder, folder / "acknowledged"))
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
