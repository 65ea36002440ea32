import math

import numpy as np
import pytest
import torch
from skimage.transform import radon as skimage_radon
from torch.testing import assert_close

from tomopilot.measure.angles import angular_weights
from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.metrics import psnr
from tomopilot.simulate.phantoms import chip

ANGLES = torch.tensor([0.0, 0.4, math.pi / 4, 1.2, math.pi / 2, 2.0, 3 * math.pi / 4, 3.0])


def positions(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x to the right and y upwards of every pixel, from the image's centre."""
    line = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return line.expand(size, size), -line[:, None].expand(size, size)


def disc(size: int, radius: float, x0: float = 0.0, y0: float = 0.0, edge: float = 0.7) -> torch.Tensor:
    """A disc of value 1 with a soft edge."""
    x, y = positions(size)
    return torch.sigmoid((radius - (x - x0).hypot(y - y0)) / edge)


def smooth(size: int) -> torch.Tensor:
    s = size / 64
    return (
        disc(size, 24 * s) - 0.5 * disc(size, 7 * s, 9 * s, 4 * s) + 0.4 * disc(size, 5 * s, -8 * s, 10 * s)
    )


@pytest.mark.parametrize(("row", "column"), [(10, 10), (3, 12), (14, 5), (8, 2)])
def test_a_pixel_lands_where_it_should(row, column):
    image = torch.zeros(1, 21, 21, dtype=torch.float64)
    image[0, row, column] = 1.0
    x, y = column - 10, 10 - row
    profile = Radon(21, ANGLES, bins=31).forward(image)[0]
    mean = (profile * torch.arange(-15, 16)).sum(1) / profile.sum(1)
    expected = x * ANGLES.double().cos() + y * ANGLES.double().sin()
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.3)
    assert bool(((profile.argmax(1) - 15 - expected).abs() < 1).all())


def test_right_angles_are_sums(rng):
    image = torch.rand(1, 9, 9, generator=rng, dtype=torch.float64)
    radon = Radon(9, torch.tensor([0.0, math.pi / 2, math.pi], dtype=torch.float64))
    columns, rows = image.sum(1)[0], image.sum(2)[0]
    expected = torch.stack([columns, rows.flip(0), columns.flip(0)])  # at 90 degrees, bins count upwards
    torch.testing.assert_close(radon.forward(image)[0], expected)


def test_mass_is_kept():
    image = disc(32, 8, 3, -4)[None]
    mass = Radon(32, half_turn(45)).forward(image).sum(2)[0]
    torch.testing.assert_close(mass / image.sum(), torch.ones_like(mass), rtol=0, atol=1e-2)


def test_disc_has_its_chords():
    edge, radius = 1e-3, 20.0
    fine = disc(320, radius * 5, edge=edge).unflatten(0, (64, 5)).unflatten(2, (64, 5)).mean((1, 3))
    t = torch.arange(64, dtype=torch.float64) - 31.5
    chords = 2 * (radius**2 - t.square()).clamp(min=0).sqrt()
    profiles = Radon(64, ANGLES).forward(fine[None])[0]
    away = (t.abs() - radius).abs() > 2  # the chord is infinitely steep at the edge
    torch.testing.assert_close(profiles[:, away], chords[away].expand(8, -1), rtol=0, atol=0.4)


def test_agrees_with_scikit_image():
    x, y = positions(65)  # odd: scikit-image turns about pixel size // 2, which is our centre here
    image = torch.where(x.hypot(y) < 31, smooth(65), 0.0)
    ours = Radon(65, ANGLES).forward(image[None])[0]
    theirs = torch.from_numpy(skimage_radon(image.numpy(), np.rad2deg(ANGLES.numpy()), circle=True)).T
    error = (ours - theirs).norm() / theirs.norm()
    assert error < 0.02, error


def test_finer_projection_of_the_same_object_agrees():
    coarse, fine = smooth(32), smooth(96)
    fine_profile = Radon(96, ANGLES, bins=96).forward(fine[None])[0].unflatten(-1, (32, 3)).mean(-1) / 3
    profile = Radon(32, ANGLES).forward(coarse[None])[0]
    assert (profile - fine_profile).norm() / fine_profile.norm() < 0.05


