"""A small beamline as a soft IOC: rotation stage, detector, shutter, sample changer and beam monitor.

Started by scan.py, or by itself: .venv/bin/python examples/epics/ioc.py
Everything stays on this machine: Channel Access is bound to 127.0.0.1.
"""

import argparse
import asyncio
import math
import os

# Before EPICS is loaded: it listens, and looks, on this machine only.
os.environ.update({
    "EPICS_CA_SERVER_PORT": os.environ.get("EPICS_CA_SERVER_PORT", "25064"),
    "EPICS_CA_REPEATER_PORT": os.environ.get("EPICS_CA_REPEATER_PORT", "25065"),
    "EPICS_CA_ADDR_LIST": "127.0.0.1", "EPICS_CA_AUTO_ADDR_LIST": "NO",
    "EPICS_CA_MAX_ARRAY_BYTES": "100000000",
    "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
    "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
})  # fmt: skip

import numpy as np
import torch
from softioc import asyncio_dispatcher, builder, softioc

from tomopilot.files.volumes import read_volume
from tomopilot.simulate.camera import Camera
from tomopilot.simulate.phantoms import chip

COUNTS = 5000.0  # of the monitor in a full beam
TICK = 0.02  # seconds between two positions of the stage


class Beamline:
    """What the records do: the stage turns at its speed, the detector counts what passes the sample."""

    def __init__(self, camera: Camera, speed: float, exposure: float) -> None:
        self.camera, self.exposures, self.stopping = camera, 0, False
        rows, columns = camera.shape
        self.angle = builder.aIn("ROT:RBV", initial_value=0.0, EGU="deg", PREC=4)
        self.speed = builder.aOut("ROT:SPEED", initial_value=speed, EGU="deg/s", PREC=2)
        self.target = builder.aOut(
            "ROT",
            initial_value=0.0,
            EGU="deg",
            PREC=4,
            always_update=True,
            blocking=True,
            on_update=self.turn,
        )
        self.stop = builder.boolOut("ROT:STOP", always_update=True, on_update=self.halt)
        self.image = builder.WaveformIn("CAM:IMAGE", length=rows * columns, datatype=np.uint16)
        self.seconds = builder.aOut("CAM:EXPOSURE", initial_value=exposure, EGU="s", PREC=4)
        self.acquire = builder.boolOut(
            "CAM:ACQUIRE", always_update=True, blocking=True, on_update=self.expose
        )
        self.shutter = builder.boolOut("SHUTTER", "Closed", "Open", initial_value=1, always_update=True)
        self.sample = builder.boolOut("SAMPLE", "Out", "In", initial_value=1, always_update=True)
        self.beam = builder.aIn("BEAM", initial_value=COUNTS, PREC=1)

    async def turn(self, target: float) -> None:
        """Returns when the stage is there; so does a put with callback."""
        self.stopping = False
        while not self.stopping and (left := target - self.angle.get()):
            step = self.speed.get() * TICK
            await asyncio.sleep(min(TICK, abs(left) / self.speed.get()))
            self.angle.set(target if abs(left) <= step else self.angle.get() + math.copysign(step, left))

    def halt(self, _: int) -> None:
        self.stopping = True

    async def expose(self, _: int) -> None:
        """Returns when the frame is there. The beam drifts by two per cent."""
        await asyncio.sleep(self.seconds.get())
        self.exposures += 1
        beam = 1 + 0.02 * math.sin(self.exposures / 5)
        if not self.shutter.get():
            frame = self.camera.darks(1)[0]
        elif not self.sample.get():
            frame = self.camera.flats(1)[0]
        else:
            frame = self.camera.frame(self.angle.get(), self.exposures, beam)
        flat = not self.shutter.get() or not self.sample.get()
        self.beam.set(COUNTS if flat else COUNTS * beam)
        self.image.set(frame.ravel())


def volume(name: str | None, rows: int, columns: int) -> torch.Tensor:
    """Slices of a named volume (see `tomopilot simulate`), or of simulated chips."""
    if name is None:
        slices = torch.stack([torch.from_numpy(chip(seed, 128)) for seed in range(rows)])
    else:
        slices = read_volume(name).pixels.float()[:rows]
    return torch.nn.functional.interpolate(slices[:, None], (columns, columns), mode="area")[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", default="TOMO")
    parser.add_argument("--volume", help="such as volume:slices.npz::0-3; simulated chips by default")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--speed", type=float, default=360.0, help="degrees a second")
    parser.add_argument("--exposure", type=float, default=0.05, help="seconds")
    given = parser.parse_args()
    camera = Camera(volume(given.volume, given.rows, given.columns))
    dispatcher = asyncio_dispatcher.AsyncioDispatcher()
    builder.SetDeviceName(given.prefix)
    Beamline(camera, given.speed, given.exposure)
    builder.LoadDatabase()
    softioc.iocInit(dispatcher, enable_pva=False)
    port = os.environ["EPICS_CA_SERVER_PORT"]
    print(f"{given.prefix} serves {given.rows} x {given.columns} pixels on 127.0.0.1:{port}", flush=True)
    dispatcher.wait_for_quit()


if __name__ == "__main__":
    main()
