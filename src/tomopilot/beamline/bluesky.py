"""Adaptive scans as Bluesky plans, around a live scan that is held in the same process."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

try:
    import bluesky.preprocessors as bpp
    from bluesky.plan_stubs import checkpoint
    from bluesky.utils import FailedPause, MsgGenerator, RunEngineControlException
except ImportError as error:
    raise ImportError("the Bluesky plan needs Bluesky: pip install 'tomopilot[bluesky]'") from error

from tomopilot import __version__
from tomopilot.beamline.devices import Devices, Stopped, Switch, mean_monitor
from tomopilot.beamline.documents import Shot, Unfit
from tomopilot.beamline.workers import Workers, settled
from tomopilot.live.held import Refused
from tomopilot.live.ledger import Suggestion
from tomopilot.live.live import Live
from tomopilot.prior.checkpoint import folder_of, read_card

log = logging.getLogger(__name__)
IN_A_ROW = 5  # exposures that fail: something is broken


def adaptive_scan(
    live: Live,
    stage: Any,
    detector: Any,
    *,
    shutter: Switch | None = None,
    sample: Switch | None = None,
    monitor: Any = None,
    flats: int = 10,
    darks: int = 5,
    sweep: int = 1,
    overlap: bool = True,
    timeout: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """A plan that measures what a live scan suggests until it is over; returns why it ended.

    stage, detector, monitor: devices of ophyd or ophyd-async; the stage moves and reads back degrees
    shutter, sample: what has to move for dark fields, and for flat fields
    flats, darks: frames of the open and of the closed beam, at the beginning and whenever they are due
    sweep: suggestions that are measured together, in the order of their angles
    overlap: the next suggestion is computed while the stage moves and the detector exposes, without what
        is being measured
    timeout: seconds that one move or exposure may take; None: as long as the device allows
    Nothing is computed in the event loop, so the run can be paused, suspended and stopped at any instant.
    A move or an exposure that fails is reported to the scan, which goes on; five in a row end the run.
    Raises ValueError where the fields cannot be taken, or the stage refuses angles that may be suggested.
    """
    if sweep < 1:
        raise ValueError(f"sweep is {sweep}; expected 1 or more suggestions")
    devices = Devices(live, stage, detector, monitor, shutter, sample, flats, darks, timeout)
    scan = _Scan(live, devices, sweep, overlap)

    @bpp.subs_decorator(devices.documents)
    @bpp.stage_decorator(devices.staged)
    @bpp.run_decorator(md={**metadata(live, detector, stage), **(md or {})})
    def run() -> MsgGenerator[None]:
        yield from scan.run()

    def plan() -> MsgGenerator[str]:
        try:
            yield from devices.check_limits(live.held.experiment.operator.shown)
            yield from run()
            return scan.ended
        finally:
            scan.close()

    return plan()


def metadata(live: Live, detector: Any, stage: Any) -> dict[str, Any]:
    """Of a run: what decides, and by which prior."""
    prior = live.setup.plan().methods[0].prior
    card = read_card(folder_of(prior)) if prior else {}
    return {
        "plan_name": "adaptive_scan",
        "detectors": [detector.name],
        "motors": [stage.name],
        "num_points": live.setup.budget,
        "tomopilot": {
            "version": __version__,
            "setup": json.loads(live.setup.to_json()),
            "prior": {key: card[key] for key in ("name", "sha256") if key in card},
        },
    }


class _Scan:
    """What is asked and told in one run."""

    def __init__(self, live: Live, devices: Devices, sweep: int, overlap: bool) -> None:
        self.live, self.devices, self.workers = live, devices, Workers()
        self.sweep, self.overlap = sweep, overlap
        self.untold: list[tuple[Suggestion, Shot]] = []
        self.open_beam = 1.0  # what the monitor read for the flat fields
        self.failures = 0  # in a row
        self.at = 0.0  # degrees, of the latest exposure
        self.ended = ""  # why

    def run(self) -> MsgGenerator[None]:
        """All of it, in an open run."""
        try:
            yield from self._take_fields()
            batch, ahead = (yield from self.workers.call(self._outstanding)), None
            while True:
                batch = batch or (yield from self._next(ahead))
                if any(one.flats for one in batch):
                    yield from self._take_fields()
                ahead = self.workers.start(self._ask) if self.overlap else None
                for one in self._in_order(batch):
                    yield from self._measure(one)
                if ahead is not None:
                    yield from settled(ahead)
                yield from self._tell_all()
                batch = []
        except (Stopped, Refused) as end:
            if isinstance(end, Refused) and end.code != "over":
                raise
            yield from self._tell_all()
            self.ended = str(end)

    def close(self) -> None:
        """What was measured is told, however the run ended."""
        self.workers.close(partial(self._told, *each) for each in self.untold)

    def _outstanding(self) -> list[Suggestion]:
        """Of an interrupted scan."""
        return [self.live.held.known(one["id"]) for one in self.live.state()["outstanding"]]

    def _ask(self) -> list[Suggestion]:
        """The next suggestions; raises `Refused` where there is none."""
        return self.live.sweep(self.sweep)

    def _next(self, ahead: Future[list[Suggestion]] | None) -> MsgGenerator[list[Suggestion]]:
        if ahead is not None:
            with suppress(Refused, OSError):  # what was told since then may change it
                return ahead.result()
        return (yield from self.workers.call(self._ask))

    def _in_order(self, batch: Sequence[Suggestion]) -> list[Suggestion]:
        """One sweep, from the nearer end."""
        rising = sorted(batch, key=lambda one: one.angle)
        nearer = abs(rising[0].angle - self.at) <= abs(rising[-1].angle - self.at)
        return rising if nearer else rising[::-1]

    def _measure(self, one: Suggestion) -> MsgGenerator[None]:
        try:
            shot = yield from self.devices.measure(one)
        except (RunEngineControlException, FailedPause, Stopped, Unfit):
            raise
        except Exception as error:
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {cause}"
            yield from checkpoint()  # what failed is not repeated
            yield from self.workers.call(self._failed, one, reason)
            self._count(reason)
        else:
            self.at = one.angle
            self.untold.append((one, shot))

    def _take_fields(self) -> MsgGenerator[None]:
        """Dark fields, then the flat fields that they are subtracted from."""
        if self.devices.darks:
            shots = yield from self.devices.take_darks()
            yield from self.workers.call(_give, self.live.darks, shots)
        if self.devices.flats:
            shots = yield from self.devices.take_flats()
            if self.devices.monitor is not None:
                self.open_beam = mean_monitor(self.devices.monitor.name, shots)
            yield from self.workers.call(_give, self.live.flats, shots)
        yield from self.devices.go_back()

    def _tell_all(self) -> MsgGenerator[None]:
        while self.untold:
            answer = yield from self.workers.call(self._told, *self.untold[0])
            del self.untold[0]
            if answer["accepted"]:
                self.failures = 0
            else:
                self._count(answer["reason"])

    def _told(self, one: Suggestion, shot: Shot) -> dict[str, Any]:
        """On disk once it returns."""
        monitor = None if shot.monitor is None else shot.monitor / self.open_beam
        try:
            return self.live.tell(one.id, shot.frame(), shot.angle, monitor)
        except ValueError as error:
            return self._failed(one, str(error))

    def _failed(self, one: Suggestion, reason: str) -> dict[str, Any]:
        try:
            return self.live.fail(one.id, reason)
        except Refused as error:  # somebody else has told it
            return {"accepted": False, "reason": str(error)}

    def _count(self, reason: str) -> None:
        log.warning("an exposure failed: %s", reason)
        self.failures += 1
        if self.failures >= IN_A_ROW:
            raise RuntimeError(f"{IN_A_ROW} exposures in a row failed; the latest: {reason}")


def _give(take: Callable[[np.ndarray], int], shots: Sequence[Shot]) -> int:
    return take(np.stack([shot.frame() for shot in shots]))
