"""Nobody gets in without the token, by another name, or by sheer mass; nothing is unpickled."""

import ast
import asyncio
import hashlib
import logging
import os
import socket
import stat
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from beamline.conftest import BEARER, HOST, TOKEN, listening, npy, serving
from live.conftest import CAMERA, SETUP
from starlette.testclient import TestClient

import tomopilot
from tomopilot.beamline import security, server
from tomopilot.beamline.security import Gate, Guard, token_of
from tomopilot.live.live import hold
from tomopilot.live.record import begin

pytestmark = pytest.mark.fault
FRAME = npy(CAMERA.frame(0.0))


@pytest.fixture
def folder(tmp_path):
    """Of a scan that nobody holds."""
    begin(tmp_path, SETUP)
    return tmp_path


@pytest.fixture
def http(folder):
    with serving(folder, None) as (_, _, client):
        yield client


def anonymous(http, host=HOST, **headers):
    """The same service, for somebody who has no token."""
    return TestClient(
        http.app, f"http://{host}", headers=headers, raise_server_exceptions=False, follow_redirects=False
    )


def routes(http):
    """Every method and address of the service, by its own description; and that."""
    paths = http.get("/api/openapi.json").json()["paths"]
    known = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(known) > 12
    filled = [
        (method, path.replace("{name}", "page.js").replace("{kind}", "flats")) for method, path in known
    ]
    return [(method, path.partition("{")[0] + "1" * ("{" in path)) for method, path in filled] + [
        ("GET", "/api/openapi.json"), ("GET", "/docs"), ("OPTIONS", "/api/state"), ("HEAD", "/"),
    ]  # fmt: skip


STRANGERS = {
    "no token": {},
    "wrong token": {"Authorization": "Bearer " + "x" * 43},
    "part of the token": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "empty token": {"Authorization": "Bearer "},
    "token in a wrong scheme": {"Authorization": f"Basic {TOKEN}"},
    "wrong cookie": {"Cookie": "tomopilot-8765=" + "x" * 43},
    "cookie of another port": {"Cookie": f"tomopilot-8766={TOKEN}"},
    "letters beyond ASCII": {"Authorization": b"Bearer \xff\xfe".decode("latin-1").encode("latin-1")},
}


@pytest.mark.parametrize("who", STRANGERS)
def test_every_route_needs_the_token(http, who):
    stranger = anonymous(http, **STRANGERS[who])
    for method, path in routes(http):
        answer = stranger.request(method, path)
        assert answer.status_code == 401, (method, path)
        assert "set-cookie" not in answer.headers
    assert stranger.get("/", params={"token": "x" * 43}).status_code == 401
    assert stranger.get("/api/state", params={"token": TOKEN}).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.1.2.3", ""]
)
def test_other_names_are_refused(http, host):
    """As a name is that was bound to this machine behind the back of a browser."""
    for method, path in routes(http):
        answer = http.request(method, path, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"] if answer.content else "host") == (403, "host")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.0.0.1:9000", "[::1]:8765", "[::1]", "127.0.0.1:99999"]
)
def test_names_of_this_machine(http, host):
    assert http.get("/api/state", headers={"Host": host}).status_code == 200


