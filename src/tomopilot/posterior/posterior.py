"""What the loop sees of a reconstruction method."""

from typing import Protocol, runtime_checkable

import torch

from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data, Draws


@runtime_checkable
class Posterior(Protocol):
    """A reconstruction method: images that agree with the data."""

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        """`count` images that agree with the data; `previous` are the draws of an earlier moment."""
        ...


@runtime_checkable
class Guidance(Protocol):
    """A way to make a denoiser of the prior agree with data."""

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        """The denoiser of p(image | data), given the denoiser of p(image)."""
        ...
