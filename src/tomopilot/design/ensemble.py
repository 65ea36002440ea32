"""Samples as a Gaussian: what a measurement would tell of it, and what it would leave."""

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.records import Forecast

FLOOR = 0.01  # of the rms of a forecast: the noise that is assumed where none is known


def informed(forecast: Forecast, noise: float | None = None, left_out: float = 0.0) -> Float[Tensor, "n k k"]:
    """B B^T / k of the samples' predictions B about their mean, in units of the noise; double precision.

    noise, left_out: as in `AOptimal`
    """
    off, weight = forecast.draws - forecast.draws.mean(0), precision(forecast, noise)
    if left_out:
        weight = weight / (1 + weight * left_out * missing(forecast))
    if off.is_complex():  # real and imaginary part have half of the variance each
        off, weight = torch.view_as_real(off), 2 * weight[..., None]
    rows = (weight.sqrt() * off).flatten(2).transpose(0, 1).double()
    return rows @ rows.mT / len(off)


def missing(forecast: Forecast) -> Float[Tensor, "n *block"]:
    """Variance of each value if pixels had the samples' mean variance and no correlation."""
    assert forecast.images is not None, "a forecast without images"
    pixel = forecast.images.var(0).mean() * (2 if forecast.draws.is_complex() else 1)
    return pixel * reached(forecast)


def precision(forecast: Forecast, noise: float | None = None) -> Float[Tensor, "n *block"]:
    """Inverse variance of each value to come, 0 where it is masked; `noise` as in `LogDet`."""
    guess = forecast.guess
    known = torch.ones_like(guess.real) if forecast.noise is None else forecast.noise.precision(guess)
    if noise is None and forecast.noise not in (None, Gaussian()):
        return known
    std = (noise or FLOOR) * forecast.draws.abs().square().mean().sqrt()
    return (known > 0) / std.clamp(min=1e-12).square()


def conditioned(forecast: Forecast, designs: Sequence[int], noise: float | None = None) -> Forecast:
    """The forecast once some of its designs, by their place in it, are measured, whatever they read.

    D -> (I + K)^-1/2 D for one after another: the samples' covariance becomes that of a Gaussian that was
    measured (ensemble square-root filter; Tippett et al. 2003). Their mean, and the estimate, stay.
    """
    if not designs:
        return forecast
    turn = torch.eye(len(forecast.draws), dtype=torch.float64, device=forecast.draws.device)
    for gram in informed(forecast[torch.tensor(designs)], noise):
        values, vectors = torch.linalg.eigh(turn @ gram @ turn.T)
        turn = vectors @ ((1 + values.clamp(min=0)) ** -0.5 * vectors).T @ turn
    return forecast.turned(turn)


def reached(forecast: Forecast) -> Float[Tensor, "n *block"]:
    """`reach` of the candidates."""
    assert forecast.operator is not None and forecast.designs is not None, "a forecast of no operator"
    return reach(forecast.operator)[forecast.designs]


_REACHES: dict[int, Tensor] = {}  # of operators that are in use, by their identity


def reach(operator: Operator) -> Float[Tensor, "n *block"]:
    """Row sums of A A^T for each design: the squared length of what one value reads, with its neighbours.

    Made once for each operator.
    """
    key = id(operator)
    if key not in _REACHES:
        _REACHES[key] = _reach(operator)
        weakref.finalize(operator, _REACHES.pop, key, None)
    return _REACHES[key]


def _reach(operator: Operator) -> Tensor:
    dtype = torch.complex64 if operator.complex_values else torch.float32
    ones = torch.ones(1, 1, *operator.block_shape, dtype=dtype, device=operator.device)
    with torch.no_grad():
        parts = (operator[torch.tensor([design])] for design in range(len(operator)))
        return torch.cat([part.forward(part.adjoint(ones))[0].real for part in parts])


def check_positive(name: str, value: Any, meaning: str) -> None:
    """Raises where an option is no finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; expected a number above 0: {meaning}")
