"""The service of a live scan: every route, and what it says where something is wrong."""

import json
import socket
import threading
import time
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace

import h5py
import httpx
import numpy as np
import pytest
import torch
from beamline.conftest import BEARER, listening, measure, npy, serving
from live.conftest import CAMERA, SETUP, drive, open_beam
from numpy.testing import assert_array_equal

from tomopilot.beamline.raw_view import raw_view
from tomopilot.beamline.viewer import Viewer, as_json
from tomopilot.beamline.watching import STREAMS
from tomopilot.beamline.work import SLOW
from tomopilot.live.detector import Detector
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import ALIVE, begin, slot_of


def wish(http, name, key=None, **content):
    return http.post("/api/wishes", json={"key": key or f"{name} {time.monotonic()}", "name": name} | content)


def numbers(answer):
    """The array of an answer."""
    shape = int(answer.headers["x-rows"]), int(answer.headers["x-columns"])
    return np.frombuffer(answer.content, "<f4").reshape(shape)


def test_a_scan_over_http_is_that_of_calls(site, tmp_path):
    measure(site, SETUP.budget)
    with hold(tmp_path / "calls", SETUP) as live:
        open_beam(live)
        expected = drive(live)
    over = site.http.post("/api/suggest", json={})
    state = site.http.get("/api/state").json()
    assert state["angles"] == [one.angle for one in expected]
    assert over.status_code == 409 and over.json()["code"] == "over"
    assert state["mode"] == "finished" and state["alive"] and state["holds"] and state["stuck"] is None


def test_flats_and_darks_over_http_are_kept(tmp_path):
    with hold(tmp_path, SETUP) as live, serving(tmp_path, live) as (_, _, http):
        darks = http.post("/api/fields/darks", content=npy(CAMERA.darks()))
        flats = http.post("/api/fields/flats", content=npy(np.asfortranarray(CAMERA.flats())))
        assert (darks.json(), flats.json()) == ({"event": 2}, {"event": 3})
        assert_array_equal(live.held.book.frames(2), CAMERA.darks())
        assert_array_equal(live.held.book.frames(3), CAMERA.flats())


def test_the_same_key_is_the_same_suggestion(site):
    first, again, other = (site.http.post("/api/suggest", json={"key": key}).json() for key in "aab")
    assert first == again and other["id"] == first["id"] + 1


def test_a_sweep_over_http_is_that_of_calls(site, tmp_path):
    measure(site, 2)
    swept = site.http.post("/api/sweep", json={"count": 3, "key": "a"}).json()
    assert site.http.post("/api/sweep", json={"count": 3, "key": "a"}).json() == swept
    with hold(tmp_path / "calls", SETUP) as live:
        open_beam(live)
        drive(live, 2)
        expected = live.sweep(3)
    assert swept == [asdict(replace(one, key="a")) for one in expected]
    rest = site.http.post("/api/sweep", json={"count": 1000}).json()
    assert len(rest) == SETUP.budget - 5
    wrong = [
        site.http.post("/api/sweep", json={"count": count}).status_code for count in (0, 1001, "x", None)
    ]
    assert wrong == [400] * 4


def test_forced_angles_are_shown_while_they_wait(site):
    for angle in (30, 90, 120):
        assert wish(site.http, "force", angle=angle).json()["granted"]
    assert site.http.get("/api/state").json()["forced"] == [30.0, 90.0, 120.0]
    assert site.http.post("/api/suggest", json={}).json()["angle"] == 30.0
    assert site.http.get("/api/state").json()["forced"] == [90.0, 120.0]


def test_setup_and_angles(site):
    said, angles = site.http.get("/api/setup").json(), site.http.get("/api/angles").json()
    assert said["slices"] == [0, 1] and said["columns"] == SETUP.columns and said["budget"] == SETUP.budget
    np.testing.assert_allclose(angles, np.arange(24) * 7.5)


