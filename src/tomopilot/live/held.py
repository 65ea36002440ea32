"""What is known of a live scan and on disk: one thread at a time may call; see `live` for many."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomopilot.design.trust import expected_rmse
from tomopilot.experiment import Experiment, Snapshot, Undrawn
from tomopilot.files.archive import Block
from tomopilot.files.logbook import Event, Wish
from tomopilot.live.chooser import Chosen
from tomopilot.live.costs import exhausted
from tomopilot.live.detector import Detector, Exposure, Fields
from tomopilot.live.ledger import Ledger, Suggestion
from tomopilot.live.record import KEY, SLOTS, deviations_of, keep_deviations, open_record, read_setup, slot_of
from tomopilot.live.wishes import granted
from tomopilot.raw.faults import air_level
from tomopilot.records import Draws, Told
from tomopilot.scan.assemble import margin
from tomopilot.scan.recorded import Recorded, fold, unfold

EARLIER = 8  # projections that a new one is compared with
JUDGED = ("surprise", "moves", "worse")  # what is kept of how a projection agreed with what was expected


class Refused(ValueError):
    """What was asked for does not fit the state of the scan; `code` says how, in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # paused, over, unknown, conflict, closed, empty


class Held:
    """A live scan and its record. Every change is one event: on disk first, then in ledger and experiment.

    Made again from the record, it is as it was. `version` grows with every change.
    """

    def __init__(self, folder: Path) -> None:
        self.book = open_record(Path(folder))
        self.setup = read_setup(self.book)
        self.detector, self.ledger = Detector(self.setup), Ledger(self.setup)
        self.parts, scouts = self.setup.assembled()
        self.recorded = Recorded(self.parts.experiment, self.book, KEY, scouts, recall=False)
        self.fields: Fields | None = None
        self.air: list[float] = []  # the line integral of air in each of the latest projections
        self.ready: dict[int, Draws] = {}  # samples by the number told; the scan may or may not use them
        self.stuck: str | None = None  # why nothing can be put on disk
        self.version = 0
        self._recall()

    @property
    def experiment(self) -> Experiment:
        """What is known of the sample."""
        return self.parts.experiment

    def check_open(self, following: float | None = None) -> None:
        """Raises `Refused` where nothing may be suggested, or not an angle that is (degrees)."""
        ledger, waiting = self.ledger, self.ledger.outstanding
        if ledger.mode == "paused":
            raise Refused("paused", f"the scan is paused: {ledger.why}")
        if ledger.over:
            raise Refused("over", f"the scan is {ledger.mode}: {ledger.why}")
        why = exhausted(self.setup, [*ledger.exposed, *(one.angle for one in waiting)], following)
        if len(ledger.told) + len(waiting) >= self.setup.budget:
            why = f"all {self.setup.budget} projections of the budget are asked for"
        elif not self.experiment.free and not (ledger.again or ledger.forced):
            why = "no angle is left"
        if why and waiting:
            raise Refused("over", f"{why}; {len(waiting)} suggestions are outstanding")
        if why:
            raise Refused("over", why)

    def known(self, id: int) -> Suggestion:
        """A suggestion by its number."""
        if id not in self.ledger.suggestions:
            latest = len(self.ledger.suggestions)
            raise Refused("unknown", f"suggestion {id} is unknown; the latest is {latest}")
        return self.ledger.suggestions[id]

    def suggested(self, chosen: Chosen, key: str | None) -> Suggestion:
        """A design was chosen: it is outstanding from now on, unless a budget does not allow it."""
        design, scores = chosen.decision.design, chosen.decision.scores
        angle = round(self.experiment.operator.shown[design].item(), 4)
        try:
            self.check_open(angle)
        except Refused as error:
            if error.code == "over" and not self.ledger.over and not self.ledger.outstanding:
                self.log("finished", {"reason": str(error)})
            raise
        gain = None if scores is None else [None if math.isnan(s) else s for s in scores.tolist()]
        id = len(self.ledger.suggestions) + 1
        self.log("suggested", {
            "id": id, "design": design, "angle": angle, "by": chosen.by, "why": chosen.why, "gain": gain,
            "flats": self.ledger.flats_due, "key": key,
        })  # fmt: skip
        self.experiment.reserve(design)
        return self.ledger.suggestions[id]

    def judged(self, design: int, exposure: Exposure, angle: float) -> tuple[Block, Told]:
        """A projection at an angle (degrees), and what is to be said of it; slow after an alarm."""
        block = self.recorded.block(design, exposure.values, exposure.noise, math.radians(angle))
        return block, self.recorded.judge(block)

    def told(self, content: dict[str, Any], exposure: Exposure, frame: np.ndarray) -> None:
        """A projection was measured."""
        block, judged = self.judged(content["design"], exposure, content["angle"])
        number = self.experiment.count_told + 1
        content = content | {"number": number} | {name: getattr(judged, name) for name in JUDGED}
        with self._on_disk():
            self.recorded.put(block)
            if judged.deviations is not None:
                keep_deviations(self.book, number, judged.deviations)
            event = self.book.add_event("told", content, frame)
        self._heard(event)
        self._use(block)

    def quarantined(self, content: dict[str, Any], reason: str, frame: np.ndarray) -> None:
        """A projection came that says nothing of the sample."""
        self.log("quarantined", content | {"reason": reason}, frame)
        release(self.experiment, self.ledger, content["design"])

    def failed(self, one: Suggestion, reason: str) -> None:
        """A suggestion could not be measured."""
        self.log("failed", {"id": one.id, "reason": reason})
        release(self.experiment, self.ledger, one.design)

    def took_fields(self, kind: str, frames: np.ndarray) -> int:
        """Flat or dark fields were exposed."""
        event = self.log(kind, {"count": len(frames)}, frames)
        self._use_fields()
        return event.number

    def drawn(self, snapshot: Snapshot, draws: Draws) -> None:
        """Samples of some moment of the scan are there, to look at; `use` has decisions follow from them."""
        slot = self.ledger.free_slot(SLOTS)
        spread = draws.images.std(0).mean().item() if len(draws.images) > 1 else None
        content = {"told": snapshot.told, "slot": slot, "spread": spread, "expected": self._expected(draws)}
        with self._on_disk():
            self.book.add_estimate(slot_of(slot), snapshot.told, unfold(draws))
            event = self.book.add_event("drawn", content)
        self._heard(event)
        self._keep(snapshot.told, draws)

    def use(self, told: int) -> bool:
        """Decides by the samples of a moment from now on; False where they are not ready."""
        snapshot = self.experiment.recent(told)
        if snapshot is None or told not in self.ready:
            return False
        self.log("used", {"told": told})
        self.experiment.take(snapshot, self.ready[told])
        return True

    def use_latest(self) -> None:
        """Decides by the latest samples that are ready, where those that are used are older."""
        newer = [told for told in self.ready if told > (self.ledger.used or [-1])[-1]]
        if newer:
            self.use(max(newer))

    def answer(self, wish: Wish) -> None:
        """An operator asked for something."""
        answer = granted(wish, self.ledger, self.experiment)
        self.log("wish", {"key": wish.key, "name": wish.name, **answer})

    def look(self) -> None:
        """Whether the alarm is raised, the prior left, and the scan complete."""
        raised = self.experiment.raised
        if raised and not self.ledger.alarm:
            self.log("alarm", {"at": raised.at, "by": raised.by})
        if (at := self.experiment.without_prior) and not self.ledger.without_prior:
            self.log("left", {"at": at})
        running = self.ledger.mode == "running" and not self.ledger.outstanding
        if running and (why := self._enough()):
            self.log("finished", {"reason": why})

    def log(self, kind: str, content: dict[str, Any], frames: np.ndarray | None = None) -> Event:
        """Puts an event on disk, then takes note of it."""
        with self._on_disk():
            event = self.book.add_event(kind, content, frames)
        self._heard(event)
        return event

    def _expected(self, draws: Draws) -> float | None:
        """The PSNR (dB) that the estimate is expected to have, where the prior's card has a margin."""
        method = self.setup.plan().methods[0]
        error = expected_rmse(self.experiment.operator.kind.picture(draws.images))
        if not error or method.pair not in self.parts.trust.margins:
            return None
        return -20 * math.log10(margin(method, self.parts.trust) * error / self.parts.peak)

    def _enough(self) -> str | None:
        """Why the scan is complete, or None."""
        try:
            if self.parts.until(AtHand(self.experiment)):
                full = self.experiment.count_told >= self.setup.budget
                return "the budget is measured" if full else f"expected to reach {self.setup.certain:g} dB"
            self.check_open()
        except Undrawn:
            return None
        except Refused as error:
            return str(error)
        return None

    def _use(self, block: Block) -> None:
        self.recorded.take(block)
        assert isinstance(block.setting, float)
        seen = self.detector.line_integrals(block.values, block.setting)
        self.air = [*self.air[1 - EARLIER :], air_level(seen)]

    def _keep(self, told: int, draws: Draws) -> None:
        self.ready[told] = draws
        kept = self.ledger.slots.values()
        self.ready = {moment: known for moment, known in self.ready.items() if moment in (told, *kept)}

    def _use_fields(self) -> None:
        known = {kind: self.book.frames(number) for kind, number in self.ledger.fields.items()}
        flats = known.get("flats")
        self.fields = None if flats is None else Fields.of(flats, known.get("darks"))

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """What is written inside is on disk, all of it, or nothing is, and the state says why."""
        try:
            with self.book.at_once():
                yield
        except OSError as error:
            self.stuck = str(error)
            raise
        self.stuck = None

    def _heard(self, event: Event) -> None:
        self.ledger.apply([event])
        self.version += 1

    def _recall(self) -> None:
        """Everything up to where the scan was stopped, from its record."""
        experiment, blocks, told = self.experiment, self.book.each_block(KEY), []
        for event in self.book.events():
            content = event.content
            if event.kind == "suggested":
                experiment.reserve(content["design"])
            elif event.kind == "told":
                self._use(next(blocks))
                told.append(content)
            elif event.kind == "drawn":
                if tensors := self.book.estimate(slot_of(content["slot"]), content["told"]):
                    self._keep(content["told"], fold(tensors))
            elif event.kind == "used":
                snapshot = experiment.recent(content["told"])
                if snapshot and (draws := self.ready.get(content["told"])):
                    experiment.take(snapshot, draws)
            self.ledger.apply([event])
            if event.kind in ("failed", "quarantined"):
                release(experiment, self.ledger, self.ledger.suggestions[content["id"]].design)
        known = zip(told, experiment.told, strict=True)
        judged = [
            replace(
                one,
                deviations=deviations_of(self.book, number),
                **{name: said.get(name) for name in JUDGED},
            )
            for number, (said, one) in enumerate(known, 1)
        ]
        experiment.recall(judged, None)
        self._use_fields()


def release(experiment: Experiment, ledger: Ledger, design: int) -> None:
    """A design was not measured: it is free again, or barred after too many attempts."""
    experiment.pending.pop(design, None)
    experiment.barred = set(ledger.unusable)


class AtHand:
    """An experiment as stopping rules look at it, where nothing is drawn for them."""

    def __init__(self, experiment: Experiment) -> None:
        self.count_told, self.told = experiment.count_told, experiment.told
        self.raised, self._snapshot = experiment.raised, experiment.snapshot

    def choosing(self) -> Draws:
        """The samples of now; raises `Undrawn` where they are not there."""
        if self._snapshot.chosen_by is None:
            raise Undrawn(self._snapshot)
        return self._snapshot.chosen_by
