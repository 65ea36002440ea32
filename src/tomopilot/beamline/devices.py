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
    flats: int = 0
    darks: int = 0
    timeout: float | None = None  # seconds of one move or exposure
    shots: dict[int, Shot] = field(default_factory=dict)  # by number of the exposure

    def __post_init__(self) -> None:
        setup, monitor = self.live.setup, None if self.monitor is None else self.monitor.name
        if not setup.counts:
            self.flats = self.darks = 0
        self._check()
        shape = (setup.rows, setup.columns)
        self.documents = Documents(self.stage.name, self.detector.name, monitor, shape, self._take)
        self.camera = Exposing(self.detector, self.documents.resources, self.timeout)
        self.label = Label()

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

    def take_darks(self) -> MsgGenerator[list[Shot]]:
        """Dark fields; the shutter is closed afterwards."""
        assert self.shutter is not None
        yield from self._move(self.shutter, self.shutter.other)
        return (yield from self._series("darks", self.darks))

    def take_flats(self) -> MsgGenerator[list[Shot]]:
        """Flat fields; the sample is out of the beam afterwards."""
        assert self.sample is not None
        if self.shutter is not None:
            yield from self._move(self.shutter, self.shutter.usual)
        yield from self._move(self.sample, self.sample.other)
        return (yield from self._series("flats", self.flats))

    def go_back(self) -> MsgGenerator[None]:
        """The sample is in the open beam."""
        for switch in filter(None, (self.sample, self.shutter)):
            yield from self._move(switch, switch.usual)

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

    def _series(self, stream: str, count: int) -> MsgGenerator[list[Shot]]:
        shots = []
        for _ in range(count):
            shots.append((yield from self.expose(stream)))
        return shots

    def _move(self, switch: Switch, position: Any) -> MsgGenerator[None]:
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

    def _check(self) -> None:
        """Raises ValueError where something is missing."""
        if not hasattr(self.detector, "trigger"):
            raise ValueError(
                f"{self.detector.name} has no trigger; give a device that exposes when it is triggered"
            )
        if self.darks and self.shutter is None:
            raise ValueError(
                f"{self.darks} dark fields need a shutter that closes: give shutter=Switch(device, open, "
                "closed), or darks=0 where the detector reads 0 without beam"
            )
        if self.flats and self.sample is None:
            raise ValueError(
                f"{self.flats} flat fields need the sample out of the beam: give sample=Switch(device, "
                "inside, outside), or flats=0 once the scan was given others"
            )
        if self.live.setup.counts and not self.flats and "flats" not in self.live.held.ledger.fields:
            raise ValueError("the setup expects counts, which need flat fields; take some, as with flats=10")
        if self.monitor is not None and not self.flats:
            raise ValueError(
                "a beam monitor is compared with its reading for flat fields; take some: flats=10"
            )


def mean_monitor(name: str, shots: Sequence[Shot]) -> float:
    """What a beam monitor reads for flat fields; raises ValueError where nothing can be compared with it."""
    read = [shot.monitor for shot in shots if shot.monitor is not None]
    mean = sum(read) / len(read)
    if not 0 < mean < float("inf"):
        raise ValueError(f"{name} reads {mean:g} for flat fields; expected a number above 0")
    return mean
