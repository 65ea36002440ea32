"""The server of a service: its sockets, and what happens to those who only hold them open."""

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 256  # connections
HEADER = 16 * 1024  # bytes
SECONDS = 10  # that a header may take


class Line(H11Protocol):
    """A connection that is closed where a header takes too long, and first of all where too many are open."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._await_header()
        if len(self.connections) > MOST:
            idle = [line for line in self.connections if isinstance(line, Line) and line.idle]
            min(idle, key=lambda line: line.since).transport.abort()

    def on_response_complete(self) -> None:
        self._await_header()
        super().on_response_complete()

    @property
    def idle(self) -> bool:
        """Whether it waits for a header."""
        return self.cycle is None or self.cycle.response_complete

    def _await_header(self) -> None:
        self.since = self.loop.time()
        self.loop.call_later(SECONDS, self._lose_patience, self.since)

    def _lose_patience(self, since: float) -> None:
        if self.idle and since == self.since:
            self.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address; raises OSError that says why there is none."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=MOST)
    except OSError as error:
        raise OSError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port"
        ) from None


def names_of(host: str) -> frozenset[str]:
    """What other machines may call this one."""
    return frozenset({host, socket.gethostname(), socket.getfqdn()})


def address_of(listening: socket.socket) -> str:
    """What to open in a browser of this machine."""
    found, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found, str(found))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def server_of(app: FastAPI) -> uvicorn.Server:
    """Serves an app until `should_exit`, or until it is interrupted; nothing is logged of requests."""
    options: dict[str, Any] = {
        "http": Line,
        "ws": "none",
        "lifespan": "on",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "h11_max_incomplete_event_size": HEADER,
        "timeout_keep_alive": SECONDS,
        "timeout_graceful_shutdown": 2,
    }
    server = uvicorn.Server(uvicorn.Config(app, **options))
    app.state.closing = lambda: server.should_exit
    return server