def test_filtered_backprojection_inverts():
    """Within the detector's circle; the corners outside are only seen from some angles."""
    image = smooth(64)
    x, y = positions(64)
    inside = x.hypot(y) < 31
    for bins in (64, 91, 96, 127):
        radon = Radon(64, half_turn(180), bins=bins)
        found = filtered_backprojection(radon, radon.forward(image[None]))[0]
        assert psnr(found * inside, image * inside) > 37, bins  # measured 39.8 to 40.0
        assert bins == 64 or psnr(found, image) > 37, bins


@pytest.mark.parametrize(("count", "bins", "offset"), [(180, 128, 0.0), (60, 128, 0.0), (180, 182, 1.3)])
def test_back_projection_of_a_disc_is_flat(count, bins, offset):
    """From its projections in closed form; the transpose of `forward` leaves at least 0.0045 inside."""
    size, radius, x0, y0 = 128, 20.0, 15.0, 10.0
    angles = half_turn(count)
    t = torch.arange(10 * bins) / 10 - (bins - 0.1) / 2 - offset
    centre = x0 * angles.cos() + y0 * angles.sin()
    chords = 2 * (radius**2 - (t - centre[:, None]).square()).clamp(min=0).sqrt()
    y = chords.unflatten(1, (bins, 10)).mean(2)[None]
    x, up = positions(size)
    inside = (x - x0).hypot(up - y0) < radius - 3
    found = filtered_backprojection(Radon(size, angles, bins, offset), y)[0]
    assert (found - 1)[inside].square().mean().sqrt() < 0.001  # measured 0.0003 to 0.0005


def test_uneven_angles_count_by_their_gap():
    image = smooth(64)
    angles = torch.cat([half_turn(120)[:60], half_turn(24)[12:]])  # five times denser in the first half
    radon = Radon(64, angles)
    y = radon.forward(image[None])
    weighted = filtered_backprojection(radon, y)[0]
    equal = y * (math.pi / len(angles) / angular_weights(angles))[:, None]
    assert psnr(weighted, image) > psnr(filtered_backprojection(radon, equal)[0], image)


@pytest.mark.parametrize(
    "angles",
    [
        half_turn(7),
        torch.tensor([1.0]),
        torch.tensor([0.3, 0.1, 2.9, -1.0, 8.0]),
        torch.tensor([0.2, 0.2, 1.0]),
    ],
    ids=["even", "one", "any order", "twice"],
)
def test_angular_weights_fill_the_half_turn(angles):
    weights = angular_weights(angles)
    torch.testing.assert_close(weights.sum(), torch.tensor(math.pi))
    assert bool((weights >= 0).all())


def test_equal_angles_have_equal_weights():
    torch.testing.assert_close(angular_weights(half_turn(9)), torch.full((9,), math.pi / 9))


WEDGES = {
    "0 to 89": torch.arange(90.0),
    "0 to 135": torch.arange(136.0),
    "every fifth to 85": torch.arange(0, 90, 5.0),
    "two wedges": torch.cat([torch.arange(45.0), torch.arange(90.0, 135.0)]),
    "three": torch.tensor([10.0, 0.0, 20.0]),
}


