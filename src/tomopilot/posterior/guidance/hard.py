"""Hard data consistency, as the paper compares it with its own."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.prior.schedule import ddpm_sigmas
from tomopilot.records import Data


@dataclass(frozen=True)
class Hard:
    """Thirds of diffusion time (paper, App. A): unconditioned, `soft`'s gradient steps, solved to the noise.

    In the last third, Eq. 10 is solved by gradient steps over all angles until the mean squared residual
    falls to the noise's variance, image by image, for at most `most` steps. The result is mixed with the
    denoised image before it is noised again (ReSample, Song et al. 2023): their stochastic encoding gives
    the data 0.89 of the mean between two of 50 DDIM levels; `mix` holds that share for all. `scale` is half
    the prior's intensity range.
    """

    soft: Soft = field(default_factory=Soft)
    most: int = 500
    mix: float = 0.9
    scale: float = 0.5

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        softly = self.soft(denoise, data)
        sigmas = self.scale * ddpm_sigmas()
        early, late = sigmas[len(sigmas) * 2 // 3].item(), sigmas[len(sigmas) // 3].item()
        expected = data.numel / 2

        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            level = sigma.max().item()
            if level >= early:
                return denoise(x, sigma)
            if level >= late or data.lipschitz == 0:
                return softly(x, sigma)
            clean = denoise(x, sigma)
            solved = clean
            for _ in range(self.most):
                running = data.misfit(solved) > expected
                if not bool(running.any()):
                    break
                step = per_image(running * self.soft.relaxation / data.lipschitz, solved)
                solved = solved - step * data.gradient(solved)
            return torch.lerp(clean, solved, self.mix)

        return guided
