"""Our data consistency: the exact compromise between the denoised image and noisy data."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.solve import conjugate_gradients
from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.records import Data


@dataclass(frozen=True)
class Prox:
    """argmin over x of misfit(x) + `firmness` |x - clean|^2 / (2 sigma^2), by a few conjugate gradients.

    The misfit knows the noise, so data are trusted as far as they deserve and never fitted below their noise
    for long; `firmness` is how much surer of its image the denoiser is than of any pixel within sigma. Like
    Chung et al. 2024 (DDS) and Zhu et al. 2023 (DiffPIR), with one step size per image.
    """

    steps: int = 8
    firmness: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.firmness > 0:
            raise ValueError(
                f"prox with {self.steps} steps and firmness {self.firmness}; expected at least 1 and above 0"
            )

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            clean = denoise(x, sigma)
            return clean + self.correction(-data.gradient(clean), sigma, data)

        return guided

    def correction(
        self, pull: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"], data: Data
    ) -> Float[Tensor, "b *image"]:
        """(A^T W A + firmness / sigma^2)^-1 `pull`, the data's pull being A^T W (y - A clean)."""
        weight = per_image(self.firmness / sigma.square(), pull)
        return conjugate_gradients(
            lambda d: data.normal(d) + weight * d, pull, torch.zeros_like(pull), self.steps
        )
