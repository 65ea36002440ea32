"""An adaptive scan by Bluesky, over Channel Access, at the soft IOC beside this file; leaves an NXtomo file.

.venv/bin/python examples/epics/scan.py
"""

import argparse
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated as A

# Before EPICS is loaded: it looks on this machine only, at ports of this process. The IOC is told the same.
os.environ.update({
    "EPICS_CA_SERVER_PORT": str(20_000 + os.getpid() % 5_000),
    "EPICS_CA_REPEATER_PORT": str(26_000 + os.getpid() % 5_000),
    "EPICS_CA_ADDR_LIST": "127.0.0.1", "EPICS_CA_AUTO_ADDR_LIST": "NO",
    "EPICS_CA_MAX_ARRAY_BYTES": "100000000",
})  # fmt: skip

import numpy as np
from aioca import purge_channel_caches
from bluesky import RunEngine
from bluesky.protocols import Triggerable
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    MovableLogic,
    SignalR,
    SignalRW,
    StandardMovable,
    StandardReadable,
    init_devices,
)
from ophyd_async.core import StandardReadableFormat as Format
from ophyd_async.epics.core import EpicsDevice, PvSuffix, epics_signal_rw

from tomopilot.beamline.bluesky import Switch, adaptive_scan
from tomopilot.live.export import export
from tomopilot.live.live import hold
from tomopilot.live.setup import Setup

SECONDS = 20.0  # that a move or an exposure may take


class Turning(MovableLogic[float]):
    """The IOC answers a put once the stage is there."""

    def __init__(self, stage: "Rotation") -> None:
        super().__init__(stage.target, stage.angle)
        self.halt = stage.halt

    async def move(self, new_position: float, timeout) -> None:
        await self.setpoint.set(new_position, timeout=SECONDS)

    async def stop(self) -> None:
        await self.halt.set(True)


class Rotation(EpicsDevice, StandardReadable, StandardMovable[float]):
    """The stage; its read-back is what counts."""

    target: A[SignalRW[float], PvSuffix("ROT")]
    angle: A[SignalR[float], PvSuffix("ROT:RBV"), Format.HINTED_UNCACHED_SIGNAL]
    speed: A[SignalRW[float], PvSuffix("ROT:SPEED"), Format.CONFIG_SIGNAL]
    halt: A[SignalRW[bool], PvSuffix("ROT:STOP")]

    @cached_property
    def movable_logic(self) -> Turning:
        return Turning(self)


class Camera(EpicsDevice, StandardReadable, Triggerable):
    """The detector; a frame is a waveform of rows times columns, 16 bits that Channel Access sends as 32."""

    image: A[SignalR[Array1D[np.int32]], PvSuffix("CAM:IMAGE"), Format.HINTED_UNCACHED_SIGNAL]
    seconds: A[SignalRW[float], PvSuffix("CAM:EXPOSURE"), Format.CONFIG_SIGNAL]
    acquire: A[SignalRW[bool], PvSuffix("CAM:ACQUIRE")]

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        await self.acquire.set(True, timeout=SECONDS)


class Beam(EpicsDevice, StandardReadable):
    """The ionisation chamber."""

    counts: A[SignalR[float], PvSuffix("BEAM"), Format.HINTED_UNCACHED_SIGNAL]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("epics-scan"), help="of the scan; goes on if it is there"
    )
    parser.add_argument("--volume", help="of the sample, such as volume:slices.npz::0-3")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--budget", type=int, default=8, help="projections")
    parser.add_argument(
        "--prior", default="chip-128", help="none: bootstrap samples, for any number of columns"
    )
    given = parser.parse_args()
    size = ["--rows", str(given.rows), "--columns", str(given.columns)]
    sample = ["--volume", given.volume] if given.volume else []
    command = [sys.executable, str(Path(__file__).with_name("ioc.py")), *size, *sample]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as ioc:
        try:
            assert ioc.stdout is not None
            if not any("serves" in line for line in ioc.stdout):
                raise SystemExit("the IOC did not start; see above")
            scan(given)
        finally:
            ioc.terminate()


def scan(given: argparse.Namespace) -> None:
    engine = RunEngine(call_returns_result=True)
    with init_devices():
        rotation, camera, beam = Rotation("ca://TOMO:"), Camera("ca://TOMO:"), Beam("ca://TOMO:")
        shutter = epics_signal_rw(bool, "ca://TOMO:SHUTTER")
        inside = epics_signal_rw(bool, "ca://TOMO:SAMPLE")

    # What is scanned, and how: all of it is kept in the record, and a scan that was cut goes on.
    learned = given.prior != "none"
    setup = Setup(
        rows=given.rows, columns=given.columns, name="chip at the soft IOC", scale=0.02, budget=given.budget,
        prior=given.prior if learned else None, posterior="auto" if learned else "bootstrap(steps=30)",
        count=4, scouts=2, pixel_size=1e-7, ceiling=2**16 - 1,
    )  # fmt: skip
    begun = (given.folder / "live.db").exists()
    with hold(given.folder, None if begun else setup) as live:
        plan = adaptive_scan(
            live, rotation, camera, monitor=beam, flats=5, darks=3,
            shutter=Switch(shutter, True, False), sample=Switch(inside, True, False),
        )  # fmt: skip
        print(engine(plan, show).plan_result)
        state = live.state()
    count = export(given.folder, given.folder / "scan.nxs")
    purge_channel_caches()  # before the IOC ends
    print(f"{count} projections in {given.folder / 'scan.nxs'}; dose {state['spent']['dose']:g} exposures")


def show(name: str, doc: dict) -> None:
    if name == "event" and doc["data"]["suggestion"]:
        data = doc["data"]
        print(f"{data['suggestion']:3d}: {data['rotation']:8.3f} degrees, beam {data['beam-counts']:.0f}")


if __name__ == "__main__":
    main()
