"""A scan of a real instrument: it suggests, is told, survives every fault, and is never late."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tomopilot.disk import sweep
from tomopilot.experiment import Snapshot, Undrawn
from tomopilot.files.logbook import Wish
from tomopilot.live.chooser import Chooser
from tomopilot.live.detector import Exposure, Unusable
from tomopilot.live.held import Held, Refused
from tomopilot.live.ledger import Suggestion
from tomopilot.live.record import ALIVE, begin, check_record
from tomopilot.live.sampling import Sampler
from tomopilot.live.setup import Setup
from tomopilot.records import Draws
from tomopilot.scan.lock import locked

BEAT = 0.25  # seconds between two looks at the operator's wishes

Pool = Callable[[], Executor]


class Live:
    """A live scan that any number of threads may call; one process at a time holds it, see `hold`.

    What `tell`, `fail`, `suggest` and `wish` have returned of is on disk. Every decision follows from the
    record, without clocks. Samples are drawn in the background, from each measurement on.

    pool: makes what they are drawn in, anew where a worker died
    """

    def __init__(self, folder: Path, pool: Pool = lambda: ThreadPoolExecutor(1)) -> None:
        self.folder, self.held = Path(folder), Held(folder)
        self.setup, self._chooser = self.held.setup, Chooser(self.held.setup, self.held.experiment)
        self._changed = threading.Condition(threading.RLock())  # held by whoever looks or changes
        self._turn, self._closing = threading.RLock(), threading.Event()
        self._sampler = Sampler(pool, self._drawn)
        self._beat = threading.Thread(target=self._attend, daemon=True)
        (self.folder / ALIVE).touch()
        with self._changed:
            self._go_on()
        self._beat.start()

    def state(self) -> dict[str, Any]:
        """See `Ledger.state`; `stuck` says why nothing can be put on disk."""
        with self._changed:
            return self.held.ledger.state() | {"stuck": self.held.stuck}

    def suggest(self, key: str | None = None) -> Suggestion:
        """The next angle to expose, within the deadline of the setup; asked again with a key, the same.

        It stays outstanding until it is told or failed. Raises `Refused`: paused, over, or closed meanwhile.
        """
        return self.sweep(1, key)[0]

    def sweep(self, count: int, key: str | None = None) -> list[Suggestion]:
        """Angles to expose in one motion of the stage, as `suggest`; fewer where no more may be exposed.

        The same samples choose all of them, each by what is left once those before it are measured.
        """
        if count < 1:
            raise ValueError(f"a sweep of {count} angles was asked for; expected 1 or more")
        deadline, found = time.monotonic() + self.setup.deadline, []
        with self._turn:
            while len(found) < count:
                try:
                    found.append(self._next(key, len(found), deadline))
                except (Refused, OSError):
                    if not found:
                        raise
                    break  # those before are on disk
        return found

    def flats(self, frames: np.ndarray) -> int:
        """Takes flat fields (n, rows, columns): the open beam. Returns the number of the event."""
        return self._fields("flats", frames)

    def darks(self, frames: np.ndarray) -> int:
        """Takes dark fields (n, rows, columns), before the flats that they belong to."""
        return self._fields("darks", frames)

    def tell(
        self, id: int, frame: np.ndarray, angle: float | None = None, monitor: float | None = None
    ) -> dict[str, Any]:
        """Takes the frame of a suggestion; it is on disk, used or quarantined, once this returns.

        angle: degrees that the stage read back; None: the suggestion's
        monitor: incident intensity, 1 as for the flat fields
        The same again is answered the same. Raises `Refused`: unknown, or conflict where other data came.
        """
        frame = np.asarray(frame)
        with self._changed:
            one, fields, air = self.held.known(id), self.held.fields, self.held.air
        reached = one.angle if angle is None else float(angle)
        _check_told(frame, reached, monitor)
        digest = _digest(frame, reached, monitor)
        try:
            self._check_reached(one, reached)
            whole = self.held.detector.frame(frame)
            exposure: Exposure | str = self.held.detector.expose(
                whole, math.radians(reached), fields, monitor, air
            )
            if one.fate == "outstanding":
                self.held.judged(one.design, exposure, reached)  # so that nobody waits for it below
        except Unusable as error:
            exposure = str(error)
        with self._changed:
            one = self.held.known(id)
            if one.fate == "outstanding":
                content = {"id": id, "design": one.design, "angle": reached, "digest": digest}
                content |= {"monitor": monitor}
                if isinstance(exposure, str):
                    self.held.quarantined(content, exposure, frame)
                else:
                    self.held.told(content, exposure, frame)
                self._go_on()
            elif one.digest != digest:
                raise Refused("conflict", f"suggestion {id} was {one.fate} already, with other data")
            return _answer(self.held.known(id))

    def fail(self, id: int, reason: str) -> dict[str, Any]:
        """A suggestion could not be measured; it is asked for again, as often as the setup says."""
        with self._changed:
            one = self.held.known(id)
            if one.fate == "outstanding":
                self.held.failed(one, reason)
                self._go_on()
            elif one.fate != "failed":
                raise Refused("conflict", f"suggestion {id} was {one.fate} already")
            return _answer(self.held.known(id))

    def wish(self, wish: Wish) -> dict[str, Any]:
        """What an operator asks for, granted or not; see `WISHES`."""
        with self._changed:
            if wish.key not in self.held.ledger.answered:
                self.held.answer(wish)
                self._go_on()
            return self.held.ledger.answered[wish.key]

    def close(self) -> None:
        """Ends the threads; the record stays as it is."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._beat.join()
        self._sampler.close()
        with self._changed:  # a connection must not be closed while another thread reads or writes
            self.held.book.close()

    def _next(self, key: str | None, number: int, deadline: float) -> Suggestion:
        """The suggestion of a number, from 0, for a request with a key."""
        while True:
            with self._changed:
                if self._closing.is_set():
                    raise Refused("closed", "the scan was closed here; hold it again")
                if key is not None and len(known := self.held.ledger.of_key(key)) > number:
                    return known[number]
                self.held.check_open()
                if late := time.monotonic() >= deadline:
                    self.held.use_latest()
                version = self.held.version
                choose = self._chooser(self.held.ledger, late, self._sampler.failed)
            try:
                chosen = choose()
            except Undrawn as missing:
                self._await(missing.snapshot, deadline)
                continue
            with self._changed:
                if version == self.held.version:  # else something was told meanwhile
                    return self.held.suggested(chosen, key)

    def _check_reached(self, one: Suggestion, reached: float) -> None:
        apart = abs((reached - one.angle + 180) % 360 - 180)
        if apart > self.setup.tolerance:
            raise Unusable(f"the stage read back {reached:g} degrees, {apart:.3g} from {one.angle:g}")

    def _await(self, snapshot: Snapshot, deadline: float) -> None:
        """Takes samples that are ready, or waits for them, for news, or for the deadline."""
        with self._changed:
            if self.held.use(snapshot.told):
                return
            version, wait = self.held.version, deadline - time.monotonic()
            self._draw(snapshot)  # perhaps at once
            if wait > 0 and snapshot is not self._sampler.failed:
                self._changed.wait_for(lambda: version != self.held.version or self._closing.is_set(), wait)

    def _draw(self, snapshot: Snapshot) -> None:
        if snapshot.told not in self.held.ready:
            self._sampler.start(snapshot)

    def _fields(self, kind: str, frames: np.ndarray) -> int:
        frames = self.held.detector.fields(frames)
        with self._changed:
            number = self.held.took_fields(kind, frames)
            self._changed.notify_all()
            return number

    def _go_on(self) -> None:
        """After news: the alarm, the end, and samples for what comes next."""
        self.held.look()
        self._changed.notify_all()
        if self.held.experiment.count_told:  # also of the last one: to look at
            self._draw(self.held.experiment.snapshot)

    def _drawn(self, snapshot: Snapshot, outcome: Draws | BaseException) -> None:
        """Takes samples that were drawn in the background, or says what went wrong."""
        with self._changed:
            if self._closing.is_set():
                return
            try:
                if isinstance(outcome, BaseException):
                    message = f"{type(outcome).__name__}: {outcome}"[:500]
                    self.held.log("trouble", {"told": snapshot.told, "message": message})
                else:
                    self.held.drawn(snapshot, outcome)
                self._go_on()
            except OSError:
                pass  # nothing can be put on disk; samples can be drawn again
            finally:
                self._changed.notify_all()

    def _attend(self) -> None:
        """Answers what operators leave in the record, and shows that the scan is alive."""
        while not self._closing.wait(BEAT):
            try:
                (self.folder / ALIVE).touch()
                with self._changed:
                    answered = self.held.ledger.answered
                    for wish in [one for one in self.held.book.wishes() if one.key not in answered]:
                        self.wish(wish)
            except OSError:
                continue  # a full disk: they are answered once there is room


