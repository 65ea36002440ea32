"""The record of a live scan: also every frame as it came, and all that happened, in numbered events."""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tomopilot.files.archive import SCHEMA, Archive, digest

LIVE = """
create table if not exists events (
    number integer primary key, kind text, content text, at real, digest text
);
create table if not exists frames (
    number integer primary key, dtype text, shape text, bytes blob, digest text
);
create table if not exists wishes (
    key text primary key, name text, content text, at real
);
"""


class Event(NamedTuple):
    """Something that happened. `at` is for people only: nothing is decided by it."""

    number: int  # from 1, without gaps
    kind: str
    content: dict[str, Any]
    at: float  # seconds since 1970


class Wish(NamedTuple):
    """What an operator asks of a scan, perhaps from another process; answered by an event."""

    key: str
    name: str
    content: dict[str, Any]


class Logbook(Archive):
    """The record of one live scan. One process writes events; any number read them, and leave wishes."""

    schema = SCHEMA + LIVE

    def add_event(self, kind: str, content: dict[str, Any], frames: np.ndarray | None = None) -> Event:
        """Puts on disk what happened, and the frames that came with it."""
        number, at = self.last_event + 1, time.time()
        row = (number, kind, json.dumps(content), at)
        with self.at_once():
            self._do("insert into events values (?, ?, ?, ?, ?)", (*row, digest(row)))
            if frames is not None:
                held = (number, frames.dtype.str, json.dumps(frames.shape), frames.tobytes())
                self._do("insert into frames values (?, ?, ?, ?, ?)", (*held, digest(held)))
        return Event(number, kind, content, at)

    @property
    def last_event(self) -> int:
        """The number of the latest event; 0 before the first."""
        return self._do("select coalesce(max(number), 0) from events", ())[0][0]

    def events(self, after: int = 0, most: int = -1) -> list[Event]:
        """What happened after an event, in order; at most so many."""
        rows = self._whole("select * from events where number > ? order by number limit ?", (after, most))
        self._check([number for number, *_ in rows] == [*range(after + 1, after + 1 + len(rows))])
        return [Event(number, kind, json.loads(content), at) for number, kind, content, at in rows]

    def frames(self, number: int) -> np.ndarray | None:
        """The frames that came with an event, or None."""
        rows = self._whole("select * from frames where number = ?", (number,))
        return _array(*rows[0][1:]) if rows else None

    def each_frame(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number of the event and frames, in order, read when it is their turn."""
        for (number,) in self._do("select number from frames order by number", ()):
            frames = self.frames(number)
            assert frames is not None
            yield number, frames

    def wish(self, wish: Wish) -> None:
        """Leaves a wish; the same key twice is one wish."""
        row = (wish.key, wish.name, json.dumps(wish.content), time.time())
        self._do("insert or ignore into wishes values (?, ?, ?, ?)", row)

    def wishes(self) -> list[Wish]:
        """All that was asked for, in order."""
        rows = self._do("select key, name, content from wishes order by rowid", ())
        return [Wish(key, name, json.loads(content)) for key, name, content in rows]


def _array(dtype: str, shape: str, content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype).reshape(json.loads(shape)).copy()
