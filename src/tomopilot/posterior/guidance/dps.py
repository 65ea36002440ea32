"""Diffusion posterior sampling: the data's gradient, taken through the network."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.prior.schedule import ddpm_sigmas
from tomopilot.records import Data


@dataclass(frozen=True)
class DPS:
    """A step of length `zeta` against the gradient of the residual's norm (Chung et al. 2022, Algorithm 1).

    The next noisy image takes the step, in the coordinates and unit of the network: a x / scale with
    a = 1 / sqrt(1 + (sigma / scale)^2), `scale` half the prior's intensity range. It takes up only
    beta / (1 - abar) of a shift of the denoised image, which is made longer by as much. `zeta` is per time of
    DDPM's 1000, so a solver of fewer levels takes longer steps; its `eta` should be about DDPM's own,
    sqrt(1 - (next sigma / sigma)^2). The norm is that of the images: divided by the largest singular value of
    the weighted operator. The network is differentiated, which costs about two more evaluations.
    """

    zeta: float = 1.0
    scale: float = 0.5

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        if data.lipschitz == 0:
            return denoise
        sigmas = (self.scale * ddpm_sigmas()).float().to(data.device)
        taken_up = 1 - (sigmas.roll(1) / sigmas).square()  # beta / (1 - abar)
        taken_up[0] = 1.0

        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                clean = denoise(x, sigma)
                norm = (2 * data.misfit(clean) / data.lipschitz).clamp(min=1e-12).sqrt()
                (gradient,) = torch.autograd.grad(norm.sum(), x)
            time = torch.searchsorted(sigmas, sigma.to(sigmas).contiguous()).clamp(max=len(sigmas) - 1)
            length = self.zeta * self.scale * (1 + (sigma / self.scale).square()) / taken_up[time]
            return clean.detach() - per_image(length, x) * gradient

        return guided
