"""The operator's page in a browser, before a scan that a process of its own holds and serves."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live.conftest import CAMERA, SETUP

import tomopilot
from tomopilot.beamline.client import Client, ServiceError
from tomopilot.files.logbook import Logbook
from tomopilot.live.record import BOOK, begin

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SOON = 5.0  # seconds; promised are 1 for STOP and 2 for STALE, on a machine that does nothing else


class Service:
    """A scan that a process of its own holds and serves, always under the same address."""

    def __init__(self, folder: Path) -> None:
        begin(folder, SETUP)
        self.folder, self.process = folder, None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        """Also again, after `kill`."""
        command = [sys.executable, "-m", "tomopilot", "serve", "--out", self.folder, "--port", str(self.port)]
        path = os.pathsep.join([str(Path(tomopilot.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        said = self.process.stdout.readline().split()
        assert said[:1] == ["open"], said
        self.url = said[1]
        self.client = Client(self.url.partition("?")[0], self.folder / "token", patience=30)

    def kill(self) -> None:
        if self.process and self.process.stdout:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def measure(self, count: int) -> None:
        for _ in range(count):
            one = self.client.suggest()
            assert self.client.tell(one["id"], CAMERA.frame(one["angle"]), one["angle"])["accepted"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A scan with flats and darks, and nothing measured."""
    service = Service(tmp_path / "scan")
    try:
        service.start()
        service.client.darks(CAMERA.darks())
        service.client.flats(CAMERA.flats())
        yield service
    finally:
        service.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, service: Service) -> Iterator[Any]:
    """The page of a scan. Nothing may leave its origin, nor be said in the console while it is served."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    origin, said, asked = service.url.partition("/?")[0], [], []
    gone = "net::ERR_"  # what the browser says of a server that was killed
    page.on("console", lambda message: gone in message.text or said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(service.url)
        seconds_until(page, "document.body.dataset.event !== undefined")
        yield page
    finally:
        context.close()
    assert said == []
    assert {url for url in asked if not url.startswith((origin + "/", "data:"))} == set()
    assert not any("token=" in url for url in asked[1:])


def seconds_until(page: Any, condition: str, timeout: float = 30.0) -> float:
    """Until a JavaScript condition holds; looked at from here, for the page may not evaluate strings."""
    began = time.monotonic()
    while not page.evaluate(condition):
        assert time.monotonic() - began < timeout, f"{condition} does not become true"
        page.wait_for_timeout(20)
    return time.monotonic() - began


def shows(page: Any, id: str, words: str, timeout: float = 30.0) -> float:
    """Seconds until an element shows words."""
    return seconds_until(page, f"document.getElementById({id!r}).textContent.includes({words!r})", timeout)


def answered(page: Any, command: str, timeout: float = 30.0) -> float:
    """Seconds until a command is acknowledged by an event."""
    said = f"/{command}: acknowledged by event \\d+/"
    return seconds_until(page, f"{said}.test(document.getElementById('commands').textContent)", timeout)


def painted(page: Any, id: str) -> int:
    """Different grey values of a canvas."""
    return page.evaluate(
        "id => { const c = document.getElementById(id); const seen = new Set();"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " for (let n = 0; n < d.length; n += 4) seen.add(d[n]); return seen.size }",
        id,
    )


@pytest.mark.browser
def test_panels_fill_while_a_scan_runs(service, browser):
    with opened(browser, service) as page:
        service.measure(4)
        one = service.client.suggest()  # outstanding
        dark = CAMERA.frame(one["angle"], beam=0.3)
        assert not service.client.tell(one["id"], dark, one["angle"])["accepted"]
        again = service.client.suggest()
        assert (again["by"], again["angle"]) == ("again", one["angle"])
        shows(page, "estimate-note", "of 4 projections, mean of 4 samples")
        shows(page, "frame-flags", "weaker")
        state = service.client.state()
        seconds_until(page, f"document.body.dataset.event === '{state['event']}'")
        seconds_until(page, f"document.getElementById('angles').dataset.next === '{again['angle']:g}'")

        taken = page.get_attribute("#angles", "data-taken")
        assert [float(angle) for angle in taken.split(",")] == state["angles"]
        assert len(state["angles"]) == 4
        assert min(painted(page, id) for id in ("estimate", "uncertainty", "sample", "frame")) > 10
        for id in ("angles", "gain", "spread", "profile"):
            assert page.locator(f"#{id} path.js-line, #{id} .scatterlayer path").count() > 0, id
        assert page.inner_text("#count") == "4"
        assert "4 of 8" in page.inner_text("#budgets")
        assert "left out: its beam is 70% weaker" in page.inner_text("#log")
        assert page.evaluate("document.documentElement.scrollHeight") <= 800

        page.focus("#slice")
        page.keyboard.press("ArrowRight")
        shows(page, "slice-shown", "2 of 2, row 1")
        page.click("#later")
        shows(page, "sample-shown", "2 of 4")
        page.keyboard.press("u")
        shows(page, "uncertainty-high", "times the noise")
        assert page.get_attribute("#doubt", "aria-pressed") == "true" and painted(page, "uncertainty") > 10
        page.click("#doubt")
        shows(page, "doubt-shown", "Standard deviation")
        assert (page.get_attribute("body", "data-gaps"), page.get_attribute("body", "data-duplicates")) == (
            "0",
            "0",
        )


@pytest.mark.browser
def test_stop_is_acknowledged(service, browser):
    with opened(browser, service) as page:
        service.measure(2)
        one = service.client.suggest()
        page.click("#stop")
        took = answered(page, "Stop", SOON)
        print(f"STOP acknowledged after {took:.2f} s; {page.inner_text('#commands')}")
        shows(page, "mode", "stopped", SOON)
        with pytest.raises(ServiceError, match="stopped"):
            service.client.suggest()
        assert service.client.tell(one["id"], CAMERA.frame(one["angle"]), one["angle"])["accepted"]
        shows(page, "count", "3")
        shows(page, "control-note", "The scan is stopped: nothing more can be asked of it")
        assert page.is_disabled("#stop")
        assert page.is_disabled("#pause")


@pytest.mark.browser
def test_stop_by_keyboard_takes_two_presses(service, browser):
    with opened(browser, service) as page:
        seconds_until(page, "document.activeElement === document.body")
        page.keyboard.press("s")
        shows(page, "stop", "Press again to stop")
        shows(page, "stop", "STOP", 10)  # nobody did
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "stop"
        page.keyboard.press("Enter")
        shows(page, "stop", "Press again to stop")
        assert service.client.state()["mode"] == "running"
        page.focus("#angle")
        page.keyboard.press("s")
        answered(page, "Stop", SOON)
        assert service.client.state()["mode"] == "stopped"


@pytest.mark.browser
def test_every_command_is_answered(service, browser):
    with opened(browser, service) as page:
        service.measure(2)
        page.click("#pause")
        answered(page, "Pause")
        shows(page, "pause", "Resume")
        with pytest.raises(ServiceError, match="paused"):
            service.client.suggest()
        page.keyboard.press("p")
        answered(page, "Resume")
        page.fill("#angle", "33.3")
        page.click("#force button")
        answered(page, "Measure next 30°")
        seconds_until(page, "document.getElementById('angles').dataset.forced === '30'")
        shows(page, "angles-note", "forced, waiting: 30°")
        page.fill("#angle", "31")
        page.keyboard.press("Enter")
        shows(page, "commands", "refused: 30 degrees are asked for already")
        one = service.client.suggest()
        assert (one["angle"], one["by"]) == (30.0, "operator")
        page.click("#uniform")
        answered(page, "Finish uniformly")
        shows(page, "states", "uniform order")
        assert service.client.suggest()["by"] == "uniform"
        page.click("#uniform")
        answered(page, "Adaptive again")


@pytest.mark.browser
@pytest.mark.fault
def test_a_dead_scan_is_stale_and_is_caught_up_with(service, browser):
    with opened(browser, service) as page:
        service.measure(3)
        shows(page, "count", "3")
        assert page.is_hidden("#stale")
        service.kill()
        took = shows(page, "stale", "STALE", SOON)
        print(f"STALE after {took:.2f} s: {page.inner_text('#stale')}")
        page.click("#pause")
        shows(page, "commands", "no answer: the scan does not respond; trying again")

        service.start()
        service.client.state()
        answered(page, "Pause")
        service.client.wish("resume")
        service.measure(3)
        state = service.client.state()
        seconds_until(page, f"document.body.dataset.event >= {state['event']}")
        shows(page, "count", "6")
        assert page.is_hidden("#stale")
        assert page.evaluate("document.body.dataset.gaps + ' ' + document.body.dataset.duplicates") == "0 0"
        lines = page.eval_on_selector_all("#log li", "lines => lines.map(line => line.title)")
        last = int(lines[0].split()[1])
        assert last >= state["event"] - 1  # the latest one may be of those that are not shown
        with closing(Logbook(service.folder / BOOK)) as book:
            known = [event.number for event in book.events() if event.kind != "used" and event.number <= last]
            assert [wish.name for wish in book.wishes()] == ["pause", "resume"]  # tried many times, left once
        assert lines == [f"event {number}" for number in reversed(known)]
