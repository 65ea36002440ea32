"""Samplers of other packages as posteriors of ours, given our denoiser, operator, projections and noise.

They run with the settings of methods.md, section 9; the packages' defaults are worse and named beside them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tomopilot.measure.radon import Radon
from tomopilot.posterior.posterior import Posterior
from tomopilot.prior.denoiser import Denoiser
from tomopilot.prior.schedule import logarithmic
from tomopilot.records import Data, Draws, Observation

SHIM = torch.library.Library("torchvision", "DEF")  # what a torchvision without its compiled part lacks
for operation in ("nms", "qnms"):
    SHIM.define(f"{operation}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import azula.denoise  # noqa: E402
import azula.guidance  # noqa: E402
import azula.linalg.covariance  # noqa: E402
import azula.noise  # noqa: E402
import azula.sample  # noqa: E402
import deepinv  # noqa: E402

RANK = 1e-4  # singular values below this share of the largest count as none


def levels(scale: float, count: int = 50) -> Tensor:
    """The noise levels of our estimators (`recipe._estimator`), in image units."""
    return logarithmic(5 * scale, 0.04 * scale, count)


def only(data: Data) -> Observation:
    (part,) = data.observations
    return part


def std(part: Observation) -> float:
    """Standard deviation of the noise, which is the same for every number."""
    return part.precision.flatten()[0].rsqrt().item()


@contextmanager
def seeded(rng: torch.Generator) -> Iterator[None]:
    """Peers draw from torch's global stream: inside, it is seeded by ours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        yield


class Linear(torch.autograd.Function):
    """A linear map and its transpose, differentiable in both modes (our `Product` has no forward mode)."""

    @staticmethod
    def forward(x: Tensor, apply: Callable, transpose: Callable) -> Tensor:
        return apply(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.apply_, ctx.transpose = inputs

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return Linear.apply(gradient, ctx.transpose, ctx.apply_), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_):
        return Linear.apply(tangent, ctx.apply_, ctx.transpose)


# azula: images and projections are flat, because its solvers take inner products along the last axis alone


def flat_projector(operator: Radon) -> Callable[[Tensor], Tensor]:
    """(b, pixels) -> (b, projections)"""

    def forward(x: Tensor) -> Tensor:
        return operator.forward(x.reshape(-1, *operator.image_shape)).flatten(1)

    def adjoint(y: Tensor) -> Tensor:
        return operator.adjoint(y.reshape(len(y), len(operator), -1)).flatten(1)

    return lambda x: Linear.apply(x, forward, adjoint)


class AzulaDenoiser(azula.denoise.Denoiser):
    """Our denoiser of square images; log sigma falls linearly while t goes from 1 to 0."""

    def __init__(self, denoise: Denoiser, size: int, high: float, low: float) -> None:
        super().__init__()
        self.denoise, self.size = denoise, size
        self.schedule = azula.noise.VESchedule(sigma_min=low, sigma_max=high)

    def forward(self, x_t: Tensor, t: Tensor, **_) -> azula.denoise.DiracPosterior:
        sigma = self.schedule.sigma(t).expand(len(x_t))
        clean = self.denoise(x_t.reshape(len(x_t), self.size, self.size), sigma)
        return azula.denoise.DiracPosterior(clean.flatten(1))


@dataclass(frozen=True)
class MMPS:
    """azula: moment matching (Rozet et al. 2024), `products` GMRES iterations; noise is wholly fresh.

    The defaults of azula, one iteration and DDIM without fresh noise, are worse (methods.md, 9).
    """

    denoise: Denoiser
    scale: float
    products: int = 3
    count: int = 50

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        part, sigmas = only(data), levels(self.scale, self.count)
        prior = AzulaDenoiser(self.denoise, part.operator.size, sigmas[0].item(), sigmas[-1].item())
        guided = azula.guidance.MMPSDenoiser(
            prior,
            part.values.flatten(),
            flat_projector(part.operator),
            azula.linalg.covariance.IsotropicCovariance(torch.tensor(std(part) ** 2)),
            iterations=self.products,
        )
        # eta is clipped where it stands for more than all noise fresh
        sampler = azula.sample.DDIMSampler(guided, eta=1e9, steps=self.count - 1, silent=True)
        with seeded(rng):
            start = sampler.init((count, part.operator.size**2), mean=self.scale, var=self.scale**2)
            images = guided(sampler(start), torch.zeros(())).mean
        images = images.reshape(count, *data.image_shape).detach()
        return Draws(images, images.mean(0))


# deepinv: images are (b, 1, h, w), and the operator comes by its singular values


