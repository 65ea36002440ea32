from dataclasses import replace

import torch

from tomopilot.design.disagreement import disagreement, unpredicted
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Data, Told

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


def missed(operator, predicted, image, rng, mask=()) -> list[Told]:
    """All designs of an operator, measured of an image, and how they differ from those of another."""
    told = []
    for design, clean in enumerate(operator.forward(image[None])[0]):
        apart = (Gaussian(STD).sample(clean, rng=rng) - operator.forward(predicted[None])[0, design]) / STD
        apart[list(mask)] = 0
        setting = operator.settings[design].tolist()
        told.append(Told(design, setting, 1.0, None, deviations=apart))
    return told


def test_of_samples_that_predict_well_it_is_standard_normal(rng):
    for operator, shape in ((PARALLEL, (SIZE, SIZE)), (ROWS, (2, SIZE, SIZE))):
        image = torch.rand(shape, generator=rng)
        found = [unpredicted(operator, missed(operator, image, image, rng), rng=rng) for _ in range(12)]
        assert abs(torch.stack(found).mean()) < 0.15
        assert 0.85 < torch.stack(found).square().mean().sqrt() < 1.15


def test_it_shows_what_was_not_predicted(rng):
    image = torch.rand((SIZE, SIZE), generator=rng) / 2
    flawed = image.clone()
    flawed[20:24, 8:12] += 0.3
    found = unpredicted(PARALLEL, missed(PARALLEL, image, flawed, rng), rng=rng)
    row, column = divmod(int(found.argmax()), SIZE)
    assert found.max() > 5 and 19 <= row <= 24 and 7 <= column <= 12


def test_a_bin_that_is_far_off_counts_as_one_that_is_off(rng):
    """Three standard deviations at most: one bad bin is no defect of the sample."""
    image = torch.rand((SIZE, SIZE), generator=rng)
    told = missed(PARALLEL, image, image, rng)
    changed = [torch.tensor([value, *told[0].deviations[1:]]) for value in (3.0, 3000.0)]
    off, far = (replace(told[0], deviations=values) for values in changed)
    first, second = (
        unpredicted(PARALLEL, [one, *told[1:]], rng=torch.Generator().manual_seed(1)) for one in (off, far)
    )
    torch.testing.assert_close(first, second)


def test_masked_bins_bring_no_noise(rng):
    """Where half the detector is masked, the other half is judged by its own noise."""
    image, half = torch.rand((SIZE, SIZE), generator=rng), range(SIZE // 2)
    one_angle = [missed(PARALLEL, image, image, rng, half)[0]]
    found = unpredicted(PARALLEL, one_angle, rng=rng)
    assert found.isfinite().all() and 0.4 < found.std() < 1.5


def test_where_nothing_was_predicted_there_is_no_picture(rng):
    assert unpredicted(PARALLEL, [Told(0, 0.0, None, None)], rng=rng) is None


def test_without_data_nothing_disagrees(rng):
    image = torch.rand((SIZE, SIZE), generator=rng)
    assert not disagreement(Data((SIZE, SIZE)), image, rng=rng).any()
