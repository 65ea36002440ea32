import pytest
import torch
from torch import nn

from tomopilot.prior.denoiser import GaussianPrior, Metered, Preconditioned, Scaled, per_image
from tomopilot.prior.schedule import TIMES, ddpm_sigmas

MEAN, STD = 0.3, 0.4  # of the scalar prior whose network is known


class Exact(nn.Module):
    """What a perfect network predicts for independent pixels N(MEAN, STD^2), at DDPM's time."""

    def __init__(self, prediction: str) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, x, time):
        assert bool((time == time.round()).all()), "a time of the grid came out as a fraction"
        abar = (1 / (1 + ddpm_sigmas()[time.round().long()].square()))[:, None, None]
        a, s = abar.sqrt(), (1 - abar).sqrt()
        clean = MEAN + a * STD**2 / (a**2 * STD**2 + s**2) * (x - a * MEAN)
        noise = (x - a * clean) / s
        return noise if self.prediction == "epsilon" else a * noise - s * clean


class Rounded(Preconditioned):
    """Hides rounding: times of the grid are whole numbers to within float32."""

    def time(self, sigma):
        time = super().time(sigma)
        torch.testing.assert_close(time, time.round(), rtol=0, atol=0.02)
        return time.round()


def dense_prior(rng, side: int = 3) -> GaussianPrior:
    root = torch.randn(side**2, side**2, generator=rng, dtype=torch.float64)
    return GaussianPrior(torch.randn(side, side, generator=rng, dtype=torch.float64), root @ root.T)


def test_gaussian_prior_is_its_closed_form(rng):
    prior = dense_prior(rng)
    x = torch.randn(4, 3, 3, generator=rng, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.3, 2.0, 50.0], dtype=torch.float64)
    for noisy, level, found in zip(x, sigma, prior(x, sigma), strict=True):
        total = prior.covariance + level**2 * torch.eye(9, dtype=torch.float64)
        shift = prior.covariance @ torch.linalg.solve(total, (noisy - prior.mean).flatten())
        torch.testing.assert_close(found, prior.mean + shift.reshape(3, 3))


def test_tweedie(rng):
    prior, level = dense_prior(rng), 0.7
    x = torch.randn(2, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    total = prior.covariance + level**2 * torch.eye(9, dtype=torch.float64)
    density = torch.distributions.MultivariateNormal(prior.mean.flatten(), total)
    (score,) = torch.autograd.grad(density.log_prob(x.flatten(1)).sum(), x)
    sigma = torch.full((2,), level, dtype=torch.float64)
    torch.testing.assert_close(prior(x, sigma), x + level**2 * score)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_preconditioned_exact_network_is_the_exact_denoiser(prediction, rng):
    denoise = Rounded(Exact(prediction), prediction)
    for sigma in ddpm_sigmas().split(100):
        x = MEAN + (STD**2 + sigma**2).sqrt()[:, None, None] * torch.randn(
            len(sigma), 2, 2, generator=rng, dtype=torch.float64
        )
        gain = STD**2 / (STD**2 + sigma**2)
        expected = MEAN + gain[:, None, None] * (x - MEAN)
        torch.testing.assert_close(denoise(x, sigma), expected, rtol=1e-6, atol=1e-6)


def test_time_inverts_the_grid():
    times = torch.arange(TIMES)
    found = Preconditioned(nn.Identity()).time(ddpm_sigmas())
    torch.testing.assert_close(found, times.float(), rtol=0, atol=0.02)
    between = (ddpm_sigmas()[:-1] * ddpm_sigmas()[1:]).sqrt()
    torch.testing.assert_close(
        Preconditioned(nn.Identity()).time(between), times[:-1] + 0.5, rtol=0, atol=0.02
    )


def test_time_is_held_at_both_ends():
    found = Preconditioned(nn.Identity()).time(torch.tensor([1e-6, 1e6]))
    torch.testing.assert_close(found, torch.tensor([0.0, TIMES - 1.0]))


def test_unknown_prediction():
    with pytest.raises(ValueError, match=r"'sample'.*'v' or 'epsilon'"):
        Preconditioned(nn.Identity(), "sample")


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-3.0, 5.0), (10.0, 11.0)])
def test_scaled_commutes_with_a_change_of_units(limits, rng):
    low, high = limits
    prior = dense_prior(rng)
    scale, centre = (high - low) / 2, (high + low) / 2
    scaled = Scaled(prior, low, high)
    assert scaled.scale == scale
    same = GaussianPrior(prior.mean * scale + centre, prior.covariance * scale**2)
    x = torch.randn(3, 3, 3, generator=rng, dtype=torch.float64) * scale + centre
    sigma = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(scaled(x, sigma), same(x, sigma))


@pytest.mark.parametrize("limits", [(1.0, 1.0), (1.0, 0.0), (0.0, float("nan"))])
def test_scaled_needs_a_range(limits):
    with pytest.raises(ValueError, match="range"):
        Scaled(lambda x, sigma: x, *limits)


def test_metered_counts_and_changes_nothing(rng):
    prior = dense_prior(rng)
    metered = Metered(prior)
    x, sigma = torch.randn(5, 3, 3, generator=rng, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(metered(x, sigma), prior(x, sigma), rtol=0, atol=0)
    metered(x[:2], sigma[:2])
    assert metered.evaluations == 7 and metered.seconds > 0


def test_metered_counts_products_with_the_jacobian():
    metered = Metered(lambda x, sigma: 2 * x)
    x = torch.zeros(3, 4, 4, requires_grad=True)
    clean = metered(x, torch.ones(3))
    for _ in range(2):
        torch.autograd.grad(clean, x, torch.ones_like(clean), retain_graph=True)
    assert metered.evaluations == 3 * 3


def test_per_image_follows_dtype_and_rank():
    column = per_image(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4, 5, dtype=torch.float64))
    assert column.shape == (2, 1, 1, 1) and column.dtype == torch.float64
