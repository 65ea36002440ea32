"""Posterior samples from a diffusion prior."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.posterior.posterior import Guidance
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data, Draws


@dataclass(frozen=True)
class DiffusionPosterior:
    """A guided reverse diffusion over noise levels `sigmas` (descending, image units), in one batch.

    Without data, the samples are the prior's.
    """

    denoise: Denoiser
    guidance: Guidance
    sigmas: Float[Tensor, " n"]
    eta: float = 1.0

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        if count < 1:
            raise ValueError(f"{count} samples were asked for; expected at least 1")
        denoise = self.guidance(self.denoise, data) if len(data) else self.denoise
        noise = torch.randn(count, *data.image_shape, generator=rng).to(data.device)
        images = ddim(denoise, self.sigmas[0].item() * noise, self.sigmas, eta=self.eta, rng=rng)
        return Draws(images, images.mean(0))
