"""Where the data ask for another image than the estimate: a picture of what the prior would not believe."""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.records import Data, Observation

PROBES = 64  # draws of noise that the scale is estimated from, to 9 %
AT_ONCE = 8


def disagreement(
    data: Data, image: Float[Tensor, "*image"], *, rng: torch.Generator
) -> Float[Tensor, "*image"]:
    """The residual of an image, weighted by its precision and back-projected, in units of noise alone.

    Positive where the data ask for more. Of the true image each pixel is about a standard normal; neighbours
    go together. An estimate that was fitted to the data comes closer to 0 where it could follow them.
    """
    if not len(data):
        return torch.zeros_like(image)
    asked = -data.gradient(image[None])[0]
    spread = torch.zeros_like(image, dtype=torch.float64)
    for _ in range(PROBES // AT_ONCE):
        noise = torch.zeros(AT_ONCE, *image.shape).to(image)
        for part in data.observations:
            noise += _back_projected_noise(part, AT_ONCE, rng)
        spread += noise.double().square().sum(0)
    return asked / (spread / PROBES).sqrt().clamp(min=1e-12).to(image)


def _back_projected_noise(part: Observation, count: int, rng: torch.Generator) -> Tensor:
    """A^T W e of noise e of variance 1 / W, in each real number."""
    shape, weight = (count, *part.values.shape), part.weight
    noise = torch.randn(shape, generator=rng)
    if part.values.is_complex():
        noise = torch.complex(noise, torch.randn(shape, generator=rng))
    return part.operator.adjoint(weight.sqrt() * noise.to(weight.device))
