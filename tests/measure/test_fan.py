"""Fan beam: against closed forms, parallel beam, and a measured scan."""

import math
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.simulate.instrument import Simulated

SIZE, RADIUS, X, Y = 96, 18.0, 12.0, 8.0  # of a disc
LINE = torch.arange(SIZE) - (SIZE - 1) / 2
AWAY = (LINE - X).hypot(-LINE[:, None] - Y) - RADIUS  # from its edge


def beam(angles: torch.Tensor, bins: int = 140, **options) -> Fan:
    return Fan(SIZE, angles, bins, **{"source": 300.0, "detector": 450.0} | options)


def exact(fan: Fan) -> torch.Tensor:
    """Projections of the disc, averaged over every bin."""
    narrow = {"pitch": fan.pitch / 10, "curved": fan.curved, "offset": 10 * fan.offset}
    angle, distance = beam(fan.angles, 10 * fan.bins, **narrow).rays(fan.angles.double())
    apart = distance - X * angle.cos() - Y * angle.sin()
    chords = 2 * (RADIUS**2 - apart.square()).clamp(min=0).sqrt()
    return chords.unflatten(1, (fan.bins, 10)).mean(2).float()


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1.3])
def test_from_far_away_it_is_parallel_beam(curved, offset, rng):
    x, angles = torch.rand(2, 24, 24, generator=rng), full_turn(11)
    far = Fan(24, angles, 30, source=1e8, detector=2e8, pitch=2.0, curved=curved, offset=offset)
    radon = Radon(24, angles, 30, offset)
    y = radon.forward(x)
    assert_close(far.forward(x), y, rtol=0, atol=3e-4)
    assert_close(far.adjoint(y), radon.adjoint(y), rtol=0, atol=1e-3)
    ours, theirs = (filtered_backprojection(operator, y) for operator in (far, radon))
    assert offset or (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("curved", [False, True])
def test_a_pixel_lands_where_it_should(curved):
    """At 0 radians the source is below: what is to the right and near it is seen further to the right."""
    image = torch.zeros(1, 21, 21)
    image[0, 16, 14] = 1.0  # x = 4, y = -6
    fan = Fan(21, [0.0, math.pi / 2], 61, source=30.0, detector=60.0, pitch=1.0, curved=curved)
    angles = [math.atan2(4, 30 - 6), math.atan2(-6, 30 - 4)]
    expected = [60 * (a if curved else math.tan(a)) for a in angles]
    profile = fan.forward(image)[0]
    mean = (profile * (torch.arange(61) - 30)).sum(1) / profile.sum(1)
    assert_close(mean, torch.tensor(expected), rtol=0, atol=0.3)


@pytest.mark.parametrize("finer", [2, 3])
@pytest.mark.parametrize("options", [{}, {"curved": True, "offset": -7.5}], ids=["flat", "curved"])
def test_a_finer_grid_sees_the_same_object(finer, options):
    fan = beam(full_turn(5), **options)
    image = (0.5 - AWAY).clamp(0, 1)  # nearly the share of each pixel that is covered
    measure = Simulated(image, fan, Gaussian(), finer=finer)
    found, chords = measure.clean(torch.arange(5)), exact(fan)
    assert (found - chords).square().mean().sqrt() < 0.01 * chords.max()


@pytest.mark.parametrize(
    "fan",
    [
        Fan(8, [0.0, 2.0], source=7.0, detector=9.1),
        Fan(8, [0.0, 2.0], 5, source=7.3, detector=9.0, pitch=0.7, curved=True, offset=-1.25),
    ],
    ids=repr,
)
def test_repr_makes_it_again(fan, rng):
    again = eval(re.sub("<.*>", "angles", repr(fan)), {"Fan": Fan, "angles": fan.angles})
    x = torch.rand(1, 8, 8, generator=rng)
    assert repr(again) == repr(fan)
    assert_close(again.forward(x), fan.forward(x), rtol=0, atol=0)
    assert_close(fan[torch.tensor([1])].forward(x), fan.at([2.0]).forward(x), rtol=0, atol=0)


RANGES = {  # degrees, options, largest error inside
    "a turn": (torch.arange(360.0), {}, 0.001),
    "an odd number": (torch.arange(241.0) * 360 / 241, {}, 0.001),
    "unevenly": (torch.cat([torch.arange(0, 180, 0.75), torch.arange(180, 360, 2.0)]), {}, 0.001),
    "short scan": (torch.arange(-40.0, 166), {}, 0.001),
    "more than that": (torch.arange(250.0), {}, 0.001),
    "a missing wedge": (torch.cat([torch.arange(60.0), torch.arange(120.0, 360)]), {}, 0.001),
    "half a turn": (torch.arange(180.0), {}, 0.02),
    "offset": (torch.arange(360.0), {"offset": 2.3}, 0.002),
    "a shorter side": (torch.arange(360.0), {"offset": -25.0}, 0.001),
}


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize(("degrees", "options", "most"), RANGES.values(), ids=RANGES)
def test_back_projection_of_a_disc_is_flat(degrees, options, most, curved):
    """Each line counts once, however often and from whichever side it was seen."""
    fan = beam(degrees.deg2rad(), curved=curved, **options)
    found = filtered_backprojection(fan, exact(fan)[None])[0]
    assert (found - 1)[AWAY < -3].square().mean().sqrt() < most
    assert found[(AWAY > 3) & (LINE.hypot(LINE[:, None]) < 45)].square().mean().sqrt() < 0.02


def test_a_limited_range_keeps_the_scale():
    fan = beam(torch.arange(90.0).deg2rad())
    radon = Radon(SIZE, fan.angles, 140)
    found = filtered_backprojection(fan, exact(fan)[None])[0]
    apart = torch.arange(140) - 69.5 - (X * fan.angles.cos() + Y * fan.angles.sin())[:, None]
    chords = 2 * (RADIUS**2 - apart.square()).clamp(min=0).sqrt()
    theirs = filtered_backprojection(radon, chords[None])[0]
    assert found[AWAY < -3].mean().item() == pytest.approx(theirs[AWAY < -3].mean().item(), abs=0.03)


def test_bad_arguments():
    for source in (5.0, -3.0, math.nan):
        with pytest.raises(ValueError, match=r"the image reaches 5.65.*expected a larger distance"):
            Fan(8, half_turn(3), source=source, detector=20.0)
    with pytest.raises(ValueError, match=r"detector is 9 pixels from the source.*were they exchanged"):
        Fan(8, half_turn(3), source=12.0, detector=9.0)
    with pytest.raises(ValueError, match=r"pitch is 0.*above 0"):
        Fan(8, half_turn(3), source=12.0, detector=20.0, pitch=0.0)
    with pytest.raises(ValueError, match=r"half a circle or more"):
        Fan(8, half_turn(3), source=12.0, detector=20.0, pitch=8.0, curved=True)
    with pytest.raises(ValueError, match="looks like degrees"):
        Fan(8, torch.arange(360.0), source=12.0, detector=20.0)
    with pytest.raises(ValueError, match="0 angles were asked for"):
        full_turn(0)


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    """Correlation of two images."""
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def test_a_measured_scan(data_folder):
    """Helsinki 2022, phantom ta: its geometry as it is stated gives its reference, as no other does."""
    scan, by = np.load(data_folder / "measured" / "htc2022_ta.npz"), 4
    turn = slice(0, 720, by)  # the last angle, 360 degrees, is the first again
    y = torch.from_numpy(scan["fan_sinogram"][turn].astype("f4")).unflatten(1, (-1, by)).mean(2)
    angles, bins = torch.from_numpy(scan["fan_angles_deg"][turn]).deg2rad(), y.shape[1]
    source, detector, pitch = (
        scan[name].item()
        for name in ("distance_source_origin_mm", "distance_source_detector_mm", "detector_pixel_mm")
    )
    reference = torch.from_numpy(scan["reference_fbp"].astype("f4"))
    reference = reference.unflatten(0, (-1, by)).unflatten(2, (-1, by)).mean((1, 3))
    narrow = pitch * source / detector  # a detector pixel at the axis, which the reference's pixel is
    pixel = by * narrow

    def image(y=y, angles=angles, offset=0.0) -> torch.Tensor:
        """Per pixel of the reference."""
        lengths = {"source": source / pixel, "detector": detector / pixel, "pitch": by * pitch / pixel}
        fan = Fan(len(reference), angles, bins, offset=offset, **lengths)
        return filtered_backprojection(fan, y[None])[0] / by

    found = image()
    assert alike(found, reference) > 0.995
    disc = reference > 0.5 * reference.max()
    assert found[disc].mean().item() == pytest.approx(reference[disc].mean().item(), rel=0.01)
    rebinned = torch.from_numpy(scan["parallel_sinogram"].astype("f4")).unflatten(1, (-1, by)).mean(2)
    radon = Radon(len(reference), torch.from_numpy(scan["parallel_angles_deg"]).deg2rad(), bins)
    assert alike(found, filtered_backprojection(radon, rebinned[None])[0]) > 0.995
    wrong = (image(y=y.flip(1)), image(angles=-angles), image(angles=angles + math.pi))
    assert max(alike(other, reference) for other in wrong) < 0.8
    left, right = (alike(image(offset=offset), reference) for offset in (-0.5, 0.5))
    middle = alike(found, reference)
    best = 0.25 * (left - right) / (left + right - 2 * middle)  # of the parabola through the three
    assert max(left, right) < middle and abs(best) < 0.1
