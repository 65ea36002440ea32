"""What a prior is to the rest of the house: a denoiser. Wrappers of denoisers are denoisers."""

import time
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomopilot.prior.schedule import ddpm_sigmas

BEYOND = 0.25  # how far images may leave a prior's intensity range, as a share of it
REACHED = 0.1  # least share of it that they reach


@runtime_checkable
class Denoiser(Protocol):
    """E[clean | noisy] for noisy = clean + sigma * white noise; images and sigma in image units."""

    def __call__(
        self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]
    ) -> Float[Tensor, "b *image"]: ...


def per_image(sigma: Float[Tensor, " b"], like: Tensor) -> Tensor:
    """`sigma` shaped to multiply a batch of images."""
    return sigma.reshape(-1, *[1] * (like.ndim - 1)).to(like)


def in_range(low: float, high: float, known: tuple[float, float]) -> bool:
    """Whether values fit a range: they leave it by a quarter at most, and reach a tenth of it at least."""
    peak = known[1] - known[0]
    beyond = max(known[0] - low, high - known[1])
    return beyond <= BEYOND * peak and high - known[0] >= REACHED * peak


class Preconditioned(nn.Module):
    """A DDPM network as a denoiser of images in [-1, 1]: Tweedie's formula (paper, Eq. 7).

    With a = 1 / sqrt(1 + sigma^2) and s = sigma a, the network sees a (clean + sigma noise) at DDPM's time t
    and predicts `epsilon` (the noise) or `v` (a noise - s clean).
    """

    def __init__(self, network: nn.Module, prediction: str = "v") -> None:
        super().__init__()
        if prediction not in ("v", "epsilon"):
            raise ValueError(f"prediction is {prediction!r}; a network predicts 'v' or 'epsilon'")
        self.network, self.prediction = network, prediction
        self.register_buffer("log_sigmas", ddpm_sigmas().log().float(), persistent=False)

    def time(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """DDPM's time of a noise level, linear in log sigma between two times and held at both ends."""
        grid: Tensor = self.log_sigmas  # pyright: ignore[reportAssignmentType]
        level = sigma.to(grid).log().clamp(grid[0], grid[-1])
        above = torch.searchsorted(grid, level).clamp(1, len(grid) - 1)
        return above - (grid[above] - level) / (grid[above] - grid[above - 1])

    def forward(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        level = per_image(sigma, x)
        a = (1 + level.square()).rsqrt()
        output = self.network(a * x, self.time(sigma))
        return a * (a * x - level * output) if self.prediction == "v" else x - level * output


class Scaled(nn.Module):
    """A denoiser of images in [-1, 1] as one of images in [`low`, `high`], in image units."""

    def __init__(self, denoise: Denoiser, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if not float("-inf") < low < high < float("inf"):
            raise ValueError(
                f"the intensity range is [{low}, {high}]; expected two finite numbers, ascending"
            )
        self.denoise, self.low, self.high = denoise, low, high

    @property
    def scale(self) -> float:
        """Half the intensity range: one unit of the network in image units."""
        return (self.high - self.low) / 2

    def forward(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        centre = (self.high + self.low) / 2
        return self.denoise((x - centre) / self.scale, sigma / self.scale) * self.scale + centre


class GaussianPrior:
    """The closed form for images drawn from N(`mean`, `covariance`): what every sampler is tested against."""

    def __init__(self, mean: Float[Tensor, "*image"], covariance: Float[Tensor, "d d"]) -> None:
        self.mean, self.covariance = mean, covariance
        self.eigenvalues, self.eigenvectors = torch.linalg.eigh(covariance)

    def __call__(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        """mean + C (C + sigma^2 I)^-1 (x - mean)."""
        gain = self.eigenvalues / (self.eigenvalues + sigma[:, None].to(x).square())
        modes = (x - self.mean).flatten(1) @ self.eigenvectors
        return self.mean + ((gain * modes) @ self.eigenvectors.T).reshape(x.shape)


class Stationary:
    """The best linear denoiser of images of one mean and power spectrum: what a network has to beat (Wiener).

    mean: (*channels, 1, 1); power: (*channels, h, w), of the orthonormal Fourier transform, periodic
    """

    def __init__(self, mean: Float[Tensor, "*c 1 1"], power: Float[Tensor, "*c h w"]) -> None:
        self.mean, self.power = mean, power

    @classmethod
    def of(cls, images: Float[Tensor, "n *c h w"]) -> "Stationary":
        """Mean and power spectrum of images."""
        mean = images.mean((0, -2, -1), keepdim=True)[0]
        return cls(mean, torch.fft.fft2(images - mean, norm="ortho").abs().square().mean(0))

    def __call__(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        """mean + F* P / (P + sigma^2) F (x - mean)."""
        gain = self.power / (self.power + per_image(sigma, x).square())
        modes = torch.fft.fft2(x - self.mean, norm="ortho")
        return self.mean + torch.fft.ifft2(gain * modes, norm="ortho").real


class Metered:
    """A denoiser that counts the images that went through it, there or, for a gradient, back.

    `seconds` are those of the way there.
    """

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.evaluations, self.seconds = denoise, 0, 0.0

    def __call__(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        start = time.perf_counter()
        clean = self.denoise(x, sigma)
        if clean.is_cuda:
            torch.cuda.synchronize(clean.device)
        self.seconds += time.perf_counter() - start
        self.evaluations += len(x)
        if clean.requires_grad:
            clean.register_hook(self._back)
        return clean

    def _back(self, gradient: Tensor) -> None:
        self.evaluations += len(gradient)
