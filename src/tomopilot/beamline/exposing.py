"""What a scan reads beside stage and monitor: its detector, and which exposure it is."""

import time
from collections.abc import AsyncIterator, Container
from typing import Any

from bluesky.protocols import Configurable, HasHints, Reading, Status
from bluesky.utils import maybe_await, maybe_collect_asset_docs

from tomopilot.live.ledger import Suggestion


class Exposing:
    """A detector of which interrupted exposures are skipped.

    Where a run is paused or suspended, its latest messages are repeated: a frame of the first attempt may be
    written already, and a detector may still be exposing it. Documents of a frame that was repeated are
    left out; a file is announced until it is known.

    known: uids of stream resources that were emitted
    timeout: seconds after which an exposure counts as over; None: never
    """

    def __init__(self, device: Any, known: Container[str], timeout: float | None = None) -> None:
        self.device, self.parent, self._known = device, getattr(device, "parent", None), known
        self._resources: dict[str, Any] = {}
        self._status: Status | None = None
        self._timeout, self._begun = timeout, 0.0

    @property
    def name(self) -> str:
        return self.device.name

    @property
    def hints(self) -> Any:
        return self.device.hints if isinstance(self.device, HasHints) else {}

    @property
    def busy(self) -> bool:
        """Whether an exposure is going on."""
        if self._status is None or self._status.done:
            return False
        return self._timeout is None or time.monotonic() < self._begun + self._timeout

    def trigger(self) -> Status:
        self._begun = time.monotonic()
        status = self._status = self.device.trigger()
        return status

    def describe(self) -> Any:
        return self.device.describe()

    def read(self) -> Any:
        return self.device.read()

    async def describe_configuration(self) -> Any:
        device = self.device
        return await maybe_await(device.describe_configuration()) if isinstance(device, Configurable) else {}

    async def read_configuration(self) -> Any:
        device = self.device
        return await maybe_await(device.read_configuration()) if isinstance(device, Configurable) else {}

    async def collect_asset_docs(self) -> AsyncIterator[Any]:
        latest: dict[str, Any] = {}
        documents: Any = maybe_collect_asset_docs(None, self.device)
        async for name, doc in documents:
            if name == "stream_resource":
                self._resources[doc["uid"]] = doc
            elif name == "stream_datum":
                stop = doc["indices"]["stop"]
                latest[doc["stream_resource"]] = {**doc, "indices": {"start": stop - 1, "stop": stop}}
            else:
                yield name, doc
        for uid, datum in latest.items():
            if uid not in self._known:
                yield "stream_resource", self._resources[uid]
            yield "stream_datum", datum


class Label:
    """Which exposure an event is of, and which suggestion it answers; 0 for flat and dark fields."""

    name, parent = "suggestion", None

    def __init__(self) -> None:
        self.exposure, self._id, self._angle = 0, 0, 0.0

    def next(self, one: Suggestion | None) -> int:
        """The number of the next exposure."""
        self.exposure += 1
        self._id, self._angle = (0, 0.0) if one is None else (one.id, one.angle)
        return self.exposure

    def describe(self) -> dict[str, Any]:
        return {
            "suggestion": {"source": "tomopilot", "dtype": "integer", "shape": []},
            "suggested_angle": {"source": "tomopilot", "dtype": "number", "shape": [], "units": "degree"},
            "exposure": {"source": "tomopilot", "dtype": "integer", "shape": []},
        }

    def read(self) -> dict[str, Reading]:
        values = {"suggestion": self._id, "suggested_angle": self._angle, "exposure": self.exposure}
        return {key: {"value": value, "timestamp": time.time()} for key, value in values.items()}
