"""The client: it drives a scan, and waits where a connection is lost."""

import http.client
import threading

import numpy as np
import pytest
from beamline.conftest import TOKEN, listening
from live.conftest import CAMERA, SETUP
from numpy.testing import assert_array_equal

from tomopilot.beamline import client as clients
from tomopilot.beamline.client import Client, ServiceError
from tomopilot.live.live import hold


@pytest.fixture
def held(tmp_path):
    with hold(tmp_path, SETUP) as live, listening(tmp_path, live) as url:
        yield live, url


@pytest.fixture
def client(held):
    return Client(held[1], TOKEN)


def test_a_scan_by_the_client(held, client):
    live, _ = held
    assert (client.darks(CAMERA.darks()), client.flats(CAMERA.flats())) == (2, 3)
    for _ in range(3):
        one = client.suggest()
        answer = client.tell(one["id"], CAMERA.frame(one["angle"] + 0.1), one["angle"] + 0.1, 1.01)
        assert answer["accepted"]
    told = live.held.ledger.told
    assert [one["angle"] for one in told] == client.state()["angles"]
    assert told[0]["angle"] == pytest.approx(live.held.ledger.suggestions[1].angle + 0.1)
    assert told[0]["monitor"] == 1.01
    assert_array_equal(live.held.book.frames(told[0]["event"]), CAMERA.frame(told[0]["angle"]))
    swept = client.sweep(2)
    assert [one["id"] for one in swept] == [4, 5] and swept[0]["angle"] != swept[1]["angle"]
    assert client.wish("force", 90.0)["angle"] == 90.0 and client.suggest()["angle"] == 90.0
    assert not client.fail(6, "the shutter stays shut")["accepted"]
    client.wish("stop")
    with pytest.raises(ServiceError, match="stopped by the operator") as refused:
        client.suggest()
    assert (refused.value.status, refused.value.code) == (409, "over")


def test_the_token_may_be_in_a_file(held, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert Client(held[1], tmp_path / "token").state()["measured"] == 0
    with pytest.raises(ServiceError, match="token is missing or wrong"):
        Client(held[1], "x" * 43).state()


@pytest.mark.parametrize("url", ["127.0.0.1:8765", "ftp://127.0.0.1", "http://", ""])
def test_addresses_that_are_none(url):
    with pytest.raises(ValueError, match="expected one such as"):
        Client(url, TOKEN)


@pytest.mark.fault
def test_answers_that_are_lost_change_nothing(held, client, monkeypatch):
    """Every answer is lost once, after the service has done what was asked for."""
    live, _ = held
    monkeypatch.setattr(clients, "PAUSE", 0.01)
    lost, once = set(), Client._once

    def lossy(self, method, path, body, kind):
        answer = once(self, method, path, body, kind)
        if (path, body) not in lost:
            lost.add((path, body))
            raise http.client.RemoteDisconnected("lost")
        return answer

    monkeypatch.setattr(Client, "_once", lossy)
    client.flats(CAMERA.flats())
    for _ in range(2):
        one = client.suggest()
        assert client.tell(one["id"], CAMERA.frame(one["angle"]), one["angle"])["accepted"]
    client.wish("pause")
    client.wish("resume")
    one = client.suggest()
    client.fail(one["id"], "motor")
    kinds = [event.kind for event in live.held.book.events()]
    assert len(lost) == 9
    assert [kinds.count(kind) for kind in ("suggested", "told", "failed", "wish")] == [3, 2, 1, 2]


@pytest.mark.fault
def test_a_service_that_starts_later_is_waited_for(tmp_path, monkeypatch):
    from tomopilot.beamline import server

    with server.listen("127.0.0.1", 0) as free:
        address = free.getsockname()
    found = []
    client = Client(f"http://127.0.0.1:{address[1]}", TOKEN)
    thread = threading.Thread(target=lambda: found.append(client.state()))
    thread.start()
    monkeypatch.setattr("beamline.conftest.listen", lambda *_: server.listen(*address))
    with hold(tmp_path, SETUP) as live, listening(tmp_path, live):
        thread.join()
    assert found[0]["name"] == SETUP.name


def test_patience_ends():
    with pytest.raises(OSError):
        Client("http://127.0.0.1:9", TOKEN, patience=0.1).state()


def test_no_proxy_sees_the_token(held, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Client(held[1], TOKEN).state()["measured"] == 0


def test_objects_are_not_sent(client):
    with pytest.raises(ValueError, match="allow_pickle"):
        client.tell(1, np.array([{}], object))
