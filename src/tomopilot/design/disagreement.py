"""Where the data ask for another image: pictures of what the prior would not believe."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from tomopilot.measure.operator import Operator
from tomopilot.records import Data, Observation, Told

PROBES = 64  # draws of noise that the scale is estimated from, to 9 %
AT_ONCE = 8
FAR = 3.0  # deviations that count in full; of those beyond, no more


def unpredicted(
    operator: Operator, told: Sequence[Told], *, rng: torch.Generator
) -> Float[Tensor, "*image"] | None:
    """What measurements had that the samples did not predict, back-projected, in units of noise alone.

    Positive where they had more. The samples had not seen them, so nothing was fitted away. None where
    nothing was predicted.
    """
    judged = [(one.setting, one.deviations) for one in told if one.deviations is not None]
    if not judged:
        return None
    settings, apart = zip(*judged, strict=True)
    measured = operator.at(torch.tensor(settings).to(operator.settings))
    apart = torch.stack(apart).to(operator.settings.device)
    apart = apart * (FAR / apart.abs().clamp(min=FAR))
    if apart.is_complex():  # its two parts share the variance
        apart = apart * 2**0.5

    def noise() -> Tensor:
        return measured.adjoint(_normal((AT_ONCE, *apart.shape), apart, rng) * (apart != 0))

    return _over_noise(measured.adjoint(apart[None])[0], noise)


def disagreement(
    data: Data, image: Float[Tensor, "*image"], *, rng: torch.Generator
) -> Float[Tensor, "*image"]:
    """The residual of an image, weighted by its precision and back-projected, in units of noise alone.

    Positive where the data ask for more. Of the true image each pixel is about a standard normal; neighbours
    go together. An estimate that was fitted to the data comes closer to 0 where it could follow them.
    """
    if not len(data):
        return torch.zeros_like(image)

    def noise() -> Tensor:
        return torch.stack([_back_projected_noise(part, rng) for part in data.observations]).sum(0)

    return _over_noise(-data.gradient(image[None])[0], noise)


def rounded(deviations: Inexact[Tensor, "*block"]) -> Inexact[Tensor, "*block"]:
    """To three digits after the point, as a record keeps them: a resumed scan has the same."""
    real = torch.view_as_real(deviations) if deviations.is_complex() else deviations
    real = real.double().round(decimals=3).to(real)
    return torch.view_as_complex(real) if deviations.is_complex() else real


def _over_noise(asked: Tensor, noise: Callable[[], Tensor]) -> Tensor:
    spread = torch.zeros_like(asked, dtype=torch.float64)
    for _ in range(PROBES // AT_ONCE):
        spread += noise().double().square().sum(0)
    return asked / (spread / PROBES).sqrt().clamp(min=1e-12).to(asked)


def _back_projected_noise(part: Observation, rng: torch.Generator) -> Tensor:
    """A^T W e of noise e of variance 1 / W, in each real number."""
    return part.operator.adjoint(
        part.weight.sqrt() * _normal((AT_ONCE, *part.values.shape), part.values, rng)
    )


def _normal(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal numbers, complex ones in each part, where and as `like` is."""
    noise = torch.randn(shape, generator=rng)
    if like.is_complex():
        noise = torch.complex(noise, torch.randn(shape, generator=rng))
    return noise.to(like.device)