def test_a_remote_service_knows_its_names_and_any_address():
    gate = Gate(TOKEN, frozenset({"beamline.example"}), remote=True)
    known = ["beamline.example:8765", "BEAMLINE.example", "10.1.2.3:80", "[2001:db8::1]", "localhost"]
    assert all(map(gate.knows, known)) and not gate.knows("evil.example") and not gate.knows("[::1")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8765"]
)
def test_pages_of_other_origins_are_refused(http, origin):
    for method, path in routes(http):
        answer = http.request(method, path, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"] if answer.content else "origin") == (403, "origin")


def test_the_own_page_gets_in_by_its_cookie(http):
    browser = anonymous(http)
    opened = browser.get("/", params={"token": TOKEN})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    said = {word.strip().lower() for word in opened.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= said
    assert browser.get("/").status_code == 200
    fails = browser.post("/api/fail/1", json={"reason": "x"}, headers={"Origin": f"http://{HOST}"})
    assert fails.json()["code"] == "watching"


def test_the_page_may_load_nothing_from_elsewhere(http):
    headers = http.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert http.get(path).status_code == 404


def test_the_token_is_in_no_log(folder, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with listening(folder) as url:
        httpx.get(f"{url}/", params={"token": TOKEN}, follow_redirects=False)
        httpx.get(f"{url}/api/state", headers=BEARER)
        httpx.get(f"{url}/api/state?x={'x' * 30_000}", headers=BEARER)
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    assert not any(TOKEN in record.getMessage() for record in ours)
    assert TOKEN not in "".join(capfd.readouterr())


def test_tokens_are_compared_in_constant_time(monkeypatch):
    seen = []
    monkeypatch.setattr(security.hmac, "compare_digest", lambda *pair: seen.append(pair) or False)
    assert not Gate(TOKEN).admits(TOKEN) and seen == [(TOKEN.encode(), TOKEN.encode())]


def test_the_token_is_kept_for_its_owner_alone(tmp_path):
    path = tmp_path / "token"
    token = token_of(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(token) >= 43
    assert token_of(path) == token and token_of(tmp_path / "other") != token
    path.chmod(0o640)
    with pytest.raises(ValueError, match="read by others"):
        token_of(path)
    for content in ("", "short", "x" * 50 + "\n" + "y" * 50, "a b" * 20):
        path.unlink()
        path.touch(0o600)
        path.write_text(content)
        with pytest.raises(ValueError, match="holds no token"):
            token_of(path)
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        token_of(tmp_path / "link")


NAMES = [
    "../service.py", "..%2fservice.py", "%2e%2e/%2e%2e/service.py", "..%5cservice.py", "/etc/passwd",
    "%2fetc%2fpasswd", "page.js%00.png", "....//service.py", "link.js", "static", "~root",
    "page.js/../../service.py", "C:\\x", "%00",
]  # fmt: skip


@pytest.mark.parametrize(
    "route", ["static", "api/images", "api/frames", "api/tell", "api/fields", "api/fail"]
)
def test_names_are_never_paths(http, folder, route):
    """Fault F15: nothing outside of the table is read, nothing is written."""
    (folder / "link.js").symlink_to("/etc/passwd")
    before = tree(folder)
    method = "POST" if route in ("api/tell", "api/fields", "api/fail") else "GET"
    for name in NAMES:
        answer = http.request(method, f"/{route}/{name}", content=FRAME if method == "POST" else None)
        assert 400 <= answer.status_code < 500, name
        assert b"root:" not in answer.content and b"make_app" not in answer.content
        assert tree(folder) == before, name


def tree(folder):
    """Every file and what is in it."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "live.db-shm"
    }


def test_large_bodies_are_refused(tmp_path):
    """Fault F16: by what they say, and by what they are."""
    with hold(tmp_path, SETUP) as live, listening(tmp_path, live) as url:
        one, before = live.suggest(), memory()
        with closing(connected(url)) as line:
            head = f"POST /api/tell/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
            line.sendall(f"{head}Content-Length: {2**40}\r\n\r\n".encode())
            assert b" 413 " in line.recv(1000)
        for path in (f"/api/tell/{one.id}", "/api/fields/flats", "/api/suggest", "/api/wishes"):
            with suppress(httpx.WriteError, httpx.ReadError):  # the service hangs up
                answer = httpx.post(f"{url}{path}", headers=BEARER, content=iter([b"x" * 2**20] * 200))
                assert answer.status_code in (413, 400), answer.json()
        assert memory() - before < 100 * 2**20
        assert stop(url).json()["granted"]


def memory():
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def stop(url):
    start = time.monotonic()
    answer = httpx.post(f"{url}/api/wishes", headers=BEARER, json={"key": str(start), "name": "stop"})
    print(f"STOP was acknowledged after {time.monotonic() - start:.2f} s")
    assert time.monotonic() - start < 5
    return answer


def test_large_headers_are_refused(folder):
    with listening(folder) as url, suppress(httpx.WriteError, httpx.ReadError):
        assert httpx.get(f"{url}/api/state", headers=BEARER | {"X-Long": "x" * 2**20}).status_code == 400


def test_slow_headers_and_slow_bodies_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "SECONDS", 0.5)
    monkeypatch.setattr(security, "PATIENCE", 0.5)
    with hold(tmp_path, SETUP) as live, listening(tmp_path, live) as url:
        with closing(connected(url)) as slow:
            slow.sendall(b"GET /api/state HTTP/1.1\r\nHost:")
            assert slow.recv(1000) == b""
        with closing(connected(url)) as slow:  # the second one of a connection, too
            slow.sendall(b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b" 401 " in slow.recv(1000)
            slow.sendall(b"GET /api/state HTTP/1.1\r\nHost:")
            while slow.recv(1000):
                pass
        with closing(connected(url)) as slow:
            head = f"POST /api/suggest HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
            slow.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{".encode())
            assert b" 408 " in slow.recv(1000)
        assert live.held.ledger.suggestions == {}


def connected(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_stop_gets_through_a_crowd(tmp_path, count, monkeypatch):
    """Fault F16: of connections that say nothing, and of streams."""
    monkeypatch.setattr(server, "MOST", 64)
    with hold(tmp_path, SETUP) as live, listening(tmp_path, live) as url:
        before = memory()
        asyncio.run(crowd(url, count))
        idle = [connected(url) for _ in range(100)]
        assert stop(url).json()["granted"]
        for one in idle:
            one.close()
        assert memory() - before < 100 * 2**20


async def crowd(url, count):
    """So many clients who want a stream, 50 at a time; each reads for a moment."""
    turn, host = asyncio.Semaphore(50), url.removeprefix("http://")
    name, _, port = host.partition(":")
    request = f"GET /api/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    seen = []

    async def one():
        async with turn:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(name, int(port))
                writer.write(request)
                seen.append((await reader.read(12))[-3:])
                writer.close()
                await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(count)))
    assert set(seen) <= {b"200", b"503", b""} and b"200" in seen


def calls(source):
    """Every call of a source file, as written."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


def imported(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


ROOT = Path(tomopilot.__file__).parent
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("source", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled(source):
    """Fault F13: what comes from outside never runs."""
    assert not UNSAFE & set(imported(source))
    for name, words in calls(source):
        assert words.get("allow_pickle", "False") == "False", name
        assert name not in ("eval", "exec", "yaml.load", "os.system"), name
        if name in ("torch.load", "load_state_dict_from_url"):
            assert words.get("weights_only") == "True"


def test_a_pickle_as_a_frame_runs_nothing(tmp_path):
    sentinel = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(sentinel),))

    import pickle

    import numpy as np

    bodies = [pickle.dumps(Evil()), npy(np.array([Evil()], object))]
    with hold(tmp_path, SETUP) as live, serving(tmp_path, live) as (_, _, http):
        live.suggest()
        for path in ("/api/tell/1", "/api/fields/flats", "/api/suggest"):
            for body in bodies:
                assert http.post(path, content=body).status_code == 400
    assert not sentinel.exists()


def test_no_websocket_gets_in():
    async def inner(scope, receive, send):
        raise AssertionError("reached")

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(inner, Gate(TOKEN), lambda _: 0)({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
