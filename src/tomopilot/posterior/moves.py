"""How far prior and data move samples that are used again: this tells known images from strange ones."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser

MOVES = 3  # at each noise level: by the prior, by the data, by both
SHORTEST = 1e-12  # of a move, so that its logarithm is finite


class Moves:
    """Notes, step by step, how far images move: by the prior, from there by the data, and by both.

    The prior's move is the residual of denoising an image with fresh noise on it, the statistic of Mahmood,
    Oliva and Styner 2021 ("Multiscale score matching for out-of-distribution detection"); in a warm draw it
    costs no evaluation of the network. Images that the prior does not know are moved by it and moved back by
    the data. Nothing is noted of a draw that was made in smaller batches.
    """

    def __init__(self, images: Float[Tensor, "k *image"]) -> None:
        self._at, self._lengths = images, [images.new_zeros(0)]
        self._whole = True

    def noted(self, denoise: Denoiser, guide: Callable[[Denoiser], Denoiser]) -> Denoiser:
        """The denoiser that `guide` makes of `denoise`, with notes taken at each of its steps."""
        clean = self._at

        def prior(x: Tensor, sigma: Tensor) -> Tensor:
            nonlocal clean
            clean = denoise(x, sigma)
            return clean

        guided = guide(prior)

        def step(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            moved = guided(x, sigma)
            self._note(clean.detach(), moved.detach())
            return moved

        return step

    def lengths(self) -> Float[Tensor, " m"] | None:
        """Logarithm of the rms of each move over pixels and samples, image units, in the order noted."""
        return torch.cat(self._lengths) if self._whole else None

    def _note(self, clean: Tensor, moved: Tensor) -> None:
        self._whole = self._whole and len(moved) == len(self._at)
        if self._whole:
            moves = torch.stack([clean - self._at, moved - clean, moved - self._at])
            self._lengths.append(moves.square().flatten(1).mean(1).sqrt().clamp(min=SHORTEST).log())
            self._at = moved
