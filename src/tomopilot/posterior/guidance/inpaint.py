"""Data consistency of k-space: measured rows take the place of denoised ones."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from tomopilot.measure.fourier import Fourier, from_kspace, to_channels, to_complex, to_kspace
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.records import Data, Observation


@dataclass(frozen=True)
class Inpaint:
    """The denoised image with its measured k-space rows replaced (paper, App. B, after Eq. 2).

    Noisy rows are averaged with the denoised ones, each by its inverse variance: the noise's against
    `firmness` / sigma^2 of the denoised image. As the transform is unitary, this is what `Prox` iterates
    towards. Noiseless rows, and with `exact` all measured ones, are taken as they are.
    """

    firmness: float = 1.0
    exact: bool = False

    def __post_init__(self) -> None:
        if not self.firmness > 0:
            raise ValueError(f"inpaint with firmness {self.firmness}; expected a number above 0")

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        if not data.observations:
            return denoise
        measured, variance = self._rows(data)

        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            clean = denoise(x, sigma)
            kspace = to_kspace(to_complex(clean))
            share = 1 / (1 + variance.to(clean) * per_image(self.firmness / sigma.square(), clean[:, 0]))
            return to_channels(from_kspace(kspace + share * (measured.to(kspace) - kspace)))

        return guided

    def _rows(self, data: Data) -> tuple[Complex[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Measured k-space, and the variance of its parts: 0 where exact, infinite where unmeasured."""
        shape, device = data.image_shape[1:], data.device
        total = torch.zeros(shape, dtype=torch.complex128, device=device)
        weight = torch.zeros(shape, dtype=torch.float64, device=device)
        exact = torch.zeros(shape, dtype=torch.bool, device=device)
        for part in sorted(data.observations, key=self._taken_as_is):  # the exact ones have the last word
            rows = _rows_of(part)
            if self._taken_as_is(part):
                used = torch.zeros_like(weight).index_add(0, rows, (part.precision > 0).double()) > 0
                total[used], weight[used], exact[used] = 0, 0, True
            weight.index_add_(0, rows, part.weight.double())
            total.index_add_(0, rows, part.weight * part.known.to(total))
        mean = torch.where(weight > 0, total / weight.clamp(min=torch.finfo(weight.dtype).tiny), 0)
        return mean, torch.where(exact, 0.0, 1 / weight)

    def _taken_as_is(self, part: Observation) -> bool:
        noise = part.noise.noise if isinstance(part.noise, Masked) else part.noise
        return self.exact or (isinstance(noise, Gaussian) and noise.std == 0)


def _rows_of(part: Observation) -> Tensor:
    if not isinstance(part.operator, Fourier):
        raise ValueError(f"inpaint replaces k-space rows, but the data come from {part.operator!r}; use prox")
    return part.operator.rows.to(part.values.device)
