"""Fixed orders of designs that need more than a count: by the golden angle, or learned on training images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.acquisition import AOptimal
from tomopilot.design.ensemble import check_positive, conditioned
from tomopilot.design.policy import SAME, between
from tomopilot.measure.operator import Operator
from tomopilot.records import Draws, Forecast

GOLDEN = math.pi * (math.sqrt(5) - 1) / 2  # radians, 111.25 degrees: the golden section of half a turn


def golden_order(operator: Operator) -> list[int]:
    """The angles nearest to multiples of the golden angle, each once.

    However many are taken, they leave gaps of at most three sizes (Kohler 2004). Opposite angles see the same
    lines: the second of each pair comes after all of the first.
    """
    angles, order = operator.settings.double().cpu(), []
    penalty = torch.zeros_like(angles)
    for step in range(len(angles)):
        away = between(angles, step * GOLDEN)
        order.append(int((away + penalty).argmin()))
        penalty[between(angles, angles[order[-1]]) < SAME] += math.pi
        penalty[order[-1]] = math.inf
    return order


def population_order(
    operator: Operator, images: Float[Tensor, "k *image"], count: int, noise: float
) -> list[int]:
    """The best fixed order for images like these: `count` designs, each greedily A-optimal after the others.

    The images are taken as samples of a Gaussian, of which a measurement says as much whatever it reads; so
    the order can be decided before a scan. It knows the directions that all images share, not those of one.

    noise: standard deviation as a share of the rms of all measurements
    """
    check_positive("noise", noise, "a share of the rms of all measurements, such as 0.1")
    if len(images) < 2:
        raise ValueError("slices is a single image; expected at least 2 to learn an order on")
    score, order = AOptimal(noise), []
    with torch.no_grad():
        forecast = Forecast.of(operator, Draws(images, images.mean(0)))
        while len(order) < min(count, len(operator)):
            scores = score(forecast)
            scores[order] = -math.inf
            order.append(int(scores.argmax()))
            forecast = conditioned(forecast, order[-1:], noise)
    return order
