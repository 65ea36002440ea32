import numpy as np
import pytest
import torch

from tomopilot.measure.radon import Radon
from tomopilot.simulate.camera import Camera

CAMERA = Camera(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)), photons=2e4)


def test_frames_are_photons_behind_the_volume():
    lines = Radon(16, torch.tensor([30.0]).deg2rad()).forward(CAMERA.volume)[:, 0]
    expected = 2e4 * torch.exp(-0.02 * lines).numpy()
    frames = np.stack([CAMERA.frame(30.0, exposure) for exposure in range(200)]).astype(float) - 100
    assert frames.shape[1:] == CAMERA.shape == (3, 16)
    assert abs(frames.mean(0) / expected - 1).max() < 5 / np.sqrt(200 * 1e4)
    assert (frames.var(0) / expected).mean() == pytest.approx(1, abs=0.05)


def test_frames_repeat():
    assert np.array_equal(CAMERA.frame(30.0), CAMERA.frame(30.0))
    assert not np.array_equal(CAMERA.frame(30.0), CAMERA.frame(30.0, 1))
    assert not np.array_equal(*CAMERA.flats(2))


def test_fields_and_a_weaker_beam():
    assert CAMERA.flats(4).shape == (4, 3, 16) and CAMERA.flats(50).mean() == pytest.approx(20_100, rel=1e-3)
    assert (CAMERA.darks(2) == 100).all()
    assert CAMERA.frame(0.0, beam=0.0).max() == 100
