"""Posterior samples from a diffusion prior."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.posterior.fitting import Fitting
from tomopilot.posterior.moves import Moves
from tomopilot.posterior.posterior import Guidance
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data, Draws


@dataclass(frozen=True)
class DiffusionPosterior:
    """A guided reverse diffusion over noise levels `sigmas` (descending, image units), all at once.

    With levels to `warm` up from, the samples of an earlier moment are taken up again instead: noise of the
    first of these levels is added to them, and only these are descended. Every `refresh`-th measurement the
    samples start cold all the same, so that what was once wrongly ruled out can come back.
    Without data, the samples are the prior's. Where the device does not hold all of them, the same ones are
    drawn in smaller batches.
    """

    denoise: Denoiser
    guidance: Guidance
    sigmas: Float[Tensor, " n"]
    eta: float = 1.0
    warm: Float[Tensor, " m"] | None = None
    refresh: int = 8

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        if count < 1:
            raise ValueError(f"{count} samples were asked for; expected at least 1")
        denoise = self.guidance(self.denoise, data) if len(data) else self.denoise
        start, sigmas, moves = torch.zeros(count, *data.image_shape, device=data.device), self.sigmas, None
        if self.warm is not None and previous is not None and len(data) % self.refresh:
            start, sigmas, moves = previous.carry, self.warm, Moves(previous.carry)
            denoise = moves.noted(self.denoise, lambda denoise: self.guidance(denoise, data))
        noise = torch.randn(start.shape, generator=rng).to(data.device)
        images = ddim(Fitting(denoise), start + sigmas[0].item() * noise, sigmas, eta=self.eta, rng=rng)
        return Draws(images, images.mean(0), carry=images, moves=moves.lengths() if moves else None)