def test_estimates_are_those_of_the_record(site):
    measure(site, 4)
    site.live.suggest()  # waits for the samples
    latest = site.live.held.ledger.draws[-1]
    samples = site.live.held.book.estimate(slot_of(latest["slot"]), latest["told"])["images"]
    for number in ("latest", latest["told"]):
        mean = site.http.get(f"/api/images/{number}", params={"slice": 1})
        std = site.http.get(f"/api/images/{number}", params={"slice": 1, "what": "std"})
        one = site.http.get(f"/api/images/{number}", params={"what": "sample", "sample": 3})
        assert (mean.headers["x-slices"], mean.headers["x-samples"]) == ("2", "4")
        torch.testing.assert_close(torch.tensor(numbers(mean)), samples[:, 1].mean(0))
        torch.testing.assert_close(torch.tensor(numbers(std)), samples[:, 1].std(0))
        assert_array_equal(numbers(one), samples[3, 0])


def test_what_no_sample_had_predicted(site):
    """A bar across one detector row, from the third projection on: it is where the data had more."""
    assert unpredicted(site, 0).status_code == 404
    for _ in range(7):
        one = site.live.suggest()
        frame = CAMERA.frame(one.angle)
        if site.live.held.experiment.told:
            frame[1, 7:9] = frame[1, 7:9] * 0.5
        assert site.live.tell(one.id, frame)["accepted"]
    plain, barred = (numbers(unpredicted(site, row)) for row in (0, 1))
    assert plain.shape == barred.shape == (16, 16)
    assert barred[7:9, 7:9].mean() > 3 > plain[7:9, 7:9].mean()
    assert unpredicted(site, 2).status_code == 404


def unpredicted(site, row):
    return site.http.get("/api/images/latest", params={"what": "unpredicted", "slice": row})


def test_an_estimate_that_is_no_longer_kept(site):
    measure(site, 8)
    first = site.live.held.ledger.draws[0]["told"]
    gone = [site.http.get(f"/api/images/{told}") for told in (first, 77)]
    beyond = site.http.get("/api/images/latest", params={"slice": 2})
    assert [answer.status_code for answer in (*gone, beyond)] == [404] * 3
    assert "no longer kept" in gone[0].json()["message"] and "77" in gone[1].json()["message"]
    assert "2 slices" in beyond.json()["message"]


def test_frames_with_their_flags(site):
    one = site.live.suggest()
    frame = CAMERA.frame(one.angle)
    frame[0, 3], frame[1, 5], frame[1, 6] = 65535, 0, 0
    event = site.live.tell(one.id, frame)["event"]
    answer = site.http.get(f"/api/frames/{event}")
    assert_array_equal(numbers(answer), frame)
    assert (answer.headers["x-saturated"], answer.headers["x-bad"]) == ("1", "2")
    row = site.http.get(f"/api/frames/{event}", params={"row": 1})
    assert_array_equal(numbers(row), frame[1:])
    assert (row.headers["x-saturated"], row.headers["x-bad"]) == ("0", "2")
    np.testing.assert_allclose(numbers(site.http.get("/api/frames/3")), CAMERA.flats().mean(0), rtol=1e-6)


def test_a_frame_of_another_shape_is_shown_all_the_same(site):
    one = site.live.suggest()
    event = site.live.tell(one.id, CAMERA.frame(one.angle)[:, :7])["event"]
    assert_array_equal(numbers(site.http.get(f"/api/frames/{event}")), CAMERA.frame(one.angle)[:, :7])


def test_large_frames_are_averaged():
    frame = np.arange(1024 * 2048, dtype=np.uint32).reshape(1024, 2048)
    shown = raw_view(Detector(replace(SETUP, rows=1024, columns=2048)), frame, None, None).values
    np.testing.assert_allclose(shown, frame.reshape(512, 2, 512, 4).mean((1, 3)), rtol=1e-5)


def test_the_file_of_the_scan(site, tmp_path):
    early = site.http.get("/api/scan.nxs")
    assert (early.status_code, early.json()["code"]) == (409, "empty")
    assert "nothing is measured yet" in early.json()["message"]
    measure(site, 3)
    answer = site.http.get("/api/scan.nxs")
    (tmp_path / "scan.nxs").write_bytes(answer.content)
    with h5py.File(tmp_path / "scan.nxs") as file:
        keys = file["entry/instrument/detector/image_key"][:]
    assert [(keys == kind).sum() for kind in range(3)] == [3, 10, 5]
    assert not list(tmp_path.glob("*.partial"))


