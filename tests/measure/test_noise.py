import json
import math

import numpy as np
import pytest
import torch

from tomopilot.measure.noise import Gaussian, Masked, Poisson, from_words, in_words

NOISES = [Gaussian(0.0), Gaussian(0.3), Poisson(1e4, 0.05)]
every = pytest.mark.parametrize("noise", NOISES, ids=repr)


def test_gaussian_statistics(rng):
    draws = Gaussian(0.3).sample(torch.full((40_000,), 2.0), rng=rng)
    assert draws.mean().item() == pytest.approx(2.0, abs=5 * 0.3 / 200)
    assert draws.std().item() == pytest.approx(0.3, rel=0.02)


def test_poisson_statistics(rng):
    i0, attenuation, clean = 1000.0, 0.05, 20.0
    draws = Poisson(i0, attenuation).sample(torch.full((40_000,), clean), rng=rng)
    counts = i0 * math.exp(-attenuation * clean)
    bias = 1 / (2 * counts * attenuation)  # of the logarithm, to first order
    assert draws.mean().item() == pytest.approx(clean + bias, abs=0.03)
    assert draws.std().item() == pytest.approx(1 / (attenuation * math.sqrt(counts)), rel=0.02)


@pytest.mark.parametrize("noise", [Gaussian(0.3), Poisson(2e3, 0.05)], ids=repr)
def test_precision_is_the_inverse_variance(noise, rng):
    clean = torch.tensor([5.0, 20.0])
    draws = noise.sample(clean.expand(40_000, 2), rng=rng)
    torch.testing.assert_close(noise.precision(clean) * draws.var(0), torch.ones(2), rtol=0.04, atol=0)


def test_no_noise_leaves_values_and_weighs_them_equally(rng):
    clean = torch.rand(3, 4, generator=rng)
    torch.testing.assert_close(Gaussian().sample(clean, rng=rng), clean, rtol=0, atol=0)
    torch.testing.assert_close(Gaussian().precision(clean), torch.ones(3, 4))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_same_rng_same_noise(noise, dtype):
    clean = torch.linspace(0, 30, 20, dtype=dtype)
    first, second = (noise.sample(clean, rng=torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first.dtype == noise.precision(first).dtype == dtype


def test_complex_values_have_real_precision(rng):
    clean = torch.zeros(20_000, dtype=torch.complex64)
    draws = Gaussian(0.5).sample(clean, rng=rng)
    assert draws.abs().square().mean().item() == pytest.approx(0.25, rel=0.04)
    assert not Gaussian(0.5).precision(draws).is_complex()


def test_bins_without_photons_stay_finite(rng):
    noise = Poisson(10.0, 1.0)
    values = noise.sample(torch.full((100,), 50.0), rng=rng)
    assert bool(values.isfinite().all())
    torch.testing.assert_close(noise.precision(values), torch.full((100,), 0.1))


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_bad_gaussian(std):
    with pytest.raises(ValueError, match=str(std)):
        Gaussian(std)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_poisson(bad):
    with pytest.raises(ValueError, match=f"i0 = {bad}"):
        Poisson(bad, 0.1)
    with pytest.raises(ValueError, match=f"attenuation = {bad}"):
        Poisson(1e4, bad)


def test_a_bin_brighter_than_the_beam_is_not_trusted_without_end():
    noise = Poisson(100.0, 0.1)
    weights = noise.precision(torch.tensor([-1e30, -1e4, -30.0, -1.0, 0.0]))
    assert bool(weights.isfinite().all()) and weights[0] == weights[1] == weights[2] < 11 * weights[4]
    torch.testing.assert_close(weights[3] / weights[4], torch.tensor(0.1).exp())


def test_complex_noise_has_its_variance_in_both_parts_together(rng):
    noise, clean = Gaussian(0.5), torch.full((20000,), 1 + 2j, dtype=torch.complex64)
    error = noise.sample(clean, rng=rng) - clean
    assert error.abs().square().mean().item() == pytest.approx(0.25, rel=0.05)
    for part in (error.real, error.imag):
        assert part.square().mean().item() == pytest.approx(0.125, rel=0.05)
    assert (error.real * error.imag).mean().item() == pytest.approx(0, abs=0.005)
    assert (noise.precision(clean) * error.abs().square()).mean().item() == pytest.approx(1, rel=0.05)


def test_photons_of_complex_values_are_refused(rng):
    with pytest.raises(ValueError, match="real measurements only"):
        Poisson(1e4, 0.1).sample(torch.zeros(3, dtype=torch.complex64), rng=rng)


@pytest.mark.parametrize(
    "bins", [(1, 3), [3, 1, 1], np.array([1, 3]), torch.tensor([False, True, False, True])]
)
def test_bins_are_masked_by_number_or_by_a_mask(bins):
    noise = Masked(Gaussian(0.5), bins)
    assert noise == Masked(Gaussian(0.5), (1, 3)) and hash(noise) == hash(Masked(Gaussian(0.5), (1, 3)))
    values = torch.tensor([[1.0, torch.nan, 2.0, torch.inf], [1.0, 2.0, torch.nan, 0.0]])
    expected = torch.tensor([4.0, 0.0, 4.0, 0.0]).expand(2, 4)
    torch.testing.assert_close(noise.precision(values), expected, rtol=0, atol=0)


def test_masked_bins_of_a_detector_that_depends_on_what_it_counts():
    values = torch.tensor([5.0, torch.nan, -torch.inf])
    found = Masked(Poisson(1e4, 0.1), (1, 2)).precision(values)
    torch.testing.assert_close(found[:1], Poisson(1e4, 0.1).precision(values[:1]), rtol=0, atol=0)
    assert found[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bins", [(-1,), (1.5,), ("a",), ((1, 2, 3),)], ids=repr)
def test_bins_that_are_no_numbers_are_rejected(bins):
    with pytest.raises(ValueError, match=r"expected whole numbers from 0, or true or false"):
        Masked(Gaussian(0.5), bins)


def test_a_masked_bin_beyond_the_detector_is_rejected():
    with pytest.raises(ValueError, match=r"bin 8 is masked, but a measurement has bins 0 to 7"):
        Masked(Gaussian(0.5), (2, 8)).precision(torch.zeros(8))


@pytest.mark.parametrize("noise", [*NOISES, Masked(Masked(Poisson(1e4, 0.05), (1,)), (2, 3))], ids=repr)
def test_a_noise_is_the_same_after_it_was_written(noise):
    assert from_words(json.loads(json.dumps(in_words(noise)))) == noise


def test_a_mask_of_a_whole_block_splits_into_slices(rng):
    dead = torch.rand(4, 9, generator=rng) < 0.3
    dead[2] = False
    noise, values = Masked(Gaussian(0.5), dead.numpy()), torch.randn(3, 4, 9, generator=rng)
    whole = noise.precision(values)
    torch.testing.assert_close(whole, torch.where(dead, 0.0, 4.0).expand(3, 4, 9))
    for number in range(4):
        own = noise.of_slice(number)
        torch.testing.assert_close(own.precision(values[:, number]), whole[:, number])
    some = noise.of_slices([3, 0])
    torch.testing.assert_close(some.precision(values[:, [3, 0]]), whole[:, [3, 0]])
    assert from_words(json.loads(json.dumps(in_words(noise)))) == noise
    with pytest.raises(ValueError, match="was the detector binned"):
        noise.precision(values[:, :2])
