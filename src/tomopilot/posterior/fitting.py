"""Draws that do not fit the device are made in smaller batches."""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser

SIGNS = ("out of memory", "not enough memory", "allocate memory", "alloc_failed", "bad_alloc")


class Fitting:
    """A denoiser whose batches are halved, down to one image, where the memory does not hold them.

    Each image is denoised by itself anyway, and noise is drawn for all of them outside, so a smaller batch
    gives the same samples. The size that fitted is kept for the calls to come.
    """

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.most = denoise, 0

    def __call__(self, x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
        size = min(self.most or len(x), len(x))
        while True:
            try:
                return self._in_parts(x, sigma, size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise MemoryError(_too_large(x, error)) from error
            size = self.most = size // 2  # outside of `except`, which holds on to what the failed batch held
            if x.is_cuda:
                torch.cuda.empty_cache()

    def _in_parts(self, x: Tensor, sigma: Tensor, size: int) -> Tensor:
        if len(x) <= size:
            return self.denoise(x, sigma)
        parts = zip(x.split(size), sigma.split(size), strict=True)
        return torch.cat([self.denoise(*part) for part in parts])


def _too_large(x: Tensor, error: BaseException) -> str:
    sides = " x ".join(map(str, x.shape[1:]))
    return (
        f"one image of {sides} pixels does not fit into the memory of {x.device} ({error}); "
        "crop or bin the image, choose a device with more memory, or end other programs that use it"
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; the CPU has no class of its own for it."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return any(sign in str(error).lower() for sign in SIGNS)
