"""A live scan as NXtomo, at any moment: what was measured, flats and darks in their places."""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomopilot.files.logbook import Logbook
from tomopilot.live.held import Refused
from tomopilot.live.ledger import Ledger
from tomopilot.live.record import open_record, read_setup
from tomopilot.raw.export import write_counts
from tomopilot.raw.records import Frames, RawScan


@dataclass(frozen=True, eq=False)
class Kept:
    """Frames of a record, read when it is their turn: by event, and by their place in it."""

    book: Logbook
    places: list[tuple[int, int]]

    def read(self, numbers: np.ndarray, rows: slice) -> np.ndarray:
        return np.stack([self._one(*self.places[number])[rows] for number in numbers])

    def _one(self, event: int, place: int) -> np.ndarray:
        frames = self.book.frames(event)
        assert frames is not None
        return np.atleast_2d(frames) if frames.ndim < 3 else frames[place]


def export(folder: Path, path: Path) -> int:
    """Writes what a live scan has measured so far; returns the number of projections.

    Projections are in the order of acquisition, with the angles that the stage read back; those that were
    quarantined are left out. It reads beside whoever holds the scan. `path` is at every instant as it was
    before or complete. Raises `Refused` where nothing is measured yet: fields alone are no scan.
    """
    with closing(open_record(folder, checked=False)) as book:
        setup, events = read_setup(book), book.events()
        ledger = Ledger(setup).apply(events)
        if not ledger.told:
            raise Refused("empty", "nothing is measured yet: export the scan after its first projection")
        source = Kept(book, [])
        flats, after, darks, count = [], [], [], 0
        for event in events:
            if event.kind == "told":
                count += 1
            if event.kind in ("flats", "darks"):
                places = [(event.number, place) for place in range(event.content["count"])]
                (flats if event.kind == "flats" else darks).extend(places)
                after += [count] * len(places) if event.kind == "flats" else []
        told = [(one["event"], 0) for one in ledger.told]
        source.places.extend([*told, *flats, *darks])
        first = source.read(np.array([0]), slice(None))
        _, rows, columns = first.shape

        def frames(start: int, length: int) -> Frames | None:
            numbers = np.arange(start, start + length)
            return Frames(source, numbers, rows, columns, first.dtype) if length else None

        monitors = [one["monitor"] for one in ledger.told]
        projections = frames(0, len(told))
        assert projections is not None
        angles = np.array([math.radians(one["angle"]) for one in ledger.told])
        raw = RawScan(
            setup.name,
            "live",
            projections,
            angles,
            setup.counts,
            flats=frames(len(told), len(flats)),
            flats_after=np.array(after) if flats else None,
            darks=frames(len(told) + len(flats), len(darks)),
            pixel_size=setup.pixel_size,
            monitor=np.array(monitors) if None not in monitors else None,
            axis=setup.middle,
            ceiling=setup.ceiling,
        )
        write_counts(path, raw)
        return len(told)