@contextmanager
def hold(
    folder: Path, setup: Setup | None = None, pool: Pool = lambda: ThreadPoolExecutor(1)
) -> Iterator[Live]:
    """Holds a live scan: a new one of a setup, or the one that is there.

    Raises ValueError that names the owner where another process holds it.
    """
    if setup is None:
        check_record(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        sweep(folder)
        if setup is not None:
            begin(folder, setup)
        live = Live(folder, pool)
        try:
            yield live
        finally:
            live.close()


def _check_told(frame: np.ndarray, angle: float, monitor: float | None) -> None:
    """Raises on what cannot be kept at all."""
    if frame.dtype.kind not in "buifc":
        raise ValueError(f"the frame holds {frame.dtype}; expected numbers")
    if not math.isfinite(angle):
        raise ValueError(f"the angle read back is {angle}; expected degrees")
    if monitor is not None and not 0 <= monitor < math.inf:
        raise ValueError(f"the monitor is {monitor}; expected a finite share of what it was for the flats")


def _digest(frame: np.ndarray, angle: float, monitor: float | None) -> str:
    found = hashlib.sha256(f"{frame.dtype.str} {frame.shape} {angle!r} {monitor!r}".encode())
    found.update(np.ascontiguousarray(frame).tobytes())
    return found.hexdigest()


def _answer(one: Suggestion) -> dict[str, Any]:
    assert one.answer is not None
    return one.answer
