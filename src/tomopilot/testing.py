"""The laws of each contract, for your own parts too: a check raises AssertionError where one is broken."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.testing import assert_close

from tomopilot.design.policy import Choice, Policy
from tomopilot.files.images import Reader
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.measure.solve import inner
from tomopilot.posterior.posterior import Guidance, Posterior
from tomopilot.prior.denoiser import Denoiser, GaussianPrior
from tomopilot.records import Data, Draws

LEVELS = (0.02, 0.5, 10.0)  # of noise, at which guided denoisers are looked at


def check_operator(operator: Operator, *, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> None:
    """Linear, image by image, with the right shapes and adjoint, also where these are differentiated.

    Indexing commutes with `forward`, `at` finds its own settings again, and `.to` moves all of it to a
    device without changing anything.
    """
    rtol, atol = (1e-10, 1e-9) if dtype == torch.float64 else (1e-4, 1e-3)
    x, z = torch.randn(2, 2, *operator.image_shape, generator=rng, dtype=dtype).to(operator.device)
    y = operator.forward(x)
    assert y.shape == (2, len(operator), *operator.block_shape)
    assert y.real.dtype == dtype and y.device == operator.device
    assert_close(operator.forward(2 * x - 3 * z), 2 * y - 3 * operator.forward(z), rtol=rtol, atol=atol)
    assert_close(operator.forward(x[1:]), y[1:], rtol=rtol, atol=atol)
    w = torch.randn(y.shape, generator=rng, dtype=y.dtype).to(y.device)
    back = operator.adjoint(w)
    assert back.shape == x.shape and back.dtype == dtype
    assert_close(inner(y, w), inner(x, back), rtol=rtol, atol=atol)
    assert_close(back, Operator.adjoint(operator, w), rtol=rtol, atol=atol)
    assert_close(operator.adjoint(w[1:]), back[1:], rtol=rtol, atol=atol)
    n = len(operator)
    for index in (torch.arange(n).flip(0), torch.tensor([n - 1, 0, n - 1]), torch.tensor([n // 2])):
        part = operator[index]
        assert len(part) == len(index)
        assert_close(part.settings, operator.settings[index.to(operator.device)], rtol=0, atol=0)
        assert_close(part.forward(x), y[:, index.to(y.device)], rtol=rtol, atol=atol)
    again = torch.tensor([n - 1, 0, n - 1])
    reached = operator.at(operator.settings[again.to(operator.device)])
    assert_close(reached.forward(x), y[:, again.to(y.device)], rtol=rtol, atol=atol)
    _check_derivatives(operator, x, w, rtol=rtol, atol=atol)
    for device in {"meta", "cpu", str(operator.device), *["cuda"] * torch.cuda.is_available()}:
        _check_moved(operator, torch.device(device), x, rtol=rtol, atol=atol)


@torch.enable_grad()
def _check_derivatives(operator: Operator, x: Tensor, w: Tensor, *, rtol: float, atol: float) -> None:
    """The derivative of `forward` is the adjoint, that of the adjoint is `forward`."""
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y, back = operator.forward(x), operator.adjoint(w)
    (gradient,) = torch.autograd.grad(y, x, w, create_graph=True)
    assert_close(gradient, back, rtol=rtol, atol=atol)
    for found in (gradient, back):
        assert found.requires_grad, "the adjoint cannot be differentiated"
        assert_close(torch.autograd.grad(found, w, x)[0], y, rtol=rtol, atol=atol)


def _check_moved(operator: Operator, device: torch.device, x: Tensor, *, rtol: float, atol: float) -> None:
    """Nothing changes but the device; on `meta`, which holds no numbers, shapes are all there is."""
    moved = operator.to(device)
    assert moved.device.type == device.type
    assert moved.image_shape == operator.image_shape and moved.settings.shape == operator.settings.shape
    if device.type != "meta":
        assert moved.block_shape == operator.block_shape
        assert_close(moved.forward(x.to(device)).to(x.device), operator.forward(x), rtol=rtol, atol=atol)


Rays = Callable[[Tensor], tuple[Tensor, Tensor]]


def check_projector(operator: Operator, rays: Rays, *, within: float = 0.03) -> None:
    """Projections of a disc away from the centre are its chord lengths, in image value times pixel width.

    rays: from settings to the angle of each ray's normal (radians, counter-clockwise from the x-axis, which
    points to the right; y points up) and the ray's distance from the centre along it (pixels); both broadcast
    to (n, *block)
    within: mean error, as a share of the mean chord
    """
    size = min(operator.image_shape)
    x, y, radius = size / 8, -size / 5, size / 5
    angle, distance = rays(operator.settings.double())
    apart = distance - x * angle.cos() - y * angle.sin()
    chords = 2 * (radius**2 - apart.square()).clamp(min=0).sqrt()
    found = operator.forward(_disc(operator.image_shape, x, y, radius).to(operator.device)[None])[0]
    error = ((found - chords).abs().mean() / chords.expand(found.shape).mean()).item()
    assert error <= within, f"projections of a disc are {error:.1%} off; expected at most {within:.1%}"


def _disc(shape: tuple[int, ...], x: float, y: float, radius: float, finer: int = 16) -> Tensor:
    """The share of each pixel that a disc covers; `x` to the right, `y` up from the centre."""
    height, width = (finer * side for side in shape)
    up = (height / 2 - 0.5 - torch.arange(height, dtype=torch.float64)) / finer
    right = (torch.arange(width, dtype=torch.float64) + 0.5 - width / 2) / finer
    inside = (up[:, None] - y).square() + (right - x).square() <= radius**2
    return torch.nn.functional.avg_pool2d(inside.double()[None], finer)[0]


def check_denoiser(denoise: Denoiser, like: Tensor, *, rng: torch.Generator) -> None:
    """Keeps shape and dtype of images shaped as `like` (b, *image), and treats each image by itself."""
    sigma = torch.logspace(-1, 1, len(like), dtype=like.dtype, device=like.device)
    x = like + torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like)
    clean = denoise(x, sigma)
    assert clean.shape == x.shape and clean.dtype == x.dtype and bool(clean.isfinite().all())
    assert_close(torch.cat([denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(len(x))]), clean)


def smooth_prior(shape: Sequence[int]) -> GaussianPrior:
    """Images with a correlation length of 2 pixels and a standard deviation of about 0.2."""
    *channels, height, width = shape
    down, right = (torch.arange(n, dtype=torch.float64) for n in (height, width))
    alike = [torch.exp(-(line[:, None] - line).square() / (2 * 2.0**2)) for line in (down, right)]
    each = torch.eye(math.prod(channels), dtype=torch.float64)
    covariance = 0.04 * torch.kron(each, torch.kron(*alike))
    mean = 0.3 + 0.4 * torch.exp(-(down - 6).square()[:, None] / 20 - (right - 9).square() / 30)
    noise = 1e-4 * torch.eye(len(covariance), dtype=torch.float64)
    return GaussianPrior(mean.expand(*shape).float(), (covariance + noise).float())


@dataclass(frozen=True, eq=False)
class Twin:
    """A measured image whose exact posterior is known, because its prior is Gaussian."""

    prior: GaussianPrior
    truth: Float[Tensor, "*image"]
    data: Data
    mean: Float[Tensor, "*image"]  # of the exact posterior, as its covariance
    covariance: Float[Tensor, "d d"]

    def error(self, images: Float[Tensor, "k *image"]) -> float:
        """Error of the images' mean, in exact posterior standard deviations."""
        off = images.double().mean(0) - self.mean
        return (off.square().sum() / self.covariance.trace()).sqrt().item()


