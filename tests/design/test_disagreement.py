import torch

from tomopilot.design.disagreement import disagreement
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Data

SIZE, STD = 32, 0.2
PARALLEL, ROWS = Radon(SIZE, half_turn(24)), Fourier((SIZE, SIZE))


def measured(operator, image, rng, noise=None, spoilt=None) -> Data:
    """All designs of an operator, with the noise they are said to have."""
    data, noise = Data(image.shape), noise or Gaussian(STD)
    for design, values in enumerate(operator.forward(image[None])[0]):
        seen = Gaussian(STD).sample(values, rng=rng)
        if spoilt is not None:
            seen[spoilt] = 1e6
        data = data.add(operator, design, seen, noise)
    return data


def test_of_the_true_image_it_is_standard_normal(rng):
    for operator, shape in ((PARALLEL, (SIZE, SIZE)), (ROWS, (2, SIZE, SIZE))):
        image = torch.rand(shape, generator=rng)
        found = torch.stack([disagreement(measured(operator, image, rng), image, rng=rng) for _ in range(12)])
        assert abs(found.mean()) < 0.15
        assert 0.85 < found.square().mean().sqrt() < 1.15


def test_it_shows_what_an_image_lacks_and_has_too_much(rng):
    truth = torch.rand((SIZE, SIZE), generator=rng) / 2
    image = truth.clone()
    image[8:12, 8:12] -= 0.3
    image[20:24, 18:22] += 0.3
    found = disagreement(measured(PARALLEL, truth, rng), image, rng=rng)
    lacks, much = divmod(int(found.argmax()), SIZE), divmod(int(found.argmin()), SIZE)
    assert found.max() > 5 and 7 <= min(lacks) <= max(lacks) <= 12
    assert found.min() < -5 and 19 <= much[0] <= 24 and 17 <= much[1] <= 22


def test_what_masked_bins_hold_changes_nothing(rng):
    image = torch.rand((SIZE, SIZE), generator=rng)
    noise = Masked(Gaussian(STD), [5])
    plain, spoilt = (
        disagreement(
            measured(PARALLEL, image, torch.Generator().manual_seed(1), noise, bad),
            image,
            rng=torch.Generator().manual_seed(2),
        )
        for bad in (None, 5)
    )
    assert torch.equal(plain, spoilt)


def test_without_data_nothing_disagrees(rng):
    image = torch.rand((SIZE, SIZE), generator=rng)
    assert not disagreement(Data((SIZE, SIZE)), image, rng=rng).any()
