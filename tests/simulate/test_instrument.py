import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.lowres import LowRes
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.simulate.instrument import Simulated

IMAGE, RADON = torch.zeros(8, 8), Radon(8, half_turn(4))


def instrument(name="a", seed=0):
    return Simulated(IMAGE, RADON, Gaussian(1.0), seed=seed, name=name)


def test_noise_differs_between_images_seeds_designs_and_repeats():
    first = instrument()
    values = [first(0), first(0), first(1), instrument("b")(0), instrument(seed=1)(0)]
    assert len({value[0].item() for value in values}) == len(values)


def test_noise_does_not_depend_on_the_order():
    forwards, backwards = instrument(), instrument()
    found = [forwards(design) for design in (0, 1, 1)]
    other = [backwards(design) for design in (1, 1, 0)]
    assert_close(torch.stack(found), torch.stack([other[2], other[0], other[1]]), rtol=0, atol=0)


def test_a_volume_is_measured_as_its_slices_are(rng):
    """All by one exposure, each with the noise of a measurement of it alone, on finer grids too."""
    volume, names = torch.rand(3, 8, 8, generator=rng), ("a", "b", "c")
    for finer in (1, 2):
        whole = Simulated(volume, Stack(RADON, 3), Gaussian(0.1), name=names, finer=finer)
        alone = [
            Simulated(image, RADON, Gaussian(0.1), name=name, finer=finer)
            for image, name in zip(volume, names, strict=True)
        ]
        for design in (2, 0, 2):
            assert_close(whole(design), torch.stack([one(design) for one in alone]))
    with pytest.raises(ValueError, match=r"3 times finer.*only projections"):
        Simulated(torch.zeros(2, 6, 6), Stack(LowRes(6, 3), 2), Gaussian(), finer=3)


def test_a_mean_of_repeats_comes_nearer_with_their_root():
    repeated = instrument()
    mean = torch.stack([repeated(0) for _ in range(400)]).mean(0)
    assert mean.std() < 0.1


@pytest.mark.parametrize("offset", [0.0, 1.5, -4.0])
def test_a_finer_grid_sees_the_detector_where_it_is(offset):
    """The closed-form projection of a disc, averaged over each bin."""
    size, radius, x0, y0 = 64, 18.0, 7.0, -5.0
    line = torch.arange(8 * size) / 8 - (size - 1 / 8) / 2
    fine = ((line - x0).square() + (-line[:, None] - y0).square() < radius**2).float()
    image = fine.unflatten(0, (size, 8)).unflatten(2, (size, 8)).mean((1, 3))
    angles = half_turn(9)
    radon = Radon(size, angles, 80, offset)
    centre = x0 * angles.cos() + y0 * angles.sin()
    t = torch.arange(800) / 10 - (80 - 1 / 10) / 2 - offset - centre[:, None]
    exact = 2 * (radius**2 - t.square()).clamp(min=0).sqrt().unflatten(1, (80, 10)).mean(2)
    measure = Simulated(image, radon, Gaussian(), finer=3)
    found = torch.stack([measure(design) for design in range(len(radon))])
    assert (found - exact).square().mean().sqrt() < 0.01 * exact.max()


def test_every_angle_of_many_turns_is_measured_on_a_finer_grid():
    """Also one that by itself might be degrees."""
    radon = Radon(8, [0.33, 9.0])
    assert_close(Simulated(IMAGE, radon, Gaussian(), finer=2)(1), torch.zeros(8))
