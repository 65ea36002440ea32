"""The devices of an adaptive scan, and what is done with them: plans of moves and exposures."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import torch
from bluesky.utils import Msg, MsgGenerator, maybe_await

from tomopilot.beamline.documents import Documents, Shot, Unfit
from tomopilot.beamline.exposing import Exposing, Label
from tomopilot.live.ledger import Suggestion
from tomopilot.live.live import Live

LOOK = 0.05  # seconds between two looks at whether an exposure may begin


class Stopped(Exception):
    """No exposure may begin any more."""


@dataclass(frozen=True)
class Switch:
    """A device with two positions: where it is while the sample is exposed, and the other one.

    The other one of a shutter is closed, for dark fields; of a sample beside the beam, for flat fields.
    """

    device: Any
    usual: Any = 1
    other: Any = 0


@dataclass(eq=False)
class Devices:
    """Stage, detector, beam monitor, shutter and sample of one run.

    What messages answer is not used, as there is no answer after a pause: exposures come from documents.
    """

    live: Live
    stage: Any
    detector: Any
    monitor: Any = None
    shutter: Switch | None = None
    sample: Switch | None = None
    timeout: float | None = None  # seconds of one move or exposure
    shots: dict[int, Shot] = field(default_factory=dict)  # by number of the exposure

    def __post_init__(self) -> None:
        setup, monitor = self.live.setup, None if self.monitor is None else self.monitor.name
        shape = (setup.rows, setup.columns)
        self.documents = Documents(self.stage.name, self.detector.name, monitor, shape, self._take)
        self.camera, self.label = Exposing(self.detector, self.documents.resources), Label()

    @property
    def staged(self) -> list[Any]:
        return [self.detector, self.stage, *([] if self.monitor is None else [self.monitor])]

    def check_limits(self, angles: torch.Tensor) -> MsgGenerator[None]:
        """Raises where the stage would refuse one of these angles (degrees)."""
        refused: list[str] = []

        async def ask() -> None:
            refused.clear()
            for angle in (angles.min().item(), angles.max().item()):
                try:
                    await maybe_await(self.stage.check_value(angle))
                except Exception as error:
                    refused.append(f"{angle:g} ({error})")

        if hasattr(self.stage, "check_value"):
            yield from bps.wait_for([ask])
        if refused:
            raise ValueError(
                f"{self.stage.name} refuses angles that may be suggested, in degrees: {'; '.join(refused)}. "
                "Leave them out by the setup's wedge, or change the limits"
            )

    def measure(self, one: Suggestion) -> MsgGenerator[Shot]:
        """Moves and exposes."""
        yield from bps.checkpoint()
        yield from bps.mv(self.stage, one.angle, timeout=self.timeout)
        return (yield from self.expose("primary", one))

    def darks(self, count: int) -> MsgGenerator[list[Shot]]:
        """Dark fields; the shutter is open afterwards."""
        assert self.shutter is not None
        return (yield from self._beside(self.shutter, "darks", count))

    def flats(self, count: int) -> MsgGenerator[list[Shot]]:
        """Flat fields; the sample is in the beam afterwards."""
        assert self.sample is not None
        if self.shutter is not None:
            yield from self._switch(self.shutter, self.shutter.usual)
        return (yield from self._beside(self.sample, "flats", count))

    def expose(self, stream: str, one: Suggestion | None = None) -> MsgGenerator[Shot]:
        """One exposure. Until its last checkpoint it is repeated after an interruption, as the same one."""
        number = self.label.next(one)
        read = [self.camera, *self.staged[1:], self.label]
        yield from bps.wait_for([self._ready])
        yield from bps.wait_for([self._allowed])
        yield from bpp.msg_mutator(bps.trigger_and_read(read, name=stream), self._in_time)
        yield from bps.checkpoint()
        if number not in self.shots:
            raise Unfit(f"the exposure left no event of {self.detector.name} and {self.stage.name}")
        return self.shots.pop(number)

    def _beside(self, switch: Switch, stream: str, count: int) -> MsgGenerator[list[Shot]]:
        shots = []
        yield from self._switch(switch, switch.other)
        for _ in range(count):
            shots.append((yield from self.expose(stream)))
        yield from self._switch(switch, switch.usual)
        return shots

    def _switch(self, switch: Switch, position: Any) -> MsgGenerator[None]:
        yield from bps.checkpoint()
        yield from bps.mv(switch.device, position, timeout=self.timeout)

    async def _ready(self) -> None:
        """Waits while the scan is paused, or the detector is busy with an exposure that was interrupted."""
        while self.live.held.ledger.mode == "paused" or self.camera.busy:
            await asyncio.sleep(LOOK)

    def _allowed(self) -> Coroutine[Any, Any, None]:
        """Raises `Stopped` at once, also where messages are repeated."""
        ledger = self.live.held.ledger
        if ledger.over:
            raise Stopped(f"the scan is {ledger.mode}: {ledger.why}")
        return asyncio.sleep(0)

    def _in_time(self, message: Msg) -> Msg:
        if message.command != "wait":
            return message
        return message._replace(kwargs={**message.kwargs, "timeout": self.timeout})

    def _take(self, event: Mapping[str, Any], shot: Shot) -> None:
        self.shots[event["data"]["exposure"]] = shot


def mean_monitor(name: str, shots: Sequence[Shot]) -> float:
    """What a beam monitor reads for flat fields; raises ValueError where nothing can be compared with it."""
    read = [shot.monitor for shot in shots if shot.monitor is not None]
    mean = sum(read) / len(read)
    if not 0 < mean < float("inf"):
        raise ValueError(f"{name} reads {mean:g} for flat fields; expected a number above 0")
    return mean
