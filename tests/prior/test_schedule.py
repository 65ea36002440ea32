import math

import pytest
import torch
from diffusers import DDPMScheduler

from tomopilot.prior.schedule import TIMES, ddpm, ddpm_sigmas, logarithmic


def test_levels_are_those_of_diffusers():
    abar = DDPMScheduler(num_train_timesteps=TIMES).alphas_cumprod.double()
    torch.testing.assert_close(ddpm_sigmas(), ((1 - abar) / abar).sqrt(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_grid_descends_from_the_noisiest_level(steps):
    sigmas, levels = ddpm(steps, scale=0.5), ddpm_sigmas()
    assert sigmas.shape == (steps,)
    assert bool((sigmas.diff() < 0).all())
    torch.testing.assert_close(sigmas[0].double(), 0.5 * levels[-1])
    distance = (sigmas.double()[:, None] / 0.5 - levels).abs().amin(1)
    torch.testing.assert_close(distance / levels[0], torch.zeros(steps).double(), atol=1e-3, rtol=0)


def test_grid_is_every_twentieth_time():
    times = torch.arange(TIMES - 1, 0, -20)
    torch.testing.assert_close(ddpm(50, scale=1.0), ddpm_sigmas()[times].float())


def test_scale_is_a_unit():
    torch.testing.assert_close(ddpm(10, scale=3.0), 3 * ddpm(10, scale=1.0))


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_bad_number_of_steps(steps):
    with pytest.raises(ValueError, match=str(steps)):
        ddpm(steps)


@pytest.mark.parametrize(("high", "low", "steps"), [(2.5, 0.02, 50), (100.0, 1e-3, 3), (0.7, 0.7, 2)])
def test_logarithmic_falls_by_one_ratio(high, low, steps):
    sigmas = logarithmic(high, low, steps)
    assert sigmas.dtype == torch.float32 and sigmas.shape == (steps,)
    torch.testing.assert_close(sigmas[[0, -1]], torch.tensor([high, low]))
    torch.testing.assert_close(
        sigmas[1:] / sigmas[:-1], torch.full((steps - 1,), (low / high) ** (1 / (steps - 1)))
    )


def test_one_logarithmic_level_is_the_highest():
    torch.testing.assert_close(logarithmic(2.5, 0.02, 1), torch.tensor([2.5]))


@pytest.mark.parametrize(
    ("high", "low", "steps"),
    [(2.5, 0.02, 0), (0.02, 2.5, 5), (2.5, 0.0, 5), (2.5, -1.0, 5), (math.inf, 1.0, 5), (math.nan, 1.0, 5)],
)
def test_bad_logarithmic_levels(high, low, steps):
    with pytest.raises(ValueError, match=f"{steps} noise levels from {high} to {low}; expected"):
        logarithmic(high, low, steps)