@pytest.mark.parametrize("degrees", WEDGES.values(), ids=WEDGES)
def test_the_ends_of_a_missing_wedge_weigh_as_their_neighbours(degrees):
    weights = angular_weights(degrees.deg2rad())
    assert_close(weights, torch.full_like(weights, math.pi / len(degrees)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("degrees", WEDGES.values(), ids=WEDGES)
def test_a_wedge_costs_no_more_than_equal_weights(degrees):
    image, radon = torch.from_numpy(chip(seed=2)), Radon(128, degrees.deg2rad(), 182)
    y = radon.forward(image[None])
    equal = y * (math.pi / len(degrees) / angular_weights(radon.angles))[:, None]
    found = [psnr(filtered_backprojection(radon, data)[0], image) for data in (y, equal)]
    assert found[0] > found[1] - 0.1
    assert degrees is not WEDGES["0 to 89"] or found[0] == pytest.approx(12.71, abs=0.02)


@pytest.mark.parametrize("angles", [half_turn(180), half_turn(60), torch.arange(180.0).deg2rad(), ANGLES])
def test_weights_of_a_whole_half_turn_are_half_of_both_gaps_to_the_last_bit(angles):
    order = angles.argsort()
    gaps = torch.diff(angles[order], append=angles[order][:1] + math.pi)
    assert_close(angular_weights(angles)[order], (gaps + gaps.roll(1)) / 2, rtol=0, atol=0)


def test_repeated_angles_share_a_weight():
    """Also those just below half a turn, and all that were measured once."""
    for degrees, expected in (
        ([0.0, 90.0, 0.0, 180.0], [30.0, 90.0, 30.0, 30.0]),
        ([0.0, 0.0, 0.0, 90.0], [30.0, 30.0, 30.0, 90.0]),
        ([7.0, 7.0], [90.0, 90.0]),
    ):
        weights = angular_weights(torch.tensor(degrees).deg2rad()).rad2deg()
        assert_close(weights, torch.tensor(expected), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("turns", [3, 10, 60])
def test_repeats_on_later_turns_are_recognised_in_single_precision(turns):
    angles = (half_turn(60) + 2 * math.pi * torch.arange(turns)[:, None]).flatten()
    assert_close(angular_weights(angles), torch.full_like(angles, math.pi / 60 / turns), rtol=1e-3, atol=0)


@pytest.mark.parametrize("turns", [2, 3, 8])
def test_noise_falls_with_the_root_of_the_turns(turns, rng):
    def noise(angles):
        y = torch.randn(24, len(angles), 32, generator=rng)
        return filtered_backprojection(Radon(32, angles), y).std().item()

    one = noise(half_turn(20))
    assert noise(half_turn(20).repeat(turns)) / one == pytest.approx(turns**-0.5, rel=0.05)


@pytest.mark.parametrize("offset", [0.5, -3.25])
@pytest.mark.parametrize("turn", [half_turn(12), half_turn(12) + math.pi, ANGLES, half_turn(400)])
def test_an_axis_beside_the_middle_of_the_detector(offset, turn):
    """Projections of a disc in closed form, seen on a detector that is displaced."""
    size, radius, x0, y0 = 96, 25.0, 6.0, -9.0
    radon = Radon(size, turn, bins=128, offset=offset)
    t = torch.arange(128) - 127 / 2 - offset
    centre = x0 * turn.cos() + y0 * turn.sin()
    exact = 2 * (radius**2 - (t - centre[:, None]).square()).clamp(min=0).sqrt()
    found = radon.forward(disc(size, radius, x0, y0, edge=0.5)[None].float())[0]
    assert (found - exact).square().mean().sqrt() < 0.02 * exact.max()
    back = filtered_backprojection(
        Radon(size, half_turn(180), 128, offset),
        Radon(size, half_turn(180), 128, offset).forward(disc(size, radius, x0, y0)[None].float()),
    )[0]
    assert psnr(back, disc(size, radius, x0, y0).float()) > 28
    assert "offset" in repr(radon) and radon[torch.tensor([0])].offset == offset
    assert radon.to("cpu").offset == offset


@pytest.mark.parametrize("angles", [half_turn(12), half_turn(400)], ids=len)
def test_no_offset_changes_nothing_to_the_last_bit(angles, rng):
    x, plain, given = torch.randn(2, 16, 16, generator=rng), Radon(16, angles), Radon(16, angles, 16, 0.0)
    y = plain.forward(x)
    assert_close(given.forward(x), y, rtol=0, atol=0)
    assert_close(given.adjoint(y), plain.adjoint(y), rtol=0, atol=0)
    assert_close(filtered_backprojection(given, y), filtered_backprojection(plain, y), rtol=0, atol=0)
    assert repr(plain) == repr(given) and "offset" not in repr(plain)


@pytest.mark.parametrize("offset", [1.0, -3.0])
def test_an_offset_of_whole_bins_moves_the_detector(offset, rng):
    """Bins of a wider detector that is centred, and back-projected from it."""
    x, angles, by = torch.randn(2, 16, 16, generator=rng), half_turn(12), int(offset)
    wide, moved = Radon(16, angles, 48), Radon(16, angles, 32, offset)
    seen = slice(8 - by, 40 - by)
    y = wide.forward(x)[..., seen]
    assert_close(moved.forward(x), y)
    padded = torch.zeros(2, 12, 48)
    padded[..., seen] = y
    assert_close(moved.adjoint(y), wide.adjoint(padded))


@pytest.mark.parametrize("offset", [math.nan, math.inf])
def test_an_offset_that_is_no_number_is_rejected(offset):
    with pytest.raises(ValueError, match="expected a finite number of bins"):
        Radon(8, half_turn(3), offset=offset)


@pytest.mark.parametrize("kind", ["numpy", "list", "whole", "half"])
def test_numbers_of_any_kind_are_taken(kind):
    whole = torch.arange(24).reshape(1, 3, 8) % 5
    given = {
        "numpy": whole.float().numpy(), "list": whole.tolist(), "whole": whole, "half": whole.half(),
    }[kind]  # fmt: skip
    radon = Radon(8, np.linspace(0, 3, 3))
    assert_close(radon.adjoint(given), radon.adjoint(whole.float()))
    assert_close(filtered_backprojection(radon, given), filtered_backprojection(radon, whole.float()))
    assert_close(Radon(8, [0.0, 1.5, 3.0]).angles, radon.angles)


@pytest.mark.parametrize(
    "angles",
    [
        torch.arange(180.0),
        torch.tensor([0.0, 45.5, 90.0]),
        np.arange(0, 360, 0.5),
        np.linspace(0, 180, 128, endpoint=False),
        np.linspace(0, 360, 700) - 180,
        torch.arange(128).flip(0) * (180 / 128) + 0.123,
    ],
)
def test_degrees_are_rejected(angles):
    with pytest.raises(ValueError, match="looks like degrees; expected radians"):
        Radon(8, angles)


@pytest.mark.parametrize(
    "angles",
    [
        torch.arange(50) * 1.9416110,
        half_turn(60).repeat(3) + 9,
        torch.arange(40) * math.pi,
        torch.arange(6.0),
        np.linspace(0, 20 * math.pi, 1000),
        np.arange(500) * math.pi * (math.sqrt(5) - 1) / 2,
    ],
)
def test_radians_of_many_turns_are_taken(angles):
    assert len(Radon(8, angles)) == len(angles)


def test_wrong_image_shape():
    with pytest.raises(ValueError, match=r"\(7, 8\).*\(8, 8\)"):
        Radon(8, half_turn(3)).forward(torch.zeros(1, 7, 8))


@pytest.mark.parametrize("shape", [(1, 3, 5), (1, 5, 3), (1, 4, 6), (1, 6, 4)])
@pytest.mark.parametrize("back", [Radon.adjoint, filtered_backprojection])
def test_wrong_projection_shape(back, shape):
    with pytest.raises(ValueError, match=rf"{shape[1]}, {shape[2]}.*4, 5"):
        back(Radon(8, half_turn(4), bins=5), torch.zeros(shape))


def test_bad_arguments():
    for angles in (torch.tensor([]), torch.tensor([0.0, math.nan])):
        with pytest.raises(ValueError, match="at least one finite angle"):
            Radon(8, angles)
    with pytest.raises(ValueError, match="1 pixels"):
        Radon(1, half_turn(3))
    for bins in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            Radon(8, half_turn(3), bins=bins)
    with pytest.raises(ValueError, match="at least 1"):
        half_turn(0)


def test_filtered_backprojection_is_found_where_it_was():
    from tomopilot.measure import backprojection, radon

    assert radon.filtered_backprojection is backprojection.filtered_backprojection
