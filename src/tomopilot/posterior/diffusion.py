"""Posterior samples from a diffusion prior."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.posterior.fitting import Fitting
from tomopilot.posterior.moves import Moves
from tomopilot.posterior.posterior import Guidance
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data, Draws

STATE = "images"  # before their spread is corrected, which the next draw may start from
KNOWN = "known"  # the number of measurements that they were drawn by
UNFIT = 1.25  # times the least misfit


@dataclass(frozen=True)
class DiffusionPosterior:
    """A guided reverse diffusion over noise levels `sigmas` (descending, image units), all at once.

    With levels to `warm` up from, the samples of an earlier moment are taken up again instead: noise of the
    first of these levels is added to them, and only these are descended. Every `refresh`-th measurement the
    samples start cold all the same, so that what was once wrongly ruled out can come back; so they do where
    they knew less than half of the measurements.
    On the way down past each of the levels to `weigh` at, samples that are stuck are replaced: their misfit
    exceeds the best one's by so much (`UNFIT`) that they have no share of the posterior.
    Without data, the samples are the prior's. Where the device does not hold all of them, the same ones are
    drawn in smaller batches.
    """

    denoise: Denoiser
    guidance: Guidance
    sigmas: Float[Tensor, " n"]
    eta: float = 1.0
    warm: Float[Tensor, " m"] | None = None
    refresh: int = 8
    weigh: tuple[float, ...] = ()

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        if count < 1:
            raise ValueError(f"{count} samples were asked for; expected at least 1")
        denoise = self.guidance(self.denoise, data) if len(data) else self.denoise
        start, sigmas, moves = torch.zeros(count, *data.image_shape, device=data.device), self.sigmas, None
        if self.warm is not None and previous is not None and self._settled(data, previous):
            start, sigmas = previous.carry[STATE], self.warm
            moves = Moves(start)
            denoise = moves.noted(self.denoise, lambda denoise: self.guidance(denoise, data))
        noise = torch.randn(start.shape, generator=rng).to(data.device)
        select = partial(self._fitting, data) if len(data) and self.weigh else None
        noisy = start + sigmas[0].item() * noise
        try:
            images = ddim(Fitting(denoise), noisy, sigmas, eta=self.eta, rng=rng, select=select)
        except FloatingPointError as error:
            raise FloatingPointError(f"posterior with {self.guidance!r}: {error}") from None
        carry = {STATE: images, KNOWN: torch.tensor(len(data))}
        return Draws(images, images.mean(0), carry, moves.lengths() if moves else None)

    def _settled(self, data: Data, previous: Draws) -> bool:
        """Whether earlier samples are near enough to go on from."""
        known = previous.carry.get(KNOWN, torch.tensor(0))
        return 2 * known.item() >= len(data) and len(data) % self.refresh > 0

    def _fitting(self, data: Data, images: Tensor, sigma: float, following: float) -> Tensor:
        """Which images go on to the next level: those that fit, in turn also in the others' places."""
        every = torch.arange(len(images), device=images.device)
        if not any(following <= level < sigma for level in self.weigh):
            return every
        misfit = data.misfit(images)
        fit = misfit <= UNFIT * misfit.min()
        heirs = every[fit].repeat(len(images))[: len(images)]
        return torch.where(fit, every, heirs)
