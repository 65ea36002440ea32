"""A small beamline: a detector of two rows in front of a known volume, and the setup of scans of it."""

from concurrent.futures import Executor, Future

import pytest
import torch

from tomopilot.live.held import Refused
from tomopilot.live.setup import Setup
from tomopilot.simulate.camera import Camera

SIDE, ROWS = 16, 2
SETUP = Setup(
    columns=SIDE, rows=ROWS, angles=24, scale=0.05, prior=None, posterior="bootstrap(steps=8)", count=4,
    start=2, budget=8, scouts=2, deadline=600.0,
)  # fmt: skip


def volume():
    noise = torch.rand(ROWS, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)[:, 0]
    x = torch.linspace(-1, 1, SIDE)
    return (smooth > smooth.median()).float() * (x[:, None] ** 2 + x**2 < 0.7)


CAMERA = Camera(volume(), scale=0.05)


def open_beam(live, camera=CAMERA):
    live.darks(camera.darks())
    live.flats(camera.flats())


def expose(live, one, camera=CAMERA, off=0.0):
    """Tells the frame of a suggestion."""
    return live.tell(one.id, camera.frame(one.angle + off), one.angle + off)


def drive(live, most=100, camera=CAMERA):
    """Measures until the scan is over; the suggestions."""
    found = []
    while len(found) < most:
        try:
            one = live.suggest()
        except Refused as error:
            assert error.code == "over"
            break
        assert expose(live, one, camera)["accepted"]
        found.append(one)
    return found


class Deaf(Executor):
    """Never answers."""

    def submit(self, fn, /, *args, **kwargs):
        return Future()


@pytest.fixture
def setup():
    return SETUP


@pytest.fixture
def camera():
    return CAMERA
