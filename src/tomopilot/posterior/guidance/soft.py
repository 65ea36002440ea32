"""The paper's soft data consistency."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from tomopilot.prior.denoiser import Denoiser
from tomopilot.records import Data


@dataclass(frozen=True)
class Soft:
    """A few gradient steps from the denoised image towards the data (paper, Sec. 3.1 and App. A, Eq. 11).

    Each step looks at a batch of at most `batch` angles, so its time does not grow with the number of
    angles; the batches take turns. The step is `relaxation` / L of the batch, L the largest eigenvalue of its
    A^T W A; below 2 it neither diverges nor, as angles are added, stalls.
    """

    steps: int = 50
    batch: int = 8
    relaxation: float = 1.8

    def __post_init__(self) -> None:
        if not 0 < self.relaxation < 2:
            raise ValueError(f"relaxation is {self.relaxation}; gradient steps converge above 0 and below 2")

    def __call__(self, denoise: Denoiser, data: Data) -> Denoiser:
        batches = [part for part in data.batches(self.batch) if part.lipschitz > 0]
        if not batches:
            return denoise

        def guided(x: Float[Tensor, "b *image"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b *image"]:
            clean = denoise(x, sigma)
            for step in range(self.steps):
                part = batches[step % len(batches)]
                clean = clean - self.relaxation / part.lipschitz * part.gradient(clean)
            return clean

        return guided
