"""Fixed orders of designs that need more than a count: by the golden angle, or learned on training images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.acquisition import AOptimal
from tomopilot.design.ensemble import check_positive, conditioned
from tomopilot.design.lines import in_turn, lines
from tomopilot.measure.operator import Operator
from tomopilot.records import Draws, Forecast

GOLDEN = (math.sqrt(5) - 1) / 2  # of half a turn, 111.25 degrees: its golden section


def golden_order(operator: Operator) -> list[int]:
    """The angles nearest to multiples of the golden angle, each once.

    However many are taken, they leave gaps of at most three sizes (Kohler 2004), on the part of the half turn
    that can be reached. Opposite angles see the same lines: the second of each pair comes after all of the
    first.
    """
    places, designs = lines(operator)
    free, order = places.clone(), []
    for step in range(len(places)):
        away = (free - step * GOLDEN) % 1
        order.append(int(torch.minimum(away, 1 - away).nan_to_num(2).argmin()))
        free[order[-1]] = math.nan
    return in_turn(designs[line] for line in order)


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
