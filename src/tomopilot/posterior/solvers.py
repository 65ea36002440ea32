"""From noise to an image along a grid of noise levels."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser


@torch.no_grad()
def ddim(
    denoise: Denoiser,
    x: Float[Tensor, "b *image"],
    sigmas: Float[Tensor, " n"],
    *,
    eta: float = 1.0,
    rng: torch.Generator,
    select: Callable[[Tensor, float, float], Tensor] | None = None,
) -> Float[Tensor, "b *image"]:
    """Denoise, put noise of the next level back, repeat; ends with a denoised image.

    `eta` is the share of fresh noise (Song et al. 2020). 1 is the stochastic encoding of the paper (App. A):
    x* plus new noise; 0 keeps the noise estimated from the image itself. `select` says which
    images go on, some perhaps in others' places, given the denoised ones, their level and the next.
    """
    for sigma, following in pairwise([*sigmas.tolist(), 0.0]):
        clean = denoise(x, torch.full((len(x),), sigma, device=x.device))
        if not bool(clean.isfinite().all()):
            raise FloatingPointError(
                f"samples became NaN or infinite at noise level {sigma:.3g}: the guidance diverges, or the "
                "data are far from what the prior knows; check the noise and the intensity range"
            )
        if select is not None:
            taken = select(clean, sigma, following)
            x, clean = x[taken], clean[taken]
        fresh = torch.randn(x.shape, generator=rng, dtype=x.dtype).to(x.device)
        kept = (x - clean) / sigma
        x = clean + following * (eta * fresh + math.sqrt(1 - eta**2) * kept)
    return x
