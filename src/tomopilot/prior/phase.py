"""A random smooth phase for images of which only the magnitude is known."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

ORDER = 2  # half waves of the phase along each side of the image


def smooth_phase(
    count: int,
    shape: tuple[int, ...],
    spread: float,
    *,
    rng: torch.Generator,
    whole: tuple[int, ...] | None = None,
) -> Float[Tensor, "b h w"]:
    """Random phases in radians: a constant from the whole circle, and slow waves of rms `spread` on top.

    The waves are cos(pi k u) cos(pi l v) for k, l = 0, 1, 2, not both 0, with u, v from 0 to 1 across the
    image and independent Gaussian amplitudes that fall with 1 / (k^2 + l^2): what coils and the field's slow
    inhomogeneity leave. With `whole`, the phases are those of random windows of so large images.
    """
    orders = torch.arange(ORDER + 1.0)
    decay = 1 / (orders[:, None].square() + orders.square())
    decay[0, 0] = 0.0
    share = 0.5 ** ((orders > 0).float()[:, None] + (orders > 0).float())  # mean square of each wave
    decay = decay / (decay.square() * share).sum().sqrt()
    constant = 2 * math.pi * torch.rand(count, 1, 1, generator=rng)
    amplitude = spread * decay * torch.randn(count, ORDER + 1, ORDER + 1, generator=rng)
    place = torch.rand(2, count, 1, generator=rng)
    waves = []
    for axis, (side, full) in enumerate(zip(shape, whole or shape, strict=True)):
        first = (place[axis] * (full - side + 1)).floor()
        position = (first + torch.arange(side) + 0.5) / full
        waves.append(torch.cos(math.pi * orders[None, :, None] * position[:, None]))
    return constant + torch.einsum("bkl,bkh,blw->bhw", amplitude, *waves)


def with_phase(magnitude: Float[Tensor, "b h w"], phase: Float[Tensor, "b h w"]) -> Float[Tensor, "b 2 h w"]:
    """Real and imaginary part of magnitude exp(i phase)."""
    return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()], -3)
