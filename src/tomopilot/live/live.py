"""A scan of a real instrument: it suggests, is told, survives every fault, and is never late."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomopilot.disk import sweep
from tomopilot.experiment import Experiment, Snapshot, Undrawn
from tomopilot.files.archive import Block
from tomopilot.files.logbook import Event, Logbook, Wish
from tomopilot.live.chooser import Chooser, Chosen
from tomopilot.live.costs import exhausted
from tomopilot.live.detector import Detector, Exposure, Fields, Unusable
from tomopilot.live.ledger import Ledger, Suggestion
from tomopilot.live.record import ALIVE, BOOK, KEY, SLOTS, begin, read_setup, slot_of
from tomopilot.live.sampling import Sampler
from tomopilot.live.setup import Setup
from tomopilot.live.wishes import granted
from tomopilot.records import Draws
from tomopilot.scan.lock import locked
from tomopilot.scan.recorded import Recorded, fold, unfold

BEAT = 0.25  # seconds between two looks at the operator's wishes
EARLIER = 8  # projections that a new one is compared with


class Refused(ValueError):
    """What was asked for does not fit the state of the scan; `code` says how, in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # paused, over, unknown, conflict


class Live:
    """A live scan in its folder; opened again, it goes on exactly where it was.

    What `tell`, `fail`, `suggest` and `wish` have returned of is on disk. Every decision follows from the
    record, without clocks. Any number of threads may call; one process at a time holds a scan, see `hold`.
    """

    def __init__(self, folder: Path, pool: Callable[[], Executor] | None = None) -> None:
        self.folder, self.book = Path(folder), Logbook(Path(folder) / BOOK)
        self.setup = read_setup(self.book)
        self.detector = Detector(self.setup)
        self.parts, scouts = self.setup.assembled()
        self.recorded = Recorded(self.parts.experiment, self.book, KEY, scouts, recall=False)
        self.ledger, self.fields = Ledger(self.setup), None
        self._changed, self._turn = threading.Condition(threading.RLock()), threading.Lock()
        self._version, self._stuck = 0, None
        self.chooser = Chooser(self.setup, self.experiment)
        self._recall()
        self._sampler = Sampler(pool or (lambda: ThreadPoolExecutor(1)), self._drawn)
        self._closing = threading.Event()
        self._beat = threading.Thread(target=self._attend_wishes, daemon=True)
        self._beat.start()
        with self._changed:
            self._go_on()

    @property
    def experiment(self) -> Experiment:
        """What is known of the sample."""
        return self.parts.experiment

    def state(self) -> dict[str, Any]:
        """See `Ledger.state`; `stuck` says why nothing can be put on disk."""
        with self._changed:
            return self.ledger.state() | {"stuck": self._stuck}

    def suggest(self, key: str | None = None) -> Suggestion:
        """The next angle to expose, within the deadline of the setup; asked again with a key, the same.

        It stays outstanding until it is told or failed. Raises `Refused`: paused, or over.
        """
        latest = time.monotonic() + self.setup.deadline
        with self._turn:
            while True:
                with self._changed:
                    if key is not None and (known := self.ledger.of_key(key)):
                        return known[0]
                    self._check_open()
                    late = time.monotonic() >= latest
                    version, choose = self._version, self.chooser(self.ledger, late, self._sampler.failed)
                try:
                    made = choose()
                except Undrawn as missing:
                    self._await(missing.snapshot, latest)
                    continue
                with self._changed:
                    if version == self._version:  # else something was told meanwhile
                        return self._suggested(made, key)

    def flats(self, frames: np.ndarray) -> int:
        """Takes flat fields (n, rows, columns): the open beam. Returns the number of the event."""
        return self._take_fields("flats", frames)

    def darks(self, frames: np.ndarray) -> int:
        """Takes dark fields (n, rows, columns), before the flats that they belong to."""
        return self._take_fields("darks", frames)

    def tell(
        self, id: int, frame: np.ndarray, angle: float | None = None, monitor: float | None = None
    ) -> dict[str, Any]:
        """Takes the frame of a suggestion; it is on disk, used or quarantined, once this returns.

        angle: degrees that the stage read back; None: the suggestion's
        monitor: incident intensity, 1 as for the flat fields
        The same again is answered the same. Raises `Refused`: unknown, or conflict where other data came.
        """
        one = self._known(id)
        reached = one.angle if angle is None else float(angle)
        if not math.isfinite(reached):
            raise ValueError(f"the angle read back is {angle}; expected degrees")
        frame = np.asarray(frame)
        if frame.dtype.hasobject:
            raise ValueError(f"the frame holds {frame.dtype}; expected numbers")
        digest = _digest(frame, reached, monitor)
        with self._changed:
            earlier, fields = self._earlier(), self.fields
        try:
            exposure: Exposure | str = self._exposed(one, frame, reached, monitor, fields, earlier)
        except Unusable as error:
            exposure = str(error)
        with self._changed:
            one = self._known(id)
            if one.digest == digest and one.answer is not None:
                return one.answer
            if one.fate != "outstanding":
                raise Refused("conflict", f"suggestion {id} was {one.fate} already, with other data")
            content = {"id": id, "design": one.design, "angle": reached, "digest": digest, "monitor": monitor}
            if isinstance(exposure, str):
                self._quarantine(content, exposure, frame)
            else:
                self._tell(content, exposure, frame)
            self._go_on()
            answer = self.ledger.suggestions[id].answer
            assert answer is not None
            return answer

    def fail(self, id: int, reason: str) -> dict[str, Any]:
        """A suggestion could not be measured; it is asked for again, as often as the setup says."""
        with self._changed:
            one = self._known(id)
            if one.fate == "outstanding":
                self._log("failed", {"id": id, "reason": reason})
                self._release(one.design)
                self._go_on()
            elif one.fate != "failed":
                raise Refused("conflict", f"suggestion {id} was {one.fate} already")
            answer = self.ledger.suggestions[id].answer
            assert answer is not None
            return answer

    def wish(self, wish: Wish) -> dict[str, Any]:
        """What an operator asks for, granted or not; see `WISHES`."""
        with self._changed:
            if wish.key not in self.ledger.answered:
                self._answer(wish)
                self._go_on()
            return self.ledger.answered[wish.key]

    def close(self) -> None:
        """Ends the threads; the record stays as it is."""
        self._closing.set()
        self._beat.join()
        self._sampler.close()
        self.book.close()

    def _check_open(self) -> None:
        ledger = self.ledger
        if ledger.mode == "paused":
            raise Refused("paused", f"the scan is paused: {ledger.why}")
        if self.ledger.over:
            raise Refused("over", f"the scan is {ledger.mode}: {ledger.why}")
        waiting = len(ledger.outstanding)
        exposed = [*ledger.exposed, *(one.angle for one in ledger.outstanding)]
        if why := exhausted(self.setup, exposed, len(ledger.told) + waiting):
            raise Refused("over", f"{why}; {waiting} suggestions are outstanding")
        if not self.experiment.free and not (ledger.again or ledger.forced):
            raise Refused("over", f"no angle is left; {waiting} suggestions are outstanding")

    def _await(self, snapshot: Snapshot, latest: float) -> None:
        """Waits for samples, for news, or for the deadline."""
        with self._changed:
            self._sampler.start(snapshot)
            version, wait = self._version, latest - time.monotonic()
            if wait > 0 and snapshot is not self._sampler.failed and snapshot.chosen_by is None:
                self._changed.wait_for(lambda: version != self._version, wait)

    def _suggested(self, chosen: Chosen, key: str | None) -> Suggestion:
        design, scores = chosen.decision.design, chosen.decision.scores
        gain = None if scores is None else [None if math.isnan(s) else s for s in scores.tolist()]
        id = len(self.ledger.suggestions) + 1
        angle = round(self.experiment.operator.shown[design].item(), 4)
        self._log("suggested", {
            "id": id, "design": design, "angle": angle, "by": chosen.by, "why": chosen.why, "gain": gain,
            "flats": self.ledger.flats_due, "key": key,
        })  # fmt: skip
        self.experiment.reserve(design)
        return self.ledger.suggestions[id]

    def _exposed(
        self,
        one: Suggestion,
        frame: np.ndarray,
        reached: float,
        monitor: float | None,
        fields: Fields | None,
        earlier: list[tuple[float, np.ndarray]],
    ) -> Exposure:
        """The line integrals of a frame, and where it was taken; raises `Unusable`."""
        apart = abs((reached - one.angle + 180) % 360 - 180)
        if apart > self.setup.tolerance:
            raise Unusable(f"the stage read back {reached:g} degrees, {apart:.3g} from {one.angle:g}")
        frame = self.detector.frame(frame)
        return self.detector.expose(frame, math.radians(reached), fields, monitor, earlier)

    def _earlier(self) -> list[tuple[float, np.ndarray]]:
        return self._line_integrals[-EARLIER:]

    def _tell(self, content: dict[str, Any], exposure: Exposure, frame: np.ndarray) -> None:
        setting = math.radians(content["angle"])
        block = self.recorded.block(content["design"], exposure.values, exposure.noise, setting)
        told = self.recorded.judge(block)
        content |= {
            "number": self.experiment.count_told + 1, "surprise": told.surprise, "moves": told.moves,
        }  # fmt: skip
        with self._on_disk():
            self.recorded.put(block)
            event = self.book.add_event("told", content, frame)
        self._heard(event)
        self._use(block)

    def _use(self, block: Block) -> None:
        self.recorded.take(block)
        assert isinstance(block.setting, float)
        seen = self.detector.line_integrals(block.values, block.setting)
        self._line_integrals = [*self._line_integrals[1 - EARLIER :], (block.setting, seen)]

    def _quarantine(self, content: dict[str, Any], reason: str, frame: np.ndarray) -> None:
        self._log("quarantined", content | {"reason": reason}, frame)
        self._release(content["design"])

    def _release(self, design: int) -> None:
        """A design was not measured: it is free again, or barred after too many attempts."""
        self.experiment.pending.pop(design, None)
        self.experiment.barred = set(self.ledger.unusable)

    def _take_fields(self, kind: str, frames: np.ndarray) -> int:
        frames = self.detector.fields(frames)
        with self._changed:
            event = self._log(kind, {"count": len(frames)}, frames)
            self._use_fields()
            return event.number

    def _use_fields(self) -> None:
        known = {kind: self.book.frames(number) for kind, number in self.ledger.fields.items()}
        flats = known.get("flats")
        self.fields = None if flats is None else Fields.of(flats, known.get("darks"))

    def _known(self, id: int) -> Suggestion:
        with self._changed:
            if id not in self.ledger.suggestions:
                raise Refused(
                    "unknown", f"suggestion {id} is unknown; there are 1 to {len(self.ledger.suggestions)}"
                )
            return self.ledger.suggestions[id]

    def _go_on(self) -> None:
        """After news: the alarm, the end, and samples for what comes next."""
        ledger, experiment = self.ledger, self.experiment
        raised = self.parts.alarm(experiment.told) if self.parts.alarm else None
        if raised and not ledger.alarm:
            self._log("alarm", {"at": raised.at, "by": raised.by})
        if not ledger.outstanding and ledger.mode == "running" and (why := self._enough()):
            self._log("finished", {"reason": why})
        if self.ledger.over or not experiment.count_told:
            return
        wanted = experiment.snapshot
        try:
            experiment.policy.choose(experiment.at_hand())
        except Undrawn as missing:
            wanted = missing.snapshot
        except ValueError:  # nothing is left to ask
            pass
        self._sampler.start(wanted)

    def _enough(self) -> str | None:
        """Why the scan is complete, or None."""
        try:
            if self.parts.until(_AtHand(self.experiment)):
                full = self.experiment.count_told >= self.setup.budget
                return (
                    "the budget is measured"
                    if full
                    else f"the estimate is expected to reach {self.setup.certain:g} dB"
                )
        except Undrawn:
            return None
        try:
            self._check_open()
        except Refused as error:
            return str(error).partition(";")[0] if error.code == "over" else None
        return None

    def _drawn(self, snapshot: Snapshot, outcome: Draws | BaseException) -> None:
        """Takes samples that were drawn in the background, or says what went wrong."""
        with self._changed:
            try:
                if isinstance(outcome, BaseException):
                    kind = type(outcome).__name__
                    self._log("trouble", {"told": snapshot.told, "message": f"{kind}: {outcome}"[:500]})
                elif self.experiment.recent(snapshot.told) is snapshot:
                    self._keep(snapshot, outcome)
                    self._go_on()
                else:
                    self._sampler.start(self.experiment.snapshot)
            except OSError:
                pass  # nothing can be put on disk; samples can be drawn again
            finally:
                self._version += 1
                self._changed.notify_all()

    def _keep(self, snapshot: Snapshot, draws: Draws) -> None:
        slot = len(self.ledger.draws) % SLOTS
        with self._on_disk():
            self.book.add_estimate(slot_of(slot), snapshot.told, unfold(draws))
            event = self.book.add_event("drawn", {
                "told": snapshot.told, "slot": slot, "spread": draws.images.std(0).mean().item(),
            })  # fmt: skip
        self.experiment.take(snapshot, draws)
        self._heard(event)

    def _log(self, kind: str, content: dict[str, Any], frames: np.ndarray | None = None) -> Event:
        with self._on_disk():
            event = self.book.add_event(kind, content, frames)
        self._heard(event)
        return event

    def _heard(self, event: Event) -> None:
        self.ledger.apply([event])
        self._version += 1
        self._changed.notify_all()

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """What is written inside is on disk, all of it, or nothing is, and the state says why."""
        try:
            with self.book.at_once():
                yield
        except OSError as error:
            self._stuck = str(error)
            raise
        self._stuck = None

    def _attend_wishes(self) -> None:
        """Answers what operators leave in the record, and shows that the scan is alive."""
        while not self._closing.wait(BEAT):
            (self.folder / ALIVE).touch()
            with self._changed:
                try:
                    new = [wish for wish in self.book.wishes() if wish.key not in self.ledger.answered]
                    for wish in new:
                        self._answer(wish)
                    if new:
                        self._go_on()
                except OSError:
                    continue  # a full disk: they are answered once there is room

    def _answer(self, wish: Wish) -> None:
        content = {"key": wish.key, "name": wish.name, **granted(wish, self.ledger, self.experiment)}
        self._log("wish", content)

    def _recall(self) -> None:
        """Everything up to where the scan was stopped, from its record."""
        experiment, blocks, told = self.experiment, self.book.each_block(KEY), []
        self._line_integrals: list[tuple[float, np.ndarray]] = []
        for event in self.book.events():
            content = event.content
            if event.kind == "suggested":
                experiment.reserve(content["design"])
            elif event.kind == "told":
                self._use(next(blocks))
                told.append(content)
            elif event.kind == "drawn":
                tensors = self.book.estimate(slot_of(content["slot"]), content["told"])
                snapshot = experiment.recent(content["told"])
                if tensors and snapshot:
                    experiment.take(snapshot, fold(tensors))
            self.ledger.apply([event])
            if event.kind in ("failed", "quarantined"):
                self._release(self.ledger.suggestions[content["id"]].design)
        experiment.recall(
            [
                replace(known, surprise=one["surprise"], moves=one["moves"])
                for one, known in zip(told, experiment.told, strict=True)
            ],
            None,
        )
        self._use_fields()


class _AtHand:
    """An experiment as stopping rules look at it, where nothing is drawn for them."""

    def __init__(self, experiment: Experiment) -> None:
        self.count_told, self.told, self._snapshot = (
            experiment.count_told,
            experiment.told,
            experiment.snapshot,
        )

    def choosing(self) -> Draws:
        if self._snapshot.chosen_by is None:
            raise Undrawn(self._snapshot)
        return self._snapshot.chosen_by


@contextmanager
def hold(
    folder: Path, setup: Setup | None = None, pool: Callable[[], Executor] | None = None
) -> Iterator[Live]:
    """Holds a live scan: a new one of a setup, or the one that is there.

    Raises ValueError that names the owner where another process holds it.
    """
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


def _digest(frame: np.ndarray, angle: float, monitor: float | None) -> str:
    found = hashlib.sha256(f"{frame.dtype.str} {frame.shape} {angle!r} {monitor!r}".encode())
    found.update(np.ascontiguousarray(frame).tobytes())
    return found.hexdigest()
