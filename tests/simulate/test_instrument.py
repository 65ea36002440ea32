import torch
from torch.testing import assert_close

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
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


def test_a_mean_of_repeats_comes_nearer_with_their_root():
    repeated = instrument()
    mean = torch.stack([repeated(0) for _ in range(400)]).mean(0)
    assert mean.std() < 0.1
