"""Posteriors against the exact answer, which a Gaussian prior has in closed form."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, filtered_backprojection, half_turn
from tomopilot.metrics import psnr
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.denoiser import GaussianPrior
from tomopilot.prior.schedule import ddpm
from tomopilot.records import Data
from tomopilot.testing import check_posterior

SIZE, NOISE = 16, Gaussian(0.1)


def smooth_prior() -> GaussianPrior:
    """Images with a correlation length of 2 pixels and a standard deviation of about 0.2."""
    line = torch.arange(SIZE, dtype=torch.float64)
    one = torch.exp(-(line[:, None] - line).square() / (2 * 2.0**2))
    covariance = 0.04 * torch.kron(one, one) + 1e-4 * torch.eye(SIZE**2, dtype=torch.float64)
    mean = 0.3 + 0.4 * torch.exp(-(line - 6).square()[:, None] / 20 - (line - 9).square() / 30)
    return GaussianPrior(mean.float(), covariance.float())


PRIOR = smooth_prior()


@dataclass
class Case:
    truth: Tensor
    data: Data
    mean: Tensor
    covariance: Tensor


@lru_cache
def case(count: int) -> Case:
    """A draw of the prior, `count` noisy projections of it, and the exact posterior."""
    rng = torch.Generator().manual_seed(1)
    root = torch.linalg.cholesky(PRIOR.covariance.double())
    truth = PRIOR.mean + (root @ torch.randn(SIZE**2, generator=rng).double()).reshape(SIZE, SIZE).float()
    radon = Radon(SIZE, half_turn(count))
    y = NOISE.sample(radon.forward(truth[None])[0], rng=rng)
    data = Data((SIZE, SIZE))
    for design in range(count):
        data = data.add(radon, design, y[design], NOISE)
    basis = torch.eye(SIZE**2, dtype=torch.float64).unflatten(1, (SIZE, SIZE))
    a, c = radon.forward(basis).flatten(1).T, PRIOR.covariance.double()
    gain = c @ a.T @ torch.linalg.inv(a @ c @ a.T + NOISE.std**2 * torch.eye(len(a), dtype=torch.float64))
    shift = gain @ (y.double().flatten() - a @ PRIOR.mean.double().flatten())
    return Case(truth, data, PRIOR.mean.double() + shift.reshape(SIZE, SIZE), c - gain @ a @ c)


def judged(images: Tensor, exact: Case) -> tuple[float, float]:
    """Error of the mean, in exact posterior standard deviations, and total variance over the exact one."""
    images, total = images.double(), exact.covariance.trace()
    error = ((images.mean(0) - exact.mean).square().sum() / total).sqrt()
    return error.item(), (images.var(0).sum() / total).item()


def sample(posterior, data, count=100, seed=0):
    return posterior.sample(data, count, rng=torch.Generator().manual_seed(seed)).images


SOFT = DiffusionPosterior(PRIOR, Soft(), ddpm(50))
# Measured on 2026-11-22 with 100 samples: mean error, variance ratio. The paper's sampler is known to
# under-disperse: about 0.4 of the variance with few angles, about 0.1 where it starts to fit the noise
# (misfit 0.35 of its expectation with 20 angles). The exact total variance is 7.31, 0.513, 0.0656, 0.0354.
KNOWN = {1: (0.08, 0.43), 6: (0.33, 0.40), 20: (1.22, 0.048), 60: (1.07, 0.055)}


@pytest.mark.parametrize("count", KNOWN)
def test_soft_against_the_exact_posterior(count):
    exact, (known_error, known_ratio) = case(count), KNOWN[count]
    images = sample(SOFT, exact.data)
    error, ratio = judged(images, exact)
    assert error < known_error + 0.15, error
    assert ratio == pytest.approx(known_ratio, rel=0.2)
    relative = exact.data.misfit(images) * 2 / (count * SIZE)
    assert bool((relative < 1.1).all()), relative.max()  # neither divergence nor stall
    assert (images.mean(0) - exact.truth).norm() < (PRIOR.mean - exact.truth).norm()


def test_soft_without_fresh_noise():
    """The deterministic chain is dispersed rightly, but its mean is off: measured error 0.55, ratio 1.02."""
    exact = case(6)
    error, ratio = judged(sample(DiffusionPosterior(PRIOR, Soft(), ddpm(50), eta=0.0), exact.data), exact)
    assert error < 0.7, error
    assert ratio == pytest.approx(1.02, rel=0.2)


def chain(eta: float, sigmas: Tensor) -> Tensor:
    """Variance of each eigenmode after the reverse chain of `PRIOR`, step by step in closed form."""
    modes = PRIOR.eigenvalues.double()
    total = torch.full_like(modes, sigmas[0].item() ** 2)
    for sigma, following in pairwise([*sigmas.tolist(), 0.0]):
        gain = modes / (modes + sigma**2)
        total = (
            total * (gain + following / sigma * (1 - eta**2) ** 0.5 * (1 - gain)) ** 2
            + (eta * following) ** 2
        )
    return total


@pytest.mark.parametrize(("eta", "share"), [(1.0, 0.452), (0.5, 0.857), (0.0, 0.921)])
def test_prior_chain(eta, share, rng):
    """50 levels keep a known `share` of the prior's variance, mode by mode that of the closed form."""
    sigmas = ddpm(50)
    noise = sigmas[0] * torch.randn(800, SIZE, SIZE, generator=rng)
    images = ddim(PRIOR, noise, sigmas, eta=eta, rng=rng)
    spread = ((images - PRIOR.mean).flatten(1) @ PRIOR.eigenvectors).double().square().mean(0)
    expected = chain(eta, sigmas)
    large = expected > 1e-3
    torch.testing.assert_close(spread[large], expected[large], rtol=0.25, atol=0)
    total = PRIOR.eigenvalues.double().sum()
    assert (expected.sum() / total).item() == pytest.approx(share, abs=2e-3)
    assert (spread.sum() / total).item() == pytest.approx(share, rel=0.05)
    off = (images.mean(0) - PRIOR.mean).square().sum() / PRIOR.covariance.trace()
    assert off.sqrt() < 0.08, off.sqrt()


