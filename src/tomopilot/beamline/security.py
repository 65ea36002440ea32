"""Who may use the service of a scan: those who have its token, by the address it was opened under."""

import asyncio
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tomopilot.disk import PARTIAL

TOKEN = "token"  # file in the folder of a scan
WHOLE = re.compile(r"[\w-]{32,200}", re.ASCII)  # what a token looks like
PATIENCE = 30.0  # seconds that a body may take, and one more for each megabyte of its limit
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def token_of(path: Path) -> str:
    """The token that a file keeps; a new one where there is none. Only its owner can read the file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        token, partial = secrets.token_urlsafe(), path.with_name(path.name + PARTIAL)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as kept:
            kept.write(token)
        os.replace(partial, path)  # whoever waits for the file finds a whole token
        return token
    with open(file) as kept:
        if os.fstat(file).st_mode & 0o077:
            raise ValueError(f"{path} can be read by others; delete it for a new token, or chmod 600 it")
        token = kept.read(1000).strip()
    if not WHOLE.fullmatch(token):
        raise ValueError(f"{path} holds no token; delete it for a new one, or name another --token-file")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("beamline.example")
    (True, True, False, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Gate:
    """The token of a service, and the names that it may be addressed by."""

    token: str
    names: frozenset[str] = frozenset()  # besides addresses of this machine
    remote: bool = False  # any address will do: only names can be rebound

    def knows(self, host: str) -> bool:
        """Whether a Host header names this service.

        >>> [Gate("t").knows(host) for host in ("127.0.0.1:8765", "[::1]", "evil.example", "10.0.0.1")]
        [True, True, False, False]
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return is_loopback(name) or name in self.names or (self.remote and bool(ip_address(name)))
        except ValueError:
            return False

    def admits(self, token: str | None) -> bool:
        """Whether this is the token; how long that takes says nothing of it."""
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())


class Guard:
    """Lets nobody through to an app without the token, nor any body that is too large or too slow."""

    def __init__(self, app: ASGIApp, gate: Gate, largest: Callable[[str], int]) -> None:
        """largest: bytes that the body of a request to a path may have"""
        self.app, self.gate, self.largest = app, gate, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope)
        most = self.largest(scope["path"])
        if answer := self._turned_away(request, most):
            await answer(scope, receive, sealed)
        else:
            await self.app(scope, _bounded(receive, most), sealed)

    def _turned_away(self, request: Request, most: int) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self.gate.knows(host):
            return problem(403, "host", "this service is not known by that name; use the address it printed")
        if origin is not None and origin.partition("://")[2] != host:
            return problem(403, "origin", "pages of other origins may not use this service")
        port = host.rpartition(":")[2]
        cookie = f"tomopilot-{port if port.isdecimal() else 80}"  # cookies themselves do not know ports
        asked = request.query_params.get("token") if request.url.path == "/" else None
        if self.gate.admits(asked):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(cookie, self.gate.token, httponly=True, samesite="strict")
            return answer
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer.strip() if kind.lower() == "bearer" else request.cookies.get(cookie)
        if not self.gate.admits(token):
            return problem(401, "token", "the token is missing or wrong; open the address that was printed")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            return problem(413, "large", f"the body has {length} bytes; at most {most} are taken here")
        return None


def problem(status: int, code: str, message: str) -> JSONResponse:
    """An error as every route says it."""
    return JSONResponse({"code": code, "message": message}, status)


def _bounded(receive: Receive, most: int) -> Receive:
    """A body of so many bytes at most, and within its time."""
    due = asyncio.get_running_loop().time() + PATIENCE + most / 1e6
    taken, whole = 0, False

    async def bounded() -> Message:
        nonlocal taken, whole
        try:
            async with asyncio.timeout_at(None if whole else due):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
        taken += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if taken > most:
            raise HTTPException(413, f"the body has more than {most} bytes", {"Connection": "close"})
        return message

    return bounded
