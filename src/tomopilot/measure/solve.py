"""Solvers of linear systems, one image of the batch never knowing of another."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b *image"]


def inner(x: Tensor, y: Tensor) -> Float[Tensor, " b"]:
    """Inner product of each pair of a batch."""
    return (x.conj() * y).real.flatten(1).sum(1)


def conjugate_gradients(
    apply: Callable[[Images], Images], b: Images, x: Images, steps: int, tolerance: float = 0.0
) -> Images:
    """Iterations towards apply(x) = b for a symmetric positive `apply`, with one step size per image.

    An image whose residual has fallen to `tolerance` times |b| stays as it is.
    """
    residual = b - apply(x)
    direction, energy = residual, inner(residual, residual)
    target = tolerance**2 * inner(b, b)
    for _ in range(steps):
        product = apply(direction)
        curvature = inner(direction, product)
        running = (energy > target) & (curvature > 0)
        if tolerance and not bool(running.any()):
            break
        step = torch.where(running, energy / curvature.where(running, torch.ones_like(curvature)), 0.0)
        x = x + _column(step, x) * direction
        residual = residual - _column(step, x) * product
        previous, energy = energy, inner(residual, residual)
        ratio = torch.where(running, energy / previous.where(running, torch.ones_like(previous)), 0.0)
        direction = residual + _column(ratio, x) * direction
    return x


def largest_eigenvalue(apply: Callable[[Images], Images], like: Images, steps: int = 30) -> float:
    """Largest eigenvalue of a symmetric positive `apply` by power iteration; `like` is (1, *image).

    The start has no zero in any direction that matters: a constant image with a small fixed ripple.
    """
    ripple = torch.arange(like.numel(), device=like.device, dtype=like.dtype).reshape(like.shape)
    x = torch.ones_like(like) + 0.1 * torch.sin(1.7 * ripple)
    size = x.new_zeros(1)
    for _ in range(steps):
        x = apply(x / inner(x, x).sqrt())
        size = inner(x, x).sqrt()
        if not size.item() > 0:
            return 0.0
    return size.item()


def _column(scalars: Float[Tensor, " b"], like: Tensor) -> Tensor:
    return scalars.reshape(-1, *[1] * (like.ndim - 1))
