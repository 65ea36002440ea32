"""Fits of images to data by stochastic gradients, several at once: of their pixels, or of networks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.solve import conjugate_gradients
from tomopilot.records import Data

FLAT = 1e-3  # of the image's level: differences that total variation counts by their square
ROUGH = 20  # conjugate gradients of a rough image
Picture = Callable[[Tensor], Tensor]  # (k, p) weights, or pixels -> (k, *image)


@runtime_checkable
class Rule(Protocol):
    """How weights move, given the slope of a batch of the data."""

    def __call__(self, weights: Tensor, slope: Tensor, part: Data) -> Tensor: ...


class Steepest:
    """weights - `relaxation` / L slope, L the largest eigenvalue of A^T W A of the batch; for pixels."""

    def __init__(self, relaxation: float = 1.8) -> None:
        self.relaxation = relaxation

    def __call__(self, weights: Tensor, slope: Tensor, part: Data) -> Tensor:
        return weights - self.relaxation / part.lipschitz * slope


class Adam:
    """Kingma & Ba 2015, for networks; the rate falls to 0 over the last quarter of `steps`, if given."""

    def __init__(self, rate: float, steps: int = 0, fade: tuple[float, float] = (0.9, 0.999)) -> None:
        self.rate, self.steps, self.fade, self.count = rate, steps, fade, 0
        self.mean = self.square = torch.zeros(())

    def __call__(self, weights: Tensor, slope: Tensor, part: Data) -> Tensor:
        first, second = self.fade
        self.count += 1
        self.mean = first * self.mean + (1 - first) * slope
        self.square = second * self.square + (1 - second) * slope.square()
        mean, square = self.mean / (1 - first**self.count), self.square / (1 - second**self.count)
        left = 1 - (self.count - 1) / self.steps if self.steps else 1.0
        rate = self.rate * min(1.0, 4 * left)
        return weights - rate * mean / (square.sqrt() + 1e-12)


def pixels(x: Float[Tensor, "k *image"]) -> Float[Tensor, "k *image"]:
    """The picture whose weights are its pixels."""
    return x


def fit(
    data: Data,
    picture: Picture,
    weights: Float[Tensor, "k *p"],
    rule: Rule,
    *,
    steps: int,
    batch: int,
    smooth: float = 0.0,
    rng: torch.Generator,
) -> Iterator[Float[Tensor, "k *p"]]:
    """The weights after each step towards the least misfit(picture) + smooth TV(picture).

    Each step looks at a batch of at most `batch` designs of a kind; the batches take turns in random order.
    Members of the batch axis do not know of each other. Where nothing was measured, nothing moves.
    smooth: per image unit
    """
    parts = [part for part in data.batches(batch) if part.lipschitz > 0]
    turns: list[int] = []
    for _ in range(steps):
        if parts:
            turns = turns or torch.randperm(len(parts), generator=rng).tolist()
            part = parts[turns.pop()]
            weights = rule(weights, _slope(part, picture, weights, smooth / len(parts)), part)
        yield weights


@torch.enable_grad()
def _slope(part: Data, picture: Picture, weights: Tensor, smooth: float) -> Tensor:
    """J^T (A^T W (A x - y) + smooth TV'(x)) at x = picture(weights), J the picture's Jacobian."""
    weights = weights.detach().requires_grad_()
    x = picture(weights)
    pull = part.gradient(x.detach())
    if smooth:
        pull = pull + smooth * _roughness_slope(x.detach())
    (slope,) = torch.autograd.grad(x, weights, pull)
    return slope


@torch.enable_grad()
def _roughness_slope(x: Float[Tensor, "k *image"]) -> Float[Tensor, "k *image"]:
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(total_variation(x).sum(), x)
    return slope


def total_variation(x: Float[Tensor, "k *stack h w"]) -> Float[Tensor, " k"]:
    """Sum over pixels of the length of the gradient, slightly rounded so that it has a slope everywhere."""
    down = torch.diff(x, dim=-2, append=x[..., -1:, :])
    right = torch.diff(x, dim=-1, append=x[..., -1:])
    round_ = (FLAT * x.detach().abs().mean()).square() + torch.finfo(x.dtype).tiny
    return (down.square() + right.square() + round_).sqrt().flatten(1).sum(1)


def rough(data: Data) -> Float[Tensor, "*image"]:
    """The image of least squares, by a few conjugate gradients from 0; 0 where nothing was measured."""
    blank = torch.zeros(1, *data.image_shape, device=data.device)
    return conjugate_gradients(data.normal, -data.gradient(blank), blank, ROUGH, 1e-5)[0]


def level(image: Float[Tensor, "*image"]) -> Float[Tensor, ""]:
    """How large an image's values are, its rms; 1 of an image of zeros."""
    rms = image.square().mean().sqrt()
    return torch.where(rms > 0, rms, torch.ones_like(rms))


def last(iterates: Iterator[Tensor], start: Tensor) -> Tensor:
    """The last of some iterates, or where they start if there is none."""
    found = start
    for found in iterates:  # noqa: B007
        pass
    return found


def check(
    part: object, *, counts: Sequence[str] = (), maybe: Sequence[str] = (), real: Sequence[str] = ()
) -> None:
    """Raises on an option that is not a whole number from 1 (`counts`) or 0 (`maybe`), or not finite."""
    name = type(part).__name__.lower()
    for option in (*counts, *maybe):
        value, least = getattr(part, option), int(option in counts)
        if type(value) is not int or value < least:
            raise ValueError(f"{option} of {name} is {value!r}; expected a whole number, {least} or more")
    for option in real:
        value = getattr(part, option)
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise ValueError(f"{option} of {name} is {value!r}; expected a finite number, 0 or more")