def twin(
    operator: Operator,
    noise: Gaussian,
    prior: GaussianPrior | None = None,
    *,
    rng: torch.Generator,
) -> Twin:
    """All measurements of an image drawn from `prior` (default: `smooth_prior`), solved as dense matrices."""
    shape = operator.image_shape
    prior = prior or smooth_prior(shape)
    mean, c = prior.mean.double().flatten(), prior.covariance.double()
    ripple = torch.linalg.cholesky(c) @ torch.randn(len(c), generator=rng).double()
    truth = prior.mean + ripple.reshape(shape).float()
    values = noise.sample(operator.forward(truth[None])[0], rng=rng)
    data = Data(shape)
    for design, block in enumerate(values):
        data = data.add(operator, design, block, noise)
    basis = torch.eye(len(c), dtype=torch.float64).reshape(-1, *shape)
    a, y = _reals(operator.forward(basis)).flatten(1).T, _reals(values).double().flatten()
    variance = noise.std**2 / (2 if values.is_complex() else 1)
    gain = c @ a.T @ torch.linalg.inv(a @ c @ a.T + variance * torch.eye(len(a), dtype=torch.float64))
    return Twin(prior, truth, data, (mean + gain @ (y - a @ mean)).reshape(shape), c - gain @ a @ c)


