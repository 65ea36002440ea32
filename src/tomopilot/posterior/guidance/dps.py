"""Diffusion posterior sampling: the data's gradient, taken through the network."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.records import Data


@dataclass(frozen=True)
class DPS:
    """A step of length `zeta` against the gradient of the residual's norm (Chung et al. 2022, Algorithm 1).

    The step is taken in the coordinates of DDPM, a x with a = 1 / sqrt(1 + (sigma / scale)^2), and the norm
    is in image units: divided by the largest singular value of the weighted operator. `scale` is half the
    prior's intensity range. The network is differentiated, which costs about two more evaluations.
    """

    zeta: float = 1.0
    scale: float = 0.5

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        if data.lipschitz == 0:
            return denoise

        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                clean = denoise(x, sigma)
                norm = (2 * data.misfit(clean) / data.lipschitz).clamp(min=1e-12).sqrt()
                (gradient,) = torch.autograd.grad(norm.sum(), x)
            squeeze = per_image(1 + (sigma / self.scale).square(), x)
            return clean.detach() - self.zeta * squeeze * gradient

        return guided
