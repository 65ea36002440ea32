"""An adaptive scan of Tango devices by `suggest` and `tell`: a minute on a CPU, no Tango database needed.

.venv/bin/python examples/tango/scan.py
"""

from pathlib import Path

import numpy as np
import torch
from tango import AttrWriteType, DevState
from tango.server import Device, attribute, command
from tango.test_context import MultiDeviceTestContext

from tomopilot.live.export import export
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.setup import Setup
from tomopilot.simulate.camera import Camera
from tomopilot.simulate.phantoms import chip

ROWS, COLUMNS = 2, 32


class Beamline(Device):
    """A rotation stage that misses by a hundredth of a degree, a detector, a shutter, a sample changer."""

    def init_device(self) -> None:
        super().init_device()
        slices = torch.stack([torch.from_numpy(chip(seed)) for seed in range(ROWS)])
        self.camera = Camera(
            torch.nn.functional.interpolate(slices[:, None], (COLUMNS, COLUMNS), mode="area")[:, 0]
        )
        self._angle, self._open, self._inside = 0.0, True, True
        self._frame = np.zeros((ROWS, COLUMNS), np.uint16)
        self.set_state(DevState.ON)

    angle = attribute(dtype=float, access=AttrWriteType.READ_WRITE, unit="degree")

    def read_angle(self) -> float:
        return self._angle

    def write_angle(self, value: float) -> None:
        self._angle = value + 0.01

    shutter = attribute(dtype=bool, access=AttrWriteType.READ_WRITE, doc="open")

    def read_shutter(self) -> bool:
        return self._open

    def write_shutter(self, value: bool) -> None:
        self._open = value

    sample = attribute(dtype=bool, access=AttrWriteType.READ_WRITE, doc="in the beam")

    def read_sample(self) -> bool:
        return self._inside

    def write_sample(self, value: bool) -> None:
        self._inside = value

    frame = attribute(dtype=((np.uint16,),), max_dim_x=COLUMNS, max_dim_y=ROWS)

    def read_frame(self) -> np.ndarray:
        return self._frame

    @command
    def expose(self) -> None:
        if not self._open:
            self._frame = self.camera.darks(1)[0]
        elif not self._inside:
            self._frame = self.camera.flats(1)[0]
        else:
            self._frame = self.camera.frame(self._angle)


def expose(beamline) -> np.ndarray:
    beamline.expose()
    return beamline.frame


# A server of its own process, as at a beamline; there, `beamline` is a tango.DeviceProxy of your device.
server = MultiDeviceTestContext(
    [{"class": Beamline, "devices": [{"name": "lab/tomo/1"}]}], process=True, host="127.0.0.1"
)
setup = Setup(
    rows=ROWS,
    columns=COLUMNS,
    scale=0.02,
    budget=6,
    start=2,
    prior=None,
    posterior="bootstrap(steps=30)",
    count=4,
)
with server as context, hold(Path("tango-scan"), setup) as live:
    beamline = context.get_device("lab/tomo/1")

    # Dark fields, then flat fields.
    beamline.shutter = False
    live.darks(np.stack([expose(beamline) for _ in range(3)]))
    beamline.shutter, beamline.sample = True, False
    live.flats(np.stack([expose(beamline) for _ in range(5)]))
    beamline.sample = True

    # Whatever is suggested is measured, until the scan is over. What could not be measured is told by `fail`.
    while True:
        try:
            one = live.suggest()
        except Refused as end:
            print(end)
            break
        beamline.angle = one.angle
        answer = live.tell(one.id, expose(beamline), beamline.angle)
        print(f"{one.id}: {beamline.angle:7.2f} degrees, chosen by {one.by}, accepted: {answer['accepted']}")

count = export(Path("tango-scan"), Path("tango-scan.nxs"))
print(f"{count} projections in tango-scan.nxs")
assert count == 6