def _reals(y: Tensor) -> Tensor:
    return torch.view_as_real(y) if y.is_complex() else y


def check_guidance(guidance: Guidance, known: Twin) -> None:
    """Without data, the prior; with data, each image by itself: a sample is not drawn towards the others."""
    prior = GaussianPrior(known.prior.mean.double(), known.prior.covariance.double())
    shape = known.data.image_shape
    offsets = torch.tensor([0.0, 1.0, 30.0]).reshape(-1, *[1] * len(shape))
    x = offsets + torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    guided, unguided = guidance(prior, known.data), guidance(prior, Data(shape))
    for level in LEVELS:
        sigma = torch.full((3,), level)
        assert_close(unguided(x, sigma), prior(x, sigma), rtol=0, atol=0)
        alone = torch.cat([guided(x[i : i + 1], sigma[:1]) for i in range(3)])
        assert_close(guided(x, sigma), alone, rtol=1e-6, atol=1e-6)


def check_mean(posterior: Posterior, known: Twin, *, within: float = 0.5, count: int = 50) -> None:
    """The samples' mean is that of the exact posterior, `within` so many of its standard deviations.

    The posterior has `known.prior` as its denoiser; a guidance that diverges fails.
    """
    draws = posterior.sample(known.data, count, rng=torch.Generator().manual_seed(0))
    error = known.error(draws.images)
    assert error <= within, f"the mean is {error:.2g} standard deviations off; expected at most {within:g}"


def check_posterior(posterior: Posterior, data: Data, *, count: int = 2) -> None:
    """Finite draws of the right shape; the same `rng`, the same draws, bit for bit."""

    def sample() -> Draws:
        return posterior.sample(data, count, rng=torch.Generator().manual_seed(7))

    draws = sample()
    assert draws.images.shape[1:] == draws.guess.shape == data.image_shape
    assert 1 <= len(draws.images) <= count
    assert bool(draws.images.isfinite().all()) and bool(draws.guess.isfinite().all())
    assert_close(sample().images, draws.images, rtol=0, atol=0)


def check_policy(policy: Policy, operator: Operator, draws: Draws) -> None:
    """Offers free designs only, down to the last one, and the same ones when asked again."""
    free, data = tuple(range(len(operator))), Data(operator.image_shape)
    measured, noise = operator.forward(draws.guess[None])[0], Gaussian(0.1)
    while free:
        taken = len(operator) - len(free)
        choice = Choice(operator, free, taken, lambda: draws, noise=noise, data=data)
        design = policy.choose(choice).design
        assert design in free and design == policy.choose(choice).design
        free = tuple(other for other in free if other != design)
        data = data.add(operator, design, measured[design], noise)


def check_reader(read: Reader, path: Path, images: Sequence[np.ndarray]) -> None:
    """Finds the images of a file as they were written: all of them, or those picked, in their order."""
    every = list(range(len(images)))
    for chosen in (every, every[::-1], every[-1:], [*every[-1:], 0]):
        counts: list[int] = []

        def pick(count: int, chosen: list[int] = chosen, counts: list[int] = counts) -> list[int]:
            counts.append(count)
            return chosen

        pages = read(path, "", pick).pages
        assert set(counts) == {len(images)}, f"{counts} images where there are {len(images)}"
        assert [number for number, _ in pages] == chosen
        for number, pixels in pages:
            np.testing.assert_allclose(pixels, images[number], rtol=1e-6)