def read_events(url, count, **headers):
    """So many events of a stream, and the beats between them."""
    events, beats = [], []
    with httpx.stream("GET", f"{url}/api/events", headers=BEARER | headers, timeout=60) as answer:
        lines = answer.iter_lines()
        while len(events) < count or not beats:
            fields = {}
            while line := next(lines):
                name, _, value = line.partition(": ")
                fields[name] = value
            if fields["event"] == "beat":
                beats.append(json.loads(fields["data"]))
            else:
                events.append(fields)
    return events, beats


def test_events_are_told_in_order_and_from_anywhere(site):
    measure(site, 3)
    with listening(site.live.folder, site.live) as url:
        events, beats = read_events(url, 9)
        rest, _ = read_events(url, 4, **{"Last-Event-ID": "5"})
        other, _ = read_events(url, 9, **{"Last-Event-ID": "4000"})
    record = site.live.held.book.events()
    assert [int(one["id"]) for one in events] == [*range(1, len(events) + 1)]
    assert [json.loads(one["data"]) for one in events] == [one._asdict() for one in record[: len(events)]]
    assert [one["event"] for one in events] == [one.kind for one in record[: len(events)]]
    assert [int(one["id"]) for one in rest[:4]] == [6, 7, 8, 9]
    assert [int(one["id"]) for one in other[:9]] == [*range(1, 10)]
    assert beats[0]["alive"] and beats[0]["event"] >= 9


def test_too_many_streams(site):
    with ExitStack() as closed, listening(site.live.folder, site.live) as url:
        with ExitStack() as streams:
            for _ in range(STREAMS):
                one = streams.enter_context(httpx.Client(headers=BEARER, timeout=60))
                lines = streams.enter_context(one.stream("GET", f"{url}/api/events")).iter_lines()
                assert next(lines)
                closed.callback(lines.close)  # not before
            refused = httpx.get(f"{url}/api/events", headers=BEARER)
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
            stop = httpx.post(f"{url}/api/wishes", headers=BEARER, json={"key": "s", "name": "stop"})
            assert stop.json()["granted"]
        time.sleep(1)  # until those that were closed are noticed
        events, _ = read_events(url, 3)
        assert [one["event"] for one in events[:3]] == ["begun", "darks", "flats"]


def test_wishes_are_answered_by_the_holder(site):
    http = site.http
    assert wish(http, "pause").json()["granted"]
    paused = http.post("/api/suggest", json={})
    assert (paused.status_code, paused.json()["code"]) == (409, "paused")
    assert wish(http, "resume").json()["granted"]
    forced = wish(http, "force", angle=44.0).json()
    assert forced["granted"] and forced["angle"] == 45.0
    assert http.post("/api/suggest", json={}).json()["angle"] == 45.0
    assert not wish(http, "force", angle=44.0).json()["granted"]
    assert wish(http, "uniform").json()["granted"] and http.get("/api/state").json()["uniform"]
    assert wish(http, "adaptive").json()["granted"] and not http.get("/api/state").json()["uniform"]


def test_a_key_is_one_wish(site):
    first = wish(site.http, "pause", key="k").json()
    assert wish(site.http, "pause", key="k").json() == first
    other = wish(site.http, "stop", key="k")
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert site.live.state()["mode"] == "paused"


def test_nobody_holds_the_scan(site, tmp_path):
    with hold(tmp_path / "left", SETUP):
        pass
    (tmp_path / "left" / ALIVE).unlink(missing_ok=True)
    with serving(tmp_path / "left", None) as (viewer, _, http):
        unheld = wish(http, "stop")
        assert (unheld.status_code, unheld.json()["code"]) == (503, "unheld")
        assert viewer._book.wishes() == [] and not http.get("/api/state").json()["alive"]
        (tmp_path / "left" / ALIVE).touch()  # as of a holder that hangs
        assert wish(http, "stop").status_code == 202


def test_who_watches_neither_asks_nor_tells(site, tmp_path):
    with serving(tmp_path, None) as (_, _, http):
        asked = http.post("/api/suggest", json={})
        told = http.post("/api/tell/1", content=npy(CAMERA.frame(0)))
        assert [(one.status_code, one.json()["code"]) for one in (asked, told)] == [(409, "watching")] * 2
        assert wish(http, "pause").json()["granted"]
        state = http.get("/api/state").json()
        assert state["mode"] == "paused" and state["alive"] and not state["holds"]


