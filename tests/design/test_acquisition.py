import math
from dataclasses import replace

import pytest
import torch
from gaussians import covariance, forecast, known, matrix, measured, samples

from tomopilot.design.acquisition import AOptimal, LogDet, Oracle, carried, committee, variance
from tomopilot.design.ensemble import FLOOR, reach
from tomopilot.design.policy import Greedy, InOrder
from tomopilot.experiment import Experiment
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.records import Draws, Forecast
from tomopilot.testing import twin

RADON, ROWS = Radon(8, half_turn(5)), Fourier((6, 4))
VOLUME = Stack(Radon(6, half_turn(3)), 2)
NOISES = [Gaussian(0.1), Gaussian(2.0), Masked(Gaussian(0.1), (0, 3))]


def noise_matrix(noise, seen):
    """Of the real numbers of one design that are used, and which these are."""
    weight = noise.precision(seen)
    weight = torch.stack([2 * weight] * 2, -1) if seen.is_complex() else weight
    used = weight.flatten() > 0
    return (1 / weight.flatten()[used].double()).diag(), used


@pytest.mark.parametrize("block", [(5,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_variance_is_equation_3(block, dtype, rng):
    draws = torch.randn(4, 3, *block, generator=rng, dtype=dtype)
    k, n = draws.shape[:2]
    expected = []
    for design in range(n):
        mean = sum(draws[i, design] for i in range(k)) / k
        expected.append(sum(((draws[i, design] - mean).abs() ** 2).sum() for i in range(k)) / k)
    found = variance(Forecast(draws, draws.mean(0)))
    assert not found.is_complex()
    torch.testing.assert_close(found, torch.stack(expected))


def test_variance_ignores_what_all_draws_share(rng):
    draws, shared = (torch.randn(k, 3, 5, generator=rng, dtype=torch.float64) for k in (4, 1))
    found = variance(Forecast(3 * draws + 100 * shared, shared[0]))
    torch.testing.assert_close(found, 9 * variance(Forecast(draws, shared[0])))


def test_equal_draws_have_no_variance():
    assert bool((variance(Forecast(torch.ones(3, 4, 5), torch.ones(4, 5))) == 0).all())


@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize("operator", [RADON, ROWS, VOLUME], ids=repr)
def test_log_determinant_is_equation_14(operator, noise, rng):
    """Against determinants of whole covariances of real numbers."""
    seen = forecast(operator, rng, noise)
    c = covariance(seen.images)
    for a, score, guess in zip(matrix(operator), LogDet()(seen), seen.guess, strict=True):
        s, used = noise_matrix(noise, guess)
        whole = s + a[used] @ c @ a[used].T
        torch.testing.assert_close(score, (whole.logdet() - s.logdet()) / 2, rtol=1e-6, atol=1e-6)


def test_log_determinant_by_hand():
    """Two samples 1 and -1 of a value with noise 1: C = 1, so log(2) / 2; with noise 0.5, log(5) / 2."""
    seen = Forecast(torch.tensor([[[1.0]], [[-1.0]]]), torch.zeros(1, 1), Gaussian(1.0))
    for score, ratio in ((LogDet(), 2.0), (LogDet(0.5), 5.0), (LogDet(2.0), 1.25)):
        assert score(seen).item() == pytest.approx(math.log(ratio) / 2)


@pytest.mark.parametrize("noise", [None, Gaussian()], ids=repr)
def test_unknown_noise_is_a_share_of_the_forecast(noise, rng):
    seen = forecast(RADON, rng)
    rms = seen.draws.square().mean().sqrt().item()
    known = LogDet()(replace(seen, noise=Gaussian(FLOOR * rms)))
    torch.testing.assert_close(LogDet()(replace(seen, noise=noise)), known)
    asked = LogDet(0.3)(replace(seen, noise=Gaussian(7.0)))
    torch.testing.assert_close(asked, LogDet()(replace(seen, noise=Gaussian(0.3 * rms))))


def test_samples_that_are_all_zero_tell_nothing():
    seen = Forecast(torch.zeros(3, 2, 4), torch.zeros(2, 4))
    assert LogDet()(seen).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_committee_is_equation_17(dtype, rng):
    draws = torch.randn(3, 2, 4, generator=rng, dtype=dtype)
    guess = torch.randn(2, 4, generator=rng, dtype=dtype)
    expected = [sum((draws[i, n] - guess[n]).abs().square().sum() for i in range(3)) / 3 for n in range(2)]
    torch.testing.assert_close(committee(Forecast(draws, guess)), torch.stack(expected))
    mean = Forecast(draws, draws.mean(0))
    torch.testing.assert_close(committee(mean), variance(mean))


def test_a_row_of_kspace_carries_its_variance(rng):
    seen = forecast(ROWS, rng)
    torch.testing.assert_close(carried(seen), variance(seen), rtol=1e-5, atol=1e-5)


def smooth(rng, size, k=6):
    """Images of a few pixels' correlation length that are 0 near their edge, as pictures of objects are."""
    line = torch.arange(size, dtype=torch.float64)
    blur = torch.exp(-(line[:, None] - line).square() / (2 * 2.0**2))
    window = torch.hann_window(size, periodic=False, dtype=torch.float64)
    noise = torch.randn(k, size, size, generator=rng, dtype=torch.float64)
    return blur @ noise @ blur * window * window[:, None]


def test_what_a_projection_carries_is_that_of_the_pseudo_inverse(rng):
    """Exactly along rows and columns, to a few per cent elsewhere."""
    operator = Radon(24, half_turn(8))
    images = smooth(rng, 24)
    found = carried(Forecast.of(operator, Draws(images, images.mean(0))))
    dense = torch.stack([(covariance(images) @ torch.linalg.pinv(a) @ a).trace() for a in matrix(operator)])
    torch.testing.assert_close(found[[0, 4]], dense[[0, 4]], rtol=1e-5, atol=0)
    torch.testing.assert_close(found, dense, rtol=0.05, atol=0)


def test_rays_that_miss_the_image_carry_nothing():
    operator = Radon(6, half_turn(4), bins=14)
    images = torch.stack([torch.zeros(6, 6), torch.ones(6, 6)])
    assert bool(carried(Forecast.of(operator, Draws(images, images[0]))).isfinite().all())
    assert reach(operator)[0, :3].abs().max() == 0


@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize("operator", [RADON, ROWS, VOLUME], ids=repr)
@pytest.mark.parametrize("left_out", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_optimal_against_whole_matrices(operator, noise, left_out, weighted, rng):
    seen = forecast(operator, rng, noise)
    roi = torch.rand(operator.image_shape[-2:], generator=rng) if weighted else None
    weight = (torch.ones(1) if roi is None else roi).expand(operator.image_shape).flatten().double()
    c, pixel = covariance(seen.images), seen.images.var(0).mean()
    found = AOptimal(left_out=left_out, roi=roi)(seen)
    for a, score, guess in zip(matrix(operator), found, seen.guess, strict=True):
        s, used = noise_matrix(noise, guess)
        lengths = (a @ a.T).sum(1)[used]
        a, s = a[used], s + (left_out * pixel * lengths).diag()
        gain = c @ a.T @ torch.linalg.solve(s + a @ c @ a.T, a @ c)
        torch.testing.assert_close(score, weight @ gain.diagonal(), rtol=1e-4, atol=1e-6)


def test_a_optimal_by_hand():
    """Samples 1 and -1 of one pixel, read once: variance 1, of which 1 / (1 + S) goes."""

    class Pixel(Fourier):
        complex_values = False

        def forward(self, x):
            return x.reshape(-1, 1, 1)

    images = torch.tensor([1.0, -1.0])[:, None, None, None]
    seen = Forecast(images[:, :, 0, :], torch.zeros(1, 1), Gaussian(2.0), images)
    assert AOptimal(left_out=0.0)(seen).item() == pytest.approx(1 / 5)
    assert AOptimal(left_out=0.0, roi=torch.full((1, 1), 3.0))(seen).item() == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    "options",
    [{"noise": 0.0}, {"noise": -1.0}, {"noise": math.inf}, {"noise": math.nan}, {"left_out": -0.1}],
    ids=str,
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match="expected a number above 0"):
        AOptimal(**options)


@pytest.mark.parametrize("roi", [torch.zeros(2, 2), torch.tensor([[1.0, -1.0]])], ids=str)
def test_a_region_of_no_interest(roi):
    with pytest.raises(ValueError, match="roi has weights below 0, or none above"):
        AOptimal(roi=roi)


def test_few_samples_choose_better_if_what_they_leave_out_is_noise(rng):
    """Of a known Gaussian: the share of the best reduction of the image variance that is missed."""
    operator, a, c = known(taken=6)
    free = torch.tensor([design for design in range(18) if design % 3])
    exact = torch.stack([c.trace() - measured(c, a[design], 0.02).trace() for design in free])
    missed = {AOptimal(left_out=0.0): 0.0, AOptimal(): 0.0}
    for k in [3, 10] * 30:
        images = samples(c, k, rng)
        seen = Forecast.of(operator, Draws(images, images.mean(0)), Gaussian(0.02))[free]
        for score in missed:
            missed[score] += (1 - exact[score(seen).argmax()] / exact.max()).item() / 60
    plain, corrected = missed.values()
    assert corrected < 0.8 * plain, missed


@pytest.mark.parametrize("score", [variance, committee, carried])
def test_of_a_volume_is_the_sum_over_its_slices(score, rng):
    seen, each = forecast(VOLUME, rng), 0.0
    for place in range(VOLUME.slices):
        images = seen.images[:, place]
        each = each + score(Forecast.of(VOLUME.operator, Draws(images, images.mean(0))))
    torch.testing.assert_close(score(seen), each, rtol=1e-6, atol=1e-9)


def test_the_oracle_knows_how_much_each_measurement_would_mend(rng):
    """The squared error, less that after the smallest step which explains a row."""
    known = twin(ROWS, Gaussian(0.1), rng=rng)
    guess = known.mean.double()
    seen = Forecast.of(ROWS, Draws(guess[None], guess))
    off = (known.truth.double() - guess).flatten()
    mended = [off - torch.linalg.pinv(a) @ a @ off for a in matrix(ROWS)]
    expected = torch.stack([off @ off - left @ left for left in mended])
    torch.testing.assert_close(Oracle(known.truth.double())(seen), expected, rtol=1e-5, atol=1e-6)


SCORES = {
    "logdet": LogDet(),
    "committee": committee,
    "carried": carried,
    "aoptimal": AOptimal(),
    "oracle": Oracle(torch.ones(8, 8)),
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_a_scan_by_each_score(score, rng):
    images = torch.rand(4, 8, 8, generator=rng)

    class Known:
        def sample(self, data, count, *, rng, previous=None):
            return Draws(images, images.mean(0))

    scan = Experiment(RADON, Gaussian(0.1), Known(), Greedy(score, InOrder([0])), count=4)
    scan.tell(scan.ask(), torch.zeros(8))
    decision = scan.decide()
    whole = score(Forecast.of(RADON, Draws(images, images.mean(0)), Gaussian(0.1)))
    torch.testing.assert_close(decision.scores[1:], whole[1:].float())
    assert decision.design == 1 + whole[1:].argmax()
