"""A tilted rotation axis: ordinary tomography at 90 degrees, and closed forms elsewhere."""

import math

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure import projector
from tomopilot.measure.fan import full_turn
from tomopilot.measure.laminography import Laminography
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon
from tomopilot.simulate.instrument import Simulated

ANGLES = torch.tensor([0.0, 0.3, 1.9, 4.0], dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.0, 1.2])
def test_at_right_angles_each_row_is_a_slice(offset, rng):
    x = torch.rand(2, 3, 9, 9, generator=rng, dtype=torch.float64)
    volume = Laminography((3, 9, 9), ANGLES, (3, 13), tilt=math.pi / 2, offset=offset)
    radon = Radon(9, ANGLES, 13, offset)
    slices = radon.forward(x.flatten(0, 1)).unflatten(0, (2, 3)).transpose(1, 2)
    assert_close(volume.forward(x), slices, rtol=0, atol=1e-4)
    ours = volume.weights(ANGLES, x).rays.values().count_nonzero()
    theirs = sum(weights.rays.values().count_nonzero() for weights in radon.made(x))
    assert ours == 3 * theirs  # no slice counts for another


def blob(shape: tuple[int, ...], centre: tuple[float, ...], width: float) -> torch.Tensor:
    """A Gaussian, whose projections are Gaussians too."""
    lines = [
        torch.arange(n, dtype=torch.float64) - (n - 1) / 2 - c for n, c in zip(shape, centre, strict=True)
    ]
    z, down, right = (torch.exp(-line.square() / (2 * width**2)) for line in lines)
    return z[:, None, None] * down[:, None] * right


@pytest.mark.parametrize("degrees", [90, 61, 25])
@pytest.mark.parametrize("offset", [0.0, -2.5])
def test_projections_of_a_blob_in_closed_form(degrees, offset):
    shape, (z, down, right), width = (24, 36, 36), (1.0, -2.0, 3.0), 3.0
    tilt = math.radians(degrees)
    operator = Laminography(shape, ANGLES, (30, 38), tilt=tilt, offset=offset)
    found = operator.forward(blob(shape, (z, down, right), width)[None])[0]
    rows, bins = torch.arange(30) - 14.5, torch.arange(38) - 18.5 - offset
    t = right * ANGLES.cos() - down * ANGLES.sin()
    s = z * math.sin(tilt) + (right * ANGLES.sin() + down * ANGLES.cos()) * math.cos(tilt)
    apart = (rows[:, None] - s[:, None, None]).square() + (bins - t[:, None, None]).square()
    expected = math.sqrt(2 * math.pi) * width * torch.exp(-apart / (2 * width**2))
    assert (found - expected).abs().max() < 0.03 * expected.max()


def test_a_detector_that_is_not_named_sees_a_plate_as_far_as_it_is_wide():
    shape, tilt = (6, 40, 40), math.radians(61)
    assert Laminography(shape, ANGLES, tilt=tilt).block_shape == (math.ceil(6 * 0.8746 + 40 * 0.4848), 40)
    assert Laminography(shape, ANGLES, tilt=math.pi / 2).block_shape == (6, 40)


def test_large_volumes_are_projected_in_parts_that_are_not_kept(rng, monkeypatch):
    whole = Laminography((6, 12, 12), full_turn(8), tilt=1.0)
    x = torch.rand(1, 6, 12, 12, generator=rng)
    y = whole.forward(x)
    monkeypatch.setattr(projector, "CHUNK", 3 * whole.per_angle)
    monkeypatch.setattr(projector, "KEPT", whole.per_angle)
    parts = Laminography((6, 12, 12), full_turn(8), tilt=1.0)
    assert_close(parts.forward(x), y)
    assert_close(parts.adjoint(y), whole.adjoint(y))
    assert len(parts.parts) == 3 and not parts._stored and whole._stored


def test_a_finer_grid_sees_the_same_object():
    shape, tilt = (8, 16, 16), 1.1
    operator = Laminography(shape, ANGLES.float(), tilt=tilt, offset=1.0)
    image = blob(shape, (0.5, 1.0, -1.5), 1.6).float()
    coarse, fine = (
        Simulated(image, operator, Gaussian(), finer=r).clean(torch.arange(len(ANGLES))) for r in (1, 2)
    )
    assert fine.shape == coarse.shape
    assert (fine - coarse).norm() < 0.05 * coarse.norm()


def test_bad_arguments():
    for tilt in (0.0, -1.0, 61.0, math.nan):
        with pytest.raises(ValueError, match=r"the tilt is .*ordinary tomography"):
            Laminography((3, 8, 8), ANGLES, tilt=tilt)
    with pytest.raises(ValueError, match=r"the volume is \(8, 8\); expected slices, height and width"):
        Laminography((8, 8), ANGLES, tilt=1.0)
    with pytest.raises(ValueError, match=r"\(4, 9, 8\); expected \(angles, rows, bins\) = \(4, 7, 8\)"):
        Laminography((3, 8, 8), ANGLES, tilt=1.0).adjoint(torch.zeros(1, 4, 9, 8))