FRAME = npy(CAMERA.frame(0.0))
WRONG = {
    "no key": ("/api/wishes", {"json": {"name": "stop"}}, 400, "invalid"),
    "unknown wish": ("/api/wishes", {"json": {"key": "k", "name": "explode"}}, 400, "invalid"),
    "unknown field": ("/api/suggest", {"json": {"policy": "replay:/etc/passwd"}}, 400, "invalid"),
    "no JSON": ("/api/suggest", {"content": b"{"}, 400, "invalid"),
    "unknown suggestion": ("/api/tell/9", {"content": FRAME}, 404, "unknown"),
    "a number that is too large": (f"/api/tell/{10**30}", {"content": FRAME}, 400, "invalid"),
    "an angle that is none": ("/api/tell/1?angle=nan", {"content": FRAME}, 400, "invalid"),
    "no npy": ("/api/tell/1", {"content": b"frame"}, 400, "invalid"),
    "cut npy": ("/api/tell/1", {"content": FRAME[:-1]}, 400, "invalid"),
    "objects": ("/api/tell/1", {"content": npy(np.array([{}], object))}, 400, "invalid"),
    "words": ("/api/tell/1", {"content": npy(np.array(["a"]))}, 400, "invalid"),
    "flats of another detector": ("/api/fields/flats", {"content": npy(np.ones((2, 3, 4)))}, 400, "invalid"),
    "unknown fields": ("/api/fields/dims", {"content": FRAME}, 400, "invalid"),
    "no reason": ("/api/fail/1", {"json": {}}, 400, "invalid"),
    "unknown route": ("/api/nonsense", {}, 404, "not found"),
    "wrong method": ("/api/state", {}, 405, "method not allowed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(site, case):
    path, options, status, code = WRONG[case]
    site.live.suggest()
    before = site.live.held.ledger.last
    answer = site.http.post(path, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert answer.json()["message"] and site.live.held.ledger.last == before


def test_a_header_that_promises_terabytes_sets_nothing_aside(site):
    site.live.suggest()
    honest = npy(np.zeros((2, 16), "<f8"))
    liar = honest.replace(b"(2, 16)", b"(2, 1" + b"0" * 13 + b")", 1)
    answer = site.http.post("/api/tell/1", content=liar[:128] + honest[128:])
    assert answer.status_code == 400, answer.json()


def test_told_twice_and_told_otherwise(site):
    one = site.live.suggest()
    frame = CAMERA.frame(one.angle)
    first, again = (site.http.post(f"/api/tell/{one.id}", content=npy(frame)) for _ in range(2))
    other = site.http.post(f"/api/tell/{one.id}", content=npy(frame + 1))
    assert first.json() == again.json() and first.json()["accepted"]
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_read_back_angle_and_monitor_are_kept(site):
    one = site.live.suggest()
    query = {"angle": one.angle + 0.25, "monitor": 0.98}
    site.http.post(f"/api/tell/{one.id}", params=query, content=npy(CAMERA.frame(one.angle + 0.25)))
    told = site.live.held.ledger.told[-1]
    assert (told["angle"], told["monitor"]) == (one.angle + 0.25, 0.98)


def test_a_failure_is_asked_for_again(site):
    one = site.live.suggest()
    assert not site.http.post(f"/api/fail/{one.id}", json={"reason": "motor"}).json()["accepted"]
    assert site.http.post("/api/suggest", json={}).json()["design"] == one.design


@pytest.mark.fault
def test_a_full_disk_is_said(site, monkeypatch):
    one = site.live.suggest()

    def full(*_):
        raise OSError("live.db cannot be written (disk full)")

    with monkeypatch.context() as patch:
        patch.setattr(site.live.held.book, "add_event", full)
        answer = site.http.post(f"/api/tell/{one.id}", content=npy(CAMERA.frame(one.angle)))
        assert (answer.status_code, answer.json()["code"]) == (507, "disk")
        assert "disk full" in site.http.get("/api/state").json()["stuck"]
    assert site.http.post(f"/api/tell/{one.id}", content=npy(CAMERA.frame(one.angle))).json()["accepted"]


class Never(Executor):
    """Draws samples that never come."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_running_or_notify_cancel()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass


@contextmanager
def awaited(folder, count):
    """A scan whose samples never come, and the answers to so many who ask for an angle meanwhile."""
    with hold(folder, replace(SETUP, deadline=600), Never) as live:
        open_beam(live)
        for _ in range(SETUP.start):
            one = live.suggest()
            live.tell(one.id, CAMERA.frame(one.angle))
        with listening(folder, live) as url:
            answers = []

            def ask():
                answers.append(httpx.post(f"{url}/api/suggest", headers=BEARER, json={}, timeout=600))

            threads = [threading.Thread(target=ask) for _ in range(count)]
            for thread in threads:
                thread.start()
            yield live, url, answers
            for thread in threads:
                thread.join()


def stop(url):
    """Stops a scan; the seconds that this took."""
    start = time.monotonic()
    answer = httpx.post(f"{url}/api/wishes", headers=BEARER, json={"key": "s", "name": "stop"})
    assert answer.json()["granted"]
    return time.monotonic() - start


@pytest.mark.fault
@pytest.mark.parametrize("asking", [1, SLOW])
def test_stop_while_a_suggestion_is_computed(tmp_path, asking):
    """Fault F18: also while as many wait for suggestions as may; nothing is suggested afterwards."""
    with awaited(tmp_path, asking) as (live, url, answers):
        time.sleep(0.5)
        took = stop(url)
        assert took < 5
        print(f"STOP was acknowledged after {took:.2f} s, {asking} suggestions being computed")
        later = httpx.post(f"{url}/api/suggest", headers=BEARER, json={})
        with pytest.raises(Refused, match="stopped"):
            live.suggest()
        assert len(live.held.ledger.suggestions) == SETUP.start
    ends = [(one.status_code, one.json()["code"]) for one in (*answers, later)]
    assert ends == [(409, "over")] * (asking + 1)


@pytest.mark.fault
def test_stop_is_kept_though_nobody_hears_the_answer(tmp_path):
    """Fault F18: whoever asked for it hangs up at once, as a page whose network is gone."""
    with awaited(tmp_path, 1) as (live, url, _):
        host, body = url.removeprefix("http://"), b'{"key": "s", "name": "stop"}'
        name, _, port = host.partition(":")
        head = f"POST /api/wishes HTTP/1.1\r\nHost: {host}\r\nAuthorization: {BEARER['Authorization']}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((name, int(port))) as line:
            line.sendall(head.encode() + body)
        while live.state()["mode"] == "running":
            time.sleep(0.01)
        assert live.state()["why"] == "stopped by the operator"


def test_too_many_suggestions_at_once(tmp_path):
    with awaited(tmp_path, SLOW + 2) as (_, url, answers):
        while len(answers) < 2:
            time.sleep(0.05)
        assert httpx.get(f"{url}/api/state", headers=BEARER).json()["mode"] == "running"
        stop(url)
    assert [one.json()["code"] for one in answers] == ["busy"] * 2 + ["over"] * SLOW


def test_closing_waits_for_those_who_read(tmp_path):
    """A connection that is closed under a reader takes the whole process down."""
    begin(tmp_path, SETUP)
    for _ in range(20):
        viewer = Viewer(tmp_path)

        def read(viewer=viewer):
            with suppress(OSError):
                while True:
                    viewer.refresh()

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        viewer.close()
        for thread in threads:
            thread.join()
        with pytest.raises(OSError, match="cannot be read"):
            viewer.refresh()


def test_a_record_that_cannot_be_read_is_stale(site, monkeypatch):
    while not site.viewer.alive:
        time.sleep(0.05)

    def damaged(*_, **__):
        raise OSError("live.db was changed or damaged")

    monkeypatch.setattr(site.viewer._book, "events", damaged)
    while site.viewer.alive:
        time.sleep(0.05)
    state = site.http.get("/api/state")
    assert (state.status_code, state.json()["code"]) == (507, "disk")


def test_suggestion_has_its_gain(site):
    measure(site, 3)
    made = site.http.post("/api/suggest", json={}).json()
    assert made == asdict(site.live.held.ledger.suggestions[made["id"]])
    assert sum(gain is not None for gain in made["gain"]) == 24 - 3


def test_numbers_that_json_does_not_know_become_null():
    assert as_json({"a": [float("nan"), 1.5], "b": float("inf")}) == '{"a": [null, 1.5], "b": null}'
