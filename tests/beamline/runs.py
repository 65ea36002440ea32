"""What tests of the Bluesky plan share: two small beamlines, and a scan at them."""

import asyncio
from contextlib import contextmanager

import numpy as np
from instruments import Detector, FileDetector, Instrument, Stage, Toggle, small_setup
from ophyd_async.core import wait_for_connection
from ophyd_async.sim import SimMotor

from tomopilot.beamline.bluesky import Switch, adaptive_scan
from tomopilot.live.live import hold

FIELDS = 2  # flats and darks


class Classic:
    """Devices of ophyd; images come in events."""

    def __init__(self, engine, folder, exposure=0.0, move=0.0, **options):
        self.instrument = Instrument()
        self.stage = Stage(self.instrument, move, **options)
        self.detector = Detector(self.instrument, exposure)
        self.begun = self.detector.begun

    def plan(self, live, **options):
        usual = {
            "shutter": Switch(Toggle("shutter", self.instrument, "open")),
            "sample": Switch(Toggle("sample", self.instrument, "inside")),
            "flats": FIELDS,
            "darks": FIELDS,
        }
        return adaptive_scan(live, self.stage, self.detector, **(usual | options))

    @property
    def exposed(self):
        """How many projections were begun."""
        return len(self.begun) - 2 * FIELDS


class Async(Classic):
    """Devices of ophyd-async; images are in HDF5 files that are being written."""

    def __init__(self, engine, folder, exposure=0.0):
        self.instrument = Instrument()
        self.detector = FileDetector(self.instrument, folder, exposure)
        self.begun = self.detector.writer.begun
        self.stage = SimMotor("rotation")

        async def connect():
            await wait_for_connection(stage=self.stage.connect(), detector=self.detector.connect())
            self.stage.subscribe_reading(self._follow)

        asyncio.run_coroutine_threadsafe(connect(), engine.loop).result()

    def _follow(self, reading):
        self.instrument.angle = reading["rotation"]["value"]


@contextmanager
def scan(folder, **changes):
    with hold(folder / "scan", small_setup(**changes)) as live:
        yield live


def told(live):
    """Angle and frame of each projection, in order."""
    return [(one["angle"], live.held.book.frames(one["event"])) for one in live.held.ledger.told]


def assert_same(found, expected):
    assert [angle for angle, _ in found] == [angle for angle, _ in expected]
    for (_, frame), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame, wanted)
