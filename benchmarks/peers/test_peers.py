"""The adapters: .venv/bin/python -m pytest -c /dev/null test_peers.py"""

import math

import peers
import pytest
import torch
from azula.guidance import DiffPIRDenoiser

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.denoiser import Metered, Stationary
from tomopilot.randomness import stream
from tomopilot.records import Data, Observation
from tomopilot.simulate.phantoms import chip

SIZE, STD = 32, 0.2


@pytest.fixture
def truth():
    return torch.from_numpy(chip(seed=2)).reshape(SIZE, 4, SIZE, 4).mean((1, 3))


@pytest.fixture
def denoise():
    """A denoiser in closed form."""
    images = torch.stack(
        [torch.from_numpy(chip(seed=s)).reshape(SIZE, 4, SIZE, 4).mean((1, 3)) for s in range(4)]
    )
    return Stationary.of(images)


@pytest.fixture
def data(truth):
    operator, index, noise = Radon(SIZE, half_turn(60)), torch.arange(0, 60, 6), Gaussian(STD)
    clean = operator[index].forward(truth[None])[0]
    values = noise.sample(clean, rng=stream(0, "noise"))
    return Data((SIZE, SIZE), observations=(Observation(operator, index, values, noise),))


def random(*shape):
    return torch.randn(*shape, generator=stream(0, *shape))


def test_projector_of_azula(data):
    operator = data.observations[0].operator
    project, x = peers.flat_projector(operator), random(2, SIZE**2).requires_grad_()
    y, v = project(x), random(2, len(operator) * SIZE)
    torch.testing.assert_close(y, operator.forward(x.reshape(2, SIZE, SIZE)).flatten(1))
    (back,) = torch.autograd.grad(y, x, v)
    torch.testing.assert_close((y * v).sum(), (x * back).sum())
    tangent = random(2, SIZE**2)
    torch.testing.assert_close(torch.func.jvp(project, (x.detach(),), (tangent,))[1], project(tangent))


def test_physics_of_deepinv(data):
    operator = data.observations[0].operator
    physics, x, y = (
        peers.decomposable(operator, STD),
        random(2, 1, SIZE, SIZE),
        random(2, len(operator), SIZE),
    )
    torch.testing.assert_close(physics.A(x), operator.forward(x[:, 0]), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(physics.A_adjoint(y)[:, 0], operator.adjoint(y), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(
        (physics.A(x) * y).sum(), (x * physics.A_adjoint(y)).sum(), rtol=1e-4, atol=1e-3
    )
    torch.testing.assert_close(physics.V(physics.V_adjoint(x)), x, rtol=1e-4, atol=1e-4)
    c = random(2, physics.mask.shape[1])
    torch.testing.assert_close(
        (physics.V(c) * x).sum(), (c * physics.V_adjoint(x)).sum(), rtol=1e-4, atol=1e-3
    )
    white = physics.V(random(4000, physics.mask.shape[1])).flatten(1)
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(SIZE**2), atol=0.1, rtol=0.1)


def test_denoisers(denoise):
    x = random(3, SIZE, SIZE)
    for time, sigma in ((1.0, 2.5), (0.5, math.sqrt(2.5 * 0.02)), (0.0, 0.02)):
        expected = denoise(x, torch.full((3,), sigma))
        theirs = peers.AzulaDenoiser(denoise, SIZE, 2.5, 0.02)(x.flatten(1), torch.tensor(time)).mean
        torch.testing.assert_close(theirs.reshape(x.shape), expected)
        torch.testing.assert_close(peers.DeepinvDenoiser(denoise)(x[:, None], sigma)[:, 0], expected)
        schedule = peers.AzulaDenoiser(denoise, SIZE, 2.5, 0.02).schedule
    torch.testing.assert_close(schedule.sigma(torch.linspace(1, 0, 50)), peers.levels(0.5), rtol=1e-4, atol=0)


def test_diffpir_of_azula_is_our_prox(denoise, data):
    """With the weight that the noise asks for, and 4 conjugate gradients: by 8, ours stray, in float32."""
    part, x, sigma = data.observations[0], random(1, SIZE, SIZE), 0.3
    prior = peers.AzulaDenoiser(denoise, SIZE, sigma, sigma)
    project = peers.flat_projector(part.operator)
    theirs = DiffPIRDenoiser(prior, part.values.flatten(), project, STD**2, 1.0, "cg", 4)
    ours = Prox(4)(denoise, data)(x, torch.tensor([sigma]))
    torch.testing.assert_close(
        theirs(x.flatten(1), torch.tensor(0.0)).mean.reshape(x.shape), ours, atol=1e-3, rtol=1e-3
    )


def test_mmps_is_exact_for_a_linear_denoiser(denoise, data):
    """Where the Jacobian is the denoiser itself, many products give the posterior mean in closed form."""
    part, x, sigma = data.observations[0], random(1, SIZE, SIZE), torch.tensor([0.3])
    project, zero = peers.flat_projector(part.operator), torch.zeros(1, SIZE, SIZE)
    base = denoise(zero, sigma)
    clean = denoise(x, sigma)
    covariance = lambda v: sigma**2 * (denoise(v.reshape(1, SIZE, SIZE), sigma) - base)  # noqa: E731
    rows = [covariance(row).flatten() for row in part.operator.adjoint(torch.eye(320).reshape(320, 10, SIZE))]
    cross = torch.stack(rows)  # (values, pixels): A C
    gram = part.operator.forward(cross.reshape(-1, SIZE, SIZE)).flatten(1) + STD**2 * torch.eye(320)
    exact = (
        clean.flatten(1)
        + torch.linalg.solve(gram, (part.values[None] - part.operator.forward(clean)).flatten()) @ cross
    )
    guided = peers.azula.guidance.MMPSDenoiser(
        peers.AzulaDenoiser(denoise, SIZE, 0.3, 0.3),
        part.values.flatten(),
        project,
        peers.azula.linalg.covariance.IsotropicCovariance(torch.tensor(STD**2)),
        iterations=100,
    )
    torch.testing.assert_close(guided(x.flatten(1), torch.tensor(0.0)).mean, exact, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", peers.PEERS)
def test_samples_fit_the_data(name, denoise, data, truth):
    """Misfit per datum about 1, and nearer to the truth than what the prior knows alone."""
    meter = Metered(denoise)
    draws = peers.PEERS[name](meter, 0.5).sample(data, 2, rng=stream(0, "draws"))
    misfit = 2 * data.misfit(draws.images) / data.numel
    again = peers.PEERS[name](denoise, 0.5).sample(data, 2, rng=stream(0, "draws"))
    assert torch.equal(draws.images, again.images)
    assert 0.3 < misfit.mean() < 6, misfit
    assert (draws.guess - truth).square().mean() < 0.5 * truth.var()
