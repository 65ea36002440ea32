"""The laws of each contract, for your own parts too: a check raises AssertionError where one is broken."""

import torch
from torch import Tensor
from torch.testing import assert_close

from tomopilot.design.policy import Choice, Policy
from tomopilot.measure.operator import Operator
from tomopilot.measure.solve import inner
from tomopilot.posterior.posterior import Posterior
from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data, Draws


def check_operator(operator: Operator, *, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> None:
    """Linear, with the right adjoint and shapes, image by image, and indexing commutes with `forward`."""
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


def check_denoiser(denoise: Denoiser, like: Tensor, *, rng: torch.Generator) -> None:
    """Keeps shape and dtype of images shaped as `like` (b, *image), and treats each image by itself."""
    sigma = torch.logspace(-1, 1, len(like), dtype=like.dtype, device=like.device)
    x = like + torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like)
    clean = denoise(x, sigma)
    assert clean.shape == x.shape and clean.dtype == x.dtype and bool(clean.isfinite().all())
    assert_close(torch.cat([denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(len(x))]), clean)


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
    free = tuple(range(len(operator)))
    while free:
        choice = Choice(operator, free, len(operator) - len(free), lambda: draws)
        design = policy.choose(choice).design
        assert design in free and design == policy.choose(choice).design
        free = tuple(other for other in free if other != design)
