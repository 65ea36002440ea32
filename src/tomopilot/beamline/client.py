"""A client of the service, for control systems in Python; it needs nothing but NumPy."""

import http.client
import io
import json
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

PAUSE = 0.5  # seconds between two attempts
AGAIN = {408, 503}  # answers after which the same may be asked again


class ServiceError(RuntimeError):
    """What the service answered instead; `code` says in a word why, such as paused, over or unknown."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """Asks and tells a live scan over HTTP.

    A lost connection, or a service that is starting again, is waited for; as each request can be told from
    others, nothing is measured or told twice.
    """

    def __init__(
        self, url: str, token: str | Path, *, timeout: float = 120.0, patience: float = 60.0
    ) -> None:
        """token: itself, or the file that keeps it, OUT/token

        timeout: seconds that an answer may take, longer than the deadline of a suggestion
        patience: seconds for which the same is tried again
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the address is {url!r}; expected one such as http://127.0.0.1:8765")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connect = lambda: kind(parts.netloc.rpartition("@")[2], timeout=timeout)
        self._token, self._patience = token, patience

    def suggest(self) -> dict[str, Any]:
        """The next angle to expose: `id`, `angle` in degrees, `flats` where flat fields are due before."""
        return self._post("/api/suggest", {"key": uuid.uuid4().hex})

    def sweep(self, count: int) -> list[dict[str, Any]]:
        """Several angles to expose in one motion of the stage, as `suggest`; fewer where the scan ends."""
        return self._post("/api/sweep", {"key": uuid.uuid4().hex, "count": count})

    def tell(
        self, id: int, frame: np.ndarray, angle: float | None = None, monitor: float | None = None
    ) -> dict[str, Any]:
        """Hands over the frame (rows, columns) of a suggestion; it is on disk once this returns.

        angle: degrees that the stage read back; monitor: incident intensity, 1 as for the flat fields
        """
        known = {"angle": angle, "monitor": monitor}
        query = urlencode({name: value for name, value in known.items() if value is not None})
        return self._post(f"/api/tell/{id}?{query}", frame)

    def fail(self, id: int, reason: str) -> dict[str, Any]:
        """A suggestion could not be measured."""
        return self._post(f"/api/fail/{id}", {"reason": reason})

    def flats(self, frames: np.ndarray) -> int:
        """Hands over flat fields (n, rows, columns); returns the number of the event."""
        return self._post("/api/fields/flats", frames)["event"]

    def darks(self, frames: np.ndarray) -> int:
        """Hands over dark fields (n, rows, columns), before the flats that they belong to."""
        return self._post("/api/fields/darks", frames)["event"]

    def state(self) -> dict[str, Any]:
        """Where the scan is."""
        return self._request("GET", "/api/state", b"", "")

    def wish(self, name: str, angle: float | None = None) -> dict[str, Any]:
        """What an operator wishes: stop, pause, resume, force (an angle in degrees), uniform, adaptive."""
        wanted = {"key": uuid.uuid4().hex, "name": name}
        return self._post("/api/wishes", wanted if angle is None else wanted | {"angle": angle})

    def _post(self, path: str, content: np.ndarray | dict[str, Any]) -> Any:
        if isinstance(content, dict):
            return self._request("POST", path, json.dumps(content).encode(), "application/json")
        file = io.BytesIO()
        np.save(file, content, allow_pickle=False)
        return self._request("POST", path, file.getvalue(), "application/octet-stream")

    def _request(self, method: str, path: str, body: bytes, kind: str) -> Any:
        """The answer; asked again while there is none."""
        latest = time.monotonic() + self._patience
        while True:
            try:
                status, content = self._once(method, path, body, kind)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > latest:
                    raise
            else:
                late = time.monotonic() > latest
                if status == 200 or (status == 202 and late):
                    return json.loads(content)
                if status != 202 and (status not in AGAIN or late):
                    raise _error(status, content)
            time.sleep(PAUSE)

    def _once(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        token = self._token.read_text().strip() if isinstance(self._token, Path) else self._token
        connection = self._connect()
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _error(status: int, content: bytes) -> ServiceError:
    try:
        said = json.loads(content)
        return ServiceError(status, said["code"], said["message"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(status, "fault", f"the service answered {status}")