def test_more_levels_bring_the_priors_variance():
    shares = [(chain(0.0, ddpm(n)).sum() / PRIOR.eigenvalues.sum()).item() for n in (10, 50, 1000)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0, abs=0.02), shares


def test_without_data_the_samples_are_the_priors():
    rng = torch.Generator().manual_seed(3)
    noise = SOFT.sigmas[0].item() * torch.randn(4, SIZE, SIZE, generator=rng)
    expected = ddim(PRIOR, noise, SOFT.sigmas, rng=rng)
    torch.testing.assert_close(sample(SOFT, Data((SIZE, SIZE)), 4, seed=3), expected, rtol=0, atol=0)


POSTERIORS = [
    DiffusionPosterior(PRIOR, Soft(steps=5), ddpm(10)),
    DiffusionPosterior(PRIOR, Soft(steps=5, batch=2), ddpm(10), eta=0.3),
    FilteredBackProjection(),
    TotalVariation(0.1, steps=20),
]


@pytest.mark.parametrize("posterior", POSTERIORS, ids=lambda posterior: type(posterior).__name__)
@pytest.mark.parametrize("count", [1, 5])
def test_laws(posterior, count):
    check_posterior(posterior, case(count).data)


def test_samples_do_not_hang_on_their_number():
    """Not the same numbers, but the same law: a sample among many is not drawn towards the others."""
    exact = case(6)
    guided = Soft(steps=10)(PRIOR, exact.data)
    x = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 1.0, 10.0])
    alone = torch.cat([guided(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(guided(x, sigma), alone, rtol=1e-4, atol=1e-4)


def test_count_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        sample(SOFT, Data((SIZE, SIZE)), 0)


@pytest.mark.parametrize("posterior", [FilteredBackProjection(), TotalVariation()], ids=repr)
def test_reconstructions_need_a_measurement(posterior):
    with pytest.raises(ValueError, match=r"measure|projection"):
        sample(posterior, Data((SIZE, SIZE)), 1)


def test_filtered_backprojection_posterior():
    exact = case(9)
    (part,) = exact.data.observations
    found = filtered_backprojection(part.operator, part.values[None])
    torch.testing.assert_close(sample(FilteredBackProjection(), exact.data), found, rtol=0, atol=0)


def blocks(count: int) -> tuple[Tensor, Data]:
    """A piecewise constant image and its projections."""
    image = torch.zeros(24, 24)
    image[5:12, 6:17] = 1.0
    image[14:19, 9:14] = 0.5
    radon = Radon(24, half_turn(count))
    data = Data((24, 24))
    for design, values in enumerate(radon.forward(image[None])[0]):
        data = data.add(radon, design, values, Gaussian(0.0))
    return image, data


def objective(x: Tensor, data: Data, weight: float) -> float:
    """Half the sum of squares and the isotropic total variation, written out."""
    x = x.double()
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:-1], right[:, :-1] = x[1:] - x[:-1], x[:, 1:] - x[:, :-1]
    return (data.misfit(x[None])[0] + weight * down.hypot(right).sum()).item()


@pytest.mark.parametrize(("count", "weight", "excess"), [(4, 1.0, 0.01), (12, 10.0, 0.04)])
def test_total_variation_solves_its_problem(count, weight, excess, rng):
    """The default number of steps comes close to a long run, and nothing near that one is lower."""
    _, data = blocks(count)
    found, best = (sample(TotalVariation(weight, steps), data)[0] for steps in (300, 1000))
    lowest = objective(best, data, weight)
    assert objective(found, data, weight) < (1 + excess) * lowest
    assert found.min() >= 0
    for size in (0.1, 0.01):
        for _ in range(10):
            other = (best + size * torch.randn(best.shape, generator=rng)).clamp(min=0)
            assert objective(other, data, weight) > lowest
        assert objective(best * (1 + size), data, weight) > lowest
        assert objective(best * (1 - size), data, weight) > lowest


def test_total_variation_beats_filtered_backprojection_on_blocks():
    image, data = blocks(8)
    tv = psnr(sample(TotalVariation(0.1), data)[0], image)
    fbp = psnr(sample(FilteredBackProjection(), data)[0], image)
    assert tv > fbp + 10, (tv, fbp)
