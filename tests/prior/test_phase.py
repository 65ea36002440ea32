import math

import pytest
import torch

from tomopilot.measure.kind import magnitude
from tomopilot.prior.phase import smooth_phase, with_phase


def phases(count, shape, spread, seed=0, whole=None):
    return smooth_phase(count, shape, spread, rng=torch.Generator().manual_seed(seed), whole=whole)


@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_rms_of_the_waves_is_the_spread(spread):
    waves = phases(4000, (32, 24), spread) - phases(4000, (32, 24), 0.0)
    assert waves.square().mean().sqrt().item() == pytest.approx(spread, rel=0.03)


def test_constants_cover_the_circle():
    constant = phases(4000, (2, 2), 0.0)
    assert (constant == constant[:, :1, :1]).all()
    for multiple in (1, 2, 3):
        assert torch.polar(torch.ones(4000), multiple * constant[:, 0, 0]).mean().abs() < 0.05
    assert constant.min() >= 0 and constant.max() < 2 * math.pi + 1e-5


def test_waves_are_smooth():
    """No neighbour differs by more than the steepest of two half waves across 64 pixels lets it."""
    waves = phases(500, (64, 64), 1.0)
    steps = waves.diff(dim=1).square().mean().sqrt(), waves.diff(dim=2).square().mean().sqrt()
    assert min(steps) > 0.005 and max(steps) < 2 * math.pi / 64


def test_a_window_has_the_phase_of_the_larger_image():
    """The same random numbers, the same waves: each window is found in its image."""
    whole, windows = phases(20, (16, 12), 1.0), phases(20, (6, 5), 1.0, whole=(16, 12))
    places = set()
    for image, window in zip(whole, windows, strict=True):
        cuts = image.unfold(0, 6, 1).unfold(1, 5, 1)
        off = (cuts - window).abs().amax((2, 3))
        assert off.min() < 1e-4
        places.add(int(off.argmin()))
    assert len(places) > 10


def test_magnitudes_stay(rng):
    image = torch.rand(3, 8, 6, generator=rng)
    made = with_phase(image, phases(3, (8, 6), 1.0))
    torch.testing.assert_close(magnitude(made), image)
    torch.testing.assert_close(
        torch.atan2(made[:, 1], made[:, 0]).remainder(2 * math.pi),
        phases(3, (8, 6), 1.0).remainder(2 * math.pi),
        rtol=0,
        atol=1e-3,
    )
