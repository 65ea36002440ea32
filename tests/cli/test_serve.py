"""`tomopilot serve`, `watch` and `resume` of a live scan."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from live.conftest import CAMERA, SETUP, open_beam

from tomopilot.beamline.client import Client, ServiceError
from tomopilot.beamline.server import listen
from tomopilot.live.live import hold
from tomopilot.live.record import begin

TOML = """
columns = 16
rows = 2
angles = 24
scale = 0.05
posterior = "bootstrap(steps=8)"
policy = "variance"
count = 4
start = 2
budget = 8
scouts = 2
"""


def refused(outcome, *words):
    assert outcome.status == 2 and outcome.out == "" and "Traceback" not in outcome.err
    assert all(word in outcome.err for word in words), outcome.err


@pytest.fixture
def live_folder(tmp_path):
    begin(tmp_path / "scan", SETUP)
    return tmp_path / "scan"


@pytest.mark.parametrize("command", [("serve", "--out"), ("watch",)], ids=["serve", "watch"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "beamline.example"])
def test_other_machines_are_let_in_only_on_purpose(call, live_folder, command, host):
    refused(call(*command, live_folder, "--host", host), host, "--allow-remote", "SSH")


@pytest.mark.parametrize("command", [("serve", "--out"), ("watch",)], ids=["serve", "watch"])
def test_a_folder_without_a_live_scan(call, tmp_path, command):
    refused(call(*command, tmp_path / "none"), str(tmp_path / "none"), "serve --setup")
    assert not (tmp_path / "none").exists()


def test_a_setup_that_is_wrong(call, tmp_path):
    setup = tmp_path / "scan.toml"
    setup.write_text(TOML.replace("columns = 16", 'columns = "wide"'))
    refused(call("serve", "--out", tmp_path / "scan", "--setup", setup), str(setup), "columns")
    refused(call("serve", "--out", tmp_path / "scan", "--setup", tmp_path / "none.toml"), "none.toml")
    assert not (tmp_path / "scan").exists()


def test_a_new_scan_never_replaces_one(call, live_folder, tmp_path):
    (tmp_path / "scan.toml").write_text(TOML)
    outcome = call("serve", "--out", live_folder, "--setup", tmp_path / "scan.toml")
    refused(outcome, "already contains a live scan")


def test_what_is_not_installed_is_named(call, live_folder, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else found(name))
    refused(call("watch", live_folder), "fastapi", "pip install 'tomopilot[live]'")


def test_a_port_that_is_taken(call, live_folder):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        refused(call("watch", live_folder, "--port", port), f"127.0.0.1:{port}", "another --port")


def test_a_token_that_others_can_read(call, live_folder, tmp_path):
    token = tmp_path / "token"
    token.write_text("x" * 43)
    token.chmod(0o644)
    refused(call("watch", live_folder, "--token-file", token), str(token), "read by others")


def test_a_scan_that_is_held(call, live_folder):
    with hold(live_folder):
        refused(call("serve", "--out", live_folder, "--port", 0), "is being written by process")


def test_resume_of_a_live_scan_takes_no_workers(call, live_folder):
    refused(call("resume", live_folder, "--workers", 2), "live scan", "no options")


class Served:
    """A command that serves, until it is told to end."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "tomopilot", *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"open (http://127\.0\.0\.1:\d+)/\?token=([\w-]{43})\n", line)
        assert found, line + self.process.communicate()[1]
        self.url, self.token = found.groups()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        out, err = self.process.communicate()
        assert (self.process.returncode, out, err) == (0, "", "")


def test_a_scan_is_served_and_resumed(tmp_path):
    """Half of it by each command; it is the scan that calls would have made."""
    setup, out = tmp_path / "scan.toml", tmp_path / "scan"
    setup.write_text(TOML)
    angles = []

    def go_on(served, most):
        client = Client(served.url, out / "token")
        if not client.state()["measured"]:
            client.darks(CAMERA.darks())
            client.flats(CAMERA.flats())
        for _ in range(most):
            try:
                one = client.suggest()
            except ServiceError as over:
                assert over.code == "over"
                return client.state()
            angles.append(one["angle"])
            assert client.tell(one["id"], CAMERA.frame(one["angle"]), one["angle"])["accepted"]
        return client.state()

    with Served("serve", "--out", out, "--setup", setup, "--port", 0) as served:
        token = served.token
        assert go_on(served, 5)["measured"] == 5
    assert not (out / "lock").exists()
    with Served("serve", "--out", out, "--port", 0) as served:
        assert served.token == token
        assert go_on(served, 10)["mode"] == "finished"
    with hold(tmp_path / "calls", replace(SETUP)) as live:
        open_beam(live)
        for angle in angles:
            one = live.suggest()
            assert one.angle == angle
            live.tell(one.id, CAMERA.frame(angle), np.float64(angle))
    assert json.loads(json.dumps(angles)) == live.state()["angles"]
