"""A live scan as its record shows it, beside whoever holds it. Wishes are all that it writes."""

import json
import math
import threading
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tomopilot.beamline.raw_view import Raw, raw_view
from tomopilot.design.disagreement import unpredicted
from tomopilot.files.logbook import Event, Logbook, Wish
from tomopilot.live.detector import Detector, Fields
from tomopilot.live.held import Refused
from tomopilot.live.ledger import Ledger
from tomopilot.live.record import ALIVE, deviations_of, open_record, read_setup, slot_of
from tomopilot.measure.radon import Radon
from tomopilot.measure.stack import Stack, over_height
from tomopilot.randomness import stream
from tomopilot.records import Told
from tomopilot.scan.outputs import deviation

LATE = 1.5  # seconds without a sign of life, after which a scan is not held by anybody
LATEST = "latest"


class Missing(LookupError):
    """What was asked for is not in the record, or no longer."""


class Picture(NamedTuple):
    """One slice of an estimate, and how many there are."""

    values: np.ndarray  # (h, w) float32
    slices: int
    samples: int


class Viewer:
    """Reads the record of a live scan; any number of threads may call."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._book, self._turn = open_record(self.folder, checked=False), threading.Lock()
        self.setup = read_setup(self._book)
        self.ledger = Ledger(self.setup)
        self.events: list[Event] = []
        self._looking = threading.Lock()
        self._held: dict[int, Tensor] = {}
        self._fields: dict[tuple[int | None, int | None], Fields | None] = {}
        self.refresh()

    @cached_property
    def angles(self) -> list[float]:
        """Degrees of all that may be asked for, by design."""
        return [round(angle, 4) for angle in self._operator.shown.tolist()]

    @property
    def alive(self) -> bool:
        """Whether somebody holds the scan, and its record could be read lately."""
        try:
            silent = time.time() - (self.folder / ALIVE).stat().st_mtime
        except OSError:
            return False
        return max(silent, time.monotonic() - self._read) < LATE

    def about(self) -> dict[str, Any]:
        """The setup, and which detector rows the slices of its estimates are."""
        return asdict(self.setup) | {"slices": self._slices}

    def refresh(self) -> None:
        """Reads what has happened since."""
        with self._turn:
            for event in self._book.events(after=self.ledger.last):
                self.ledger.apply([event])
                self.events.append(event)
            self._read = time.monotonic()

    def state(self) -> dict[str, Any]:
        """See `Ledger.state`."""
        self.refresh()
        with self._turn:
            return _plain(self.ledger.state()) | {"alive": self.alive}

    def wish(self, wish: Wish) -> None:
        """Leaves a wish for whoever holds the scan; raises `Refused` where its key was another wish."""
        with self._turn:
            self._book.wish(wish)
            kept = next(one for one in self._book.wishes() if one.key == wish.key)
        if kept != wish:
            raise Refused("conflict", f"the key {wish.key!r} was another wish, {kept.name}; take a new key")

    def answer(self, key: str) -> dict[str, Any] | None:
        """What became of a wish, or None."""
        self.refresh()
        with self._turn:
            return self.ledger.answered.get(key)

    def picture(self, told: str, what: str, slice: int, sample: int) -> Picture:
        """A slice of the estimate after so many measurements, or of the latest; raises `Missing`."""
        if what == "unpredicted":
            return self._unpredicted(told, slice)
        images = self._images(told)
        images = images[:, None] if images.ndim == 3 else images
        samples, slices = images.shape[:2]
        if slice >= slices or sample >= samples:
            raise Missing(f"the estimate has {slices} slices and {samples} samples, each counted from 0")
        one = images[:, slice]
        chosen = {"mean": lambda: one.mean(0), "std": lambda: deviation(one), "sample": lambda: one[sample]}
        return Picture(chosen[what]().numpy().astype("<f4"), slices, samples)

    def raw(self, number: int, row: int | None) -> Raw:
        """The frame that came with an event, or the mean of its fields; raises `Missing`."""
        self.refresh()
        with self._looking:
            frames = self._pictures.frames(number)
            fields = None if frames is None or frames.ndim == 3 else self._fields_before(number)
        if frames is None:
            raise Missing(f"event {number} came without a frame")
        if row is not None and row >= self.setup.rows:
            raise Missing(f"the detector has {self.setup.rows} rows, counted from 0")
        return raw_view(Detector(self.setup), frames, fields, row)

    def close(self) -> None:
        """Waits for those who read; nobody can afterwards."""
        with self._turn, self._looking:
            self._book.close()
            if "_pictures" in self.__dict__:
                self._pictures.close()

    @cached_property
    def _operator(self) -> Radon | Stack:
        return self.setup.operator()

    @cached_property
    def _slices(self) -> tuple[int, ...]:
        """The detector rows that are slices of the estimates."""
        rows = self.setup.rows
        return over_height(self.setup.scouts, rows) if rows > 1 else (0,)

    @cached_property
    def _pictures(self) -> Logbook:
        """A connection of its own, so that nothing waits for large rows."""
        return open_record(self.folder, checked=False)

    def _images(self, told: str) -> Tensor:
        self.refresh()
        with self._turn:
            draws = [one for one in self.ledger.draws if told in (LATEST, str(one["told"]))]
        if not draws:
            raise Missing("no samples are drawn yet" if told == LATEST else f"none were drawn after {told}")
        number, slot = draws[-1]["told"], draws[-1]["slot"]
        with self._looking:
            if number not in self._held:
                tensors = self._pictures.estimate(slot_of(slot), number)
                if tensors is None:
                    raise Missing(f"the samples of {number} measurements are no longer kept; ask for latest")
                self._held = {number: tensors["images"].to(torch.float32)}
            return self._held[number]

    def _unpredicted(self, told: str, slice: int) -> Picture:
        """What projections had that the samples before them did not predict, in units of noise alone."""
        self.refresh()
        slices = len(self._slices)
        if slice >= slices:
            raise Missing(f"samples have {slices} slices, counted from 0")
        with self._turn:
            known = self.ledger.told[: None if told == LATEST else int(told)]
        found = []
        with self._looking:
            for number, one in enumerate(known, 1):
                if (apart := deviations_of(self._pictures, number)) is not None:
                    own = apart.reshape(slices, -1)[slice]
                    found.append(Told(one["design"], math.radians(one["angle"]), None, None, None, own))
        single = self._operator.operator if isinstance(self._operator, Stack) else self._operator
        picture = unpredicted(single, found, rng=stream(self.setup.seed, "disagreement"))
        if picture is None:
            raise Missing("no projection was predicted by samples yet")
        return Picture(picture.numpy().astype("<f4"), slices, 1)

    def _fields_before(self, number: int) -> Fields | None:
        """What was in use when an event came; the latest that was asked for is kept."""
        events = {one.kind: one.number for one in self.events[:number] if one.kind in ("flats", "darks")}
        key = (events.get("flats"), events.get("darks"))
        if key not in self._fields:
            flats, darks = (None if event is None else self._pictures.frames(event) for event in key)
            self._fields = {key: None if flats is None else Fields.of(flats, darks)}
        return self._fields[key]


def as_json(value: Any) -> str:
    """JSON as browsers read it: numbers that are none of theirs, such as NaN, become null."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
