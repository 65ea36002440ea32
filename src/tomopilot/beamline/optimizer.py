"""A live scan as bluesky-adaptive 1.x sees it: an optimizer that suggests angles, and evaluates runs."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from tomopilot.beamline.documents import Documents, Shot
from tomopilot.live.held import Refused
from tomopilot.live.ledger import Suggestion
from tomopilot.live.live import Live

ID = "_id"  # of a point, in bluesky-adaptive


class ScanOptimizer:
    """Suggests angles of a live scan; has the shape of bluesky-adaptive's protocols, without importing it.

    `hear` is a callback for the documents of the run, and `evaluate` the evaluation function: its outcomes
    refer to frames, which stay here, as outcomes are written into events. The plans of bluesky-adaptive call
    `suggest` and `ingest` in the event loop; the next suggestion is computed from `ingest` on, in a thread.

    stage, detector, monitor: names of the devices; the stage is the only actuator
    open_beam: what the monitor reads for the flat fields
    """

    def __init__(
        self, live: Live, stage: str, detector: str, monitor: str | None = None, open_beam: float = 1.0
    ) -> None:
        self.live, self.stage, self.open_beam = live, stage, open_beam
        shape = (live.setup.rows, live.setup.columns)
        self._documents = Documents(stage, detector, monitor, shape, self._take)
        self._order: Sequence[int] = ()  # ids as the latest run has acquired them
        self._shots: dict[str, Shot] = {}  # by descriptor and number of their event
        self._waiting = [live.held.known(one["id"]) for one in live.state()["outstanding"]]
        self._pool = ThreadPoolExecutor(1, "tomopilot")
        self._ahead: Future[Suggestion] | None = None

    def suggest(self, num_points: int | None = None) -> Sequence[Mapping[str, Any]]:
        """The next angles in degrees, those of an interrupted scan first; fewer where no more are left.

        Raises `Refused` where there is none: paused, or over.
        """
        wanted = num_points or 1
        found, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        while len(found) < wanted:
            try:
                found.append(self._next())
            except Refused:
                if not found:
                    raise
                break
        return [{ID: one.id, self.stage: one.angle} for one in found]

    def hear(self, name: str, doc: Mapping[str, Any]) -> None:
        """Takes a document of a run."""
        if name == "start":
            self._order = doc.get("blop_acquisition_order", ())
        self._documents(name, doc)

    def evaluate(
        self, uid: str | tuple[int, ...], suggestions: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """What was acquired: for each suggestion a reference to its frame, and the angle read back.

        uid: ids in the order of acquisition, or of a run of its own
        """
        order = uid if isinstance(uid, tuple) else self._order or [one[ID] for one in suggestions]
        taken = list(self._shots.items())[-len(order) :]
        if len(taken) != len(order):
            raise ValueError(
                f"{len(order)} suggestions were acquired, but documents of {len(taken)} frames came; "
                "subscribe `hear` to the run, and read stage and detector once for each"
            )
        self._shots = dict(taken)
        return [
            {ID: id, "frame": frame, "angle": shot.angle}
            for id, (frame, shot) in zip(order, taken, strict=True)
        ]

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Tells the scan what was measured; on disk once it returns. Then the next suggestion is begun."""
        for point in points:
            shot = self._shots.pop(str(point.get("frame")), None)
            if shot is None or not isinstance(point.get(ID), int):
                raise ValueError(
                    f"the point {dict(point)} is no outcome of `evaluate`; a scan is told frames of what "
                    "it suggested"
                )
            monitor = None if shot.monitor is None else shot.monitor / self.open_beam
            self.live.tell(point[ID], shot.frame(), shot.angle, monitor)
        self._ahead = self._pool.submit(self.live.suggest)

    def get_best_points(self) -> Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]:
        """All that was measured: no angle of a scan is better than the others."""
        told = self.live.held.ledger.told
        return [(one["id"], {self.stage: one["angle"]}, {"number": one["number"]}) for one in told]

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """These could not be measured; they are suggested again."""
        for one in suggestions:
            with suppress(Refused):  # it was told before the failure
                self.live.fail(one[ID], "the acquisition failed")

    def should_stop(self) -> tuple[bool, str | None]:
        """Whether the scan is over, and why."""
        ledger = self.live.held.ledger
        return ledger.over, ledger.why

    def checkpoint(self) -> None:
        """Nothing is left to write: what was ingested is on disk."""

    def close(self) -> None:
        """Ends the thread that computes ahead; what it has suggested stays outstanding."""
        self._pool.shutdown(wait=False)

    def _next(self) -> Suggestion:
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead else self.live.suggest()

    def _take(self, event: Mapping[str, Any], shot: Shot) -> None:
        frame = f"{event['descriptor']}/{event['seq_num']}"
        self._shots.pop(frame, None)  # it was interrupted
        self._shots[frame] = shot
