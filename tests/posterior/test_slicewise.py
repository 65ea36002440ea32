"""Volumes slice by slice: each as if it were alone, with what it carries on."""

from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import TotalVariation
from tomopilot.posterior.diffusion import KNOWN, STATE, DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.schedule import logarithmic
from tomopilot.records import Data, Draws
from tomopilot.testing import smooth_prior, twin

SIZE, NOISE = 12, Gaussian(0.1)
RADON, PRIOR = Radon(SIZE, half_turn(5)), smooth_prior((SIZE, SIZE))
LEVELS = logarithmic(2.5, 0.02, 30)
COLD = DiffusionPosterior(PRIOR, Prox(), LEVELS)
WARM = DiffusionPosterior(PRIOR, Prox(), LEVELS[-9:], warm=LEVELS[-3:], refresh=100)


@dataclass(frozen=True)
class Seen:
    """A posterior that notes what it is asked for."""

    asked: list

    def sample(self, data, count, *, rng, previous=None):
        self.asked.append((data, previous))
        image = torch.rand(count, *data.image_shape, generator=rng)
        return Draws(image, image[0], {"count": torch.tensor(float(len(self.asked)))})


def seed(number=0):
    return torch.Generator().manual_seed(number)


def measured(slices, rng, noise=NOISE):
    """A volume of independent Gaussian slices, whose exact posterior is known."""
    return twin(Stack(RADON, slices), noise, smooth_prior((slices, SIZE, SIZE)), rng=rng)


def of(data, chosen):
    """What was measured of some slices."""
    (part,) = data.observations
    operator, found = Stack(RADON, len(chosen)), Data((len(chosen), *data.image_shape[1:]))
    for design, frame in enumerate(part.values):
        found = found.add(operator, design, frame[list(chosen)], part.noise)
    return found


def test_the_mean_is_that_of_the_exact_posterior(rng):
    known = measured(3, rng)
    draws = Slicewise(COLD).sample(known.data, 30, rng=seed())
    assert draws.images.shape == (30, 3, SIZE, SIZE)
    assert known.error(draws.images) < 0.5


def test_a_slice_does_not_know_of_the_others(rng):
    """Not of how many there are, nor of their order: its number alone gives its random stream."""
    data = measured(3, rng).data
    whole = Slicewise(COLD).sample(data, 2, rng=seed())
    turned = Slicewise(COLD, (2, 0)).sample(of(data, (2, 0)), 2, rng=seed())
    alone = Slicewise(COLD, (1,)).sample(of(data, (1,)), 2, rng=seed())
    assert torch.equal(turned.images, whole.images[:, [2, 0]])
    assert torch.equal(alone.guess, whole.guess[[1]])
    other = Slicewise(COLD, (0,)).sample(of(data, (1,)), 2, rng=seed())
    assert not torch.equal(other.images, alone.images)


def test_each_slice_goes_on_from_its_own_samples(rng):
    data, asked = measured(2, rng).data, []
    one, two = Seen(asked), Slicewise(Seen(asked), (4, 11))
    first = two.sample(data, 3, rng=seed())
    assert {name: value.item() for name, value in first.carry.items()} == {"4.count": 1.0, "11.count": 2.0}
    two.sample(data, 3, rng=seed(1), previous=first)
    for place, (_, previous) in enumerate(asked[2:]):
        assert torch.equal(previous.images, first.images[:, place])
        assert torch.equal(previous.guess, first.guess[place])
        assert previous.carry == {"count": float(place + 1)}
    assert one.asked is asked and asked[0][1] is None


def test_warm_samples_and_their_moves(rng):
    """Those of each slice are as without the others; moves are the rms over the pixels of all slices."""
    data, whole, key = measured(2, rng).data, Slicewise(WARM), seed(3)
    first = whole.sample(data, 2, rng=seed())
    second = whole.sample(data, 2, rng=key, previous=first)
    assert first.moves is None
    assert first.carry.keys() == {f"{place}.{name}" for place in range(2) for name in (KNOWN, STATE)}
    lone = []
    for place in range(2):
        before = Draws(first.images[:, [place]], first.guess[[place]], dict(first.carry))
        lone.append(Slicewise(WARM, (place,)).sample(of(data, (place,)), 2, rng=seed(3), previous=before))
        assert torch.equal(lone[place].images[:, 0], second.images[:, place])
    assert second.moves is not None
    squares = torch.stack([draws.moves.exp().square() for draws in lone])
    assert_close(second.moves.exp().square(), squares.mean(0))


def test_masks_of_each_slice(rng):
    """What a masked bin holds changes nothing, in whichever slice."""
    known = measured(2, rng)
    (part,) = known.data.observations
    images = []
    for value in (torch.nan, 5.0):
        data, values = Data(known.data.image_shape), part.values.clone()
        values[:, :, 3] = value
        for design, frame in enumerate(values):
            data = data.add(part.family, design, frame, Masked(NOISE, (3,)))
        images.append(Slicewise(TotalVariation(0.1, steps=10)).sample(data, 1, rng=seed()).images)
    assert torch.equal(*images) and bool(images[0].isfinite().all())


def test_weights_are_made_once_for_all_slices(rng):
    asked: list = []
    Slicewise(Seen(asked)).sample(measured(3, rng).data, 1, rng=seed())
    operators = {id(data.observations[0].operator) for data, _ in asked}
    assert len(asked) == 3 and len(operators) == 1
    assert all(data.observations[0].family is RADON for data, _ in asked)


def test_what_is_no_volume_is_rejected(rng):
    flat = twin(RADON, NOISE, PRIOR, rng=rng).data
    with pytest.raises(ValueError, match=r"expected measurements of a Stack.*Radon"):
        Slicewise(COLD).sample(flat, 1, rng=seed())
    with pytest.raises(ValueError, match="of 2 slices, but 3 have a number"):
        Slicewise(COLD, (1, 2, 3)).sample(measured(2, rng).data, 1, rng=seed())
