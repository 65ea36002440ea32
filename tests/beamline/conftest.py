"""A scan of the small beamline of tests/live and its service: called directly, or over a socket."""

import io
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fastapi import FastAPI
from live.conftest import CAMERA, SETUP, open_beam
from starlette.testclient import TestClient

from tomopilot.beamline.security import Gate
from tomopilot.beamline.server import address_of, listen, server_of
from tomopilot.beamline.service import make_app
from tomopilot.beamline.viewer import Viewer
from tomopilot.live.live import Live, hold

TOKEN = "t" * 43
HOST = "127.0.0.1:8765"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Site(NamedTuple):
    """A scan that is held, and its service."""

    live: Live
    viewer: Viewer
    app: FastAPI
    http: TestClient


@contextmanager
def serving(folder: Path, live: Live | None) -> Iterator[tuple[Viewer, FastAPI, TestClient]]:
    """The service of a scan without sockets; requests have the token."""
    with closing(Viewer(folder)) as viewer:
        app = make_app(viewer, Gate(TOKEN), live)
        with TestClient(
            app, f"http://{HOST}", headers=BEARER, raise_server_exceptions=False, follow_redirects=False
        ) as http:
            yield viewer, app, http


@contextmanager
def listening(folder: Path, live: Live | None = None) -> Iterator[str]:
    """The address of a service that listens."""
    with closing(Viewer(folder)) as viewer, listen("127.0.0.1", 0) as socket:
        server = server_of(make_app(viewer, Gate(TOKEN), live))
        thread = threading.Thread(target=server.run, args=([socket],))
        thread.start()
        try:
            yield address_of(socket)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A scan with flats and darks."""
    with hold(tmp_path, SETUP) as live:
        open_beam(live)
        with serving(tmp_path, live) as made:
            yield Site(live, *made)


def npy(array: np.ndarray) -> bytes:
    """As numpy.save writes it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def measure(site: Site, count: int) -> None:
    """Measures so many projections, over HTTP."""
    for _ in range(count):
        one = site.http.post("/api/suggest", json={}).json()
        told = site.http.post(f"/api/tell/{one['id']}", content=npy(CAMERA.frame(one["angle"])))
        assert told.json()["accepted"], told.json()


@pytest.fixture(scope="module")
def engine():
    """Bluesky's, where it is installed."""
    from bluesky import RunEngine

    return RunEngine(context_managers=[], call_returns_result=True)


@pytest.fixture(scope="module")
def whole(engine, tmp_path_factory):
    """What a scan by Bluesky measures that nothing interrupts: angles and frames."""
    from beamline.runs import Classic, scan, told

    folder = tmp_path_factory.mktemp("whole")
    with scan(folder) as live:
        engine(Classic(engine, folder).plan(live))
        return told(live)