@lru_cache(maxsize=4)
def decomposed(size: int, bins: int, angles: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """U, s, V of a projector by the eigenvalues of A A^T, whose side is the number of measured values."""
    operator = Radon(size, torch.tensor(angles), bins)
    count = len(operator) * bins
    rows = operator.adjoint(torch.eye(count).reshape(count, -1, bins)).flatten(1).double()
    squares, u = torch.linalg.eigh(rows @ rows.T)
    kept = squares > RANK**2 * squares.max()
    s, u = squares[kept].sqrt(), u[:, kept]
    return u.float(), s.float(), (rows.T @ (u / s)).float()


def decomposable(operator: Radon, noise: float) -> deepinv.physics.DecomposablePhysics:
    """Our projector in deepinv, in coordinates that are short although V has as many columns as pixels.

    An image's coordinates are those along the r right singular vectors, and then the image without them
    instead of coordinates along vectors that span the null space: white noise stays white in either.
    """
    u, s, v = decomposed(operator.size, operator.bins, tuple(operator.angles.tolist()))
    rank, pixels = len(s), len(v)

    def along(c: Tensor) -> Tensor:
        inside, rest = c.split([rank, pixels], 1)
        return (rest + (inside - rest @ v) @ v.T).reshape(-1, 1, *operator.image_shape)

    def coordinates(x: Tensor) -> Tensor:
        inside = x.flatten(1) @ v
        return torch.cat([inside, x.flatten(1) - inside @ v.T], 1)

    return deepinv.physics.DecomposablePhysics(
        U=lambda c: (c[:, :rank] @ u.T).reshape(len(c), len(operator), -1),
        U_adjoint=lambda y: torch.cat([y.flatten(1) @ u, y.new_zeros(len(y), pixels)], 1),
        V=along,
        V_adjoint=coordinates,
        mask=torch.cat([s, s.new_zeros(pixels)])[None],
        noise_model=deepinv.physics.GaussianNoise(noise),
    )


class DeepinvDenoiser(torch.nn.Module):
    """Our denoiser of (b, 1, h, w) images, told sigma over `stretch`."""

    def __init__(self, denoise: Denoiser, stretch: float = 1.0) -> None:
        super().__init__()
        self.denoise, self.stretch = denoise, stretch

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        told = torch.as_tensor(sigma / self.stretch, dtype=x.dtype).expand(len(x))
        return self.denoise(x[:, 0], told)[:, None]


@dataclass(frozen=True)
class DDRM:
    """deepinv: spectral updates (Kawar et al. 2022), all noise fresh (eta 1, deepinv has 0.85), our levels.

    deepinv 0.5.0 adds noise of sigma / sqrt(2) and tells the denoiser sigma. With a `stretch` of sqrt(2), all
    sigmas are that much larger and the denoiser is told the true one: DDRM as published.
    """

    denoise: Denoiser
    scale: float
    stretch: float = 1.0
    count: int = 50

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        part = only(data)
        physics = decomposable(part.operator, self.stretch * std(part))
        sigmas = [self.stretch * sigma for sigma in levels(self.scale, self.count).tolist()]
        sampler = deepinv.sampling.DDRM(DeepinvDenoiser(self.denoise, self.stretch), sigmas, eta=1.0)
        with seeded(rng):
            images = sampler(part.values.repeat(count, 1, 1), physics)[:, 0]
        return Draws(images, images.mean(0))


@dataclass(frozen=True)
class DiffPIR:
    """deepinv: denoise, exact proximal step, noise (Zhu et al. 2023); its own levels, images in [0, 1].

    lambda 2 gives data and prior their due weights in deepinv's units (its own: 7), zeta 1 is all noise fresh
    (its own: 0.1), as in our samplers.
    """

    denoise: Denoiser
    scale: float
    weight: float = 2.0
    zeta: float = 1.0
    count: int = 50

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        part = only(data)
        physics, fidelity = decomposable(part.operator, std(part)), deepinv.optim.data_fidelity.L2()
        sampler = deepinv.sampling.DiffPIR(
            DeepinvDenoiser(self.denoise), fidelity, std(part), self.count, self.zeta, self.weight
        )
        grey = torch.full((count, 1, *data.image_shape), self.scale)
        with seeded(rng):
            images = sampler(part.values.repeat(count, 1, 1), physics, x_init=grey)[:, 0]
        return Draws(images, images.mean(0))


PEERS: dict[str, Callable[[Denoiser, float], Posterior]] = {
    "azula MMPS": MMPS,
    "deepinv DDRM": DDRM,
    "deepinv DDRM full noise": lambda prior, scale: DDRM(prior, scale, stretch=2**0.5),
    "deepinv DiffPIR": DiffPIR,
}
