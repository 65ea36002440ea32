"""Reconstructions without a prior, from a fan beam; of parallel beam see `test_gaussian`."""

import math

import pytest
import torch

from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.laminography import Laminography
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.metrics import psnr
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation
from tomopilot.records import Data

SIZE = 48
LINE = torch.arange(SIZE) - (SIZE - 1) / 2
DISC = (14.5 - (LINE - 3).hypot(LINE[:, None] + 4)).clamp(0, 1)
DEAD = (20, 21, 40)


def scanned(count: int, *, dead: bool, **options) -> Data:
    fan = Fan(SIZE, full_turn(count), 70, source=120.0, detector=200.0, **options)
    data = Data((SIZE, SIZE))
    for design, values in enumerate(fan.forward(DISC[None])[0]):
        if dead:
            values[[*DEAD]] = math.nan
        data = data.add(fan, design, values, Masked(Gaussian(0.0), DEAD) if dead else Gaussian(0.0))
    return data


@pytest.mark.parametrize("dead", [False, True], ids=["all bins", "dead bins"])
@pytest.mark.parametrize("options", [{}, {"curved": True, "offset": -1.5}], ids=["flat", "curved"])
@pytest.mark.parametrize(
    ("posterior", "count", "least"), [(FilteredBackProjection(), 180, 27.0), (TotalVariation(), 9, 31.0)]
)
def test_a_disc_is_found(posterior, count, least, options, dead):
    data = scanned(count, dead=dead, **options)
    found = posterior.sample(data, 1, rng=torch.Generator()).guess
    assert psnr(found, DISC) > least


def test_what_has_no_filtered_back_projection_is_rejected(rng):
    operator = Laminography((1, 8, 8), full_turn(3), tilt=1.0)
    data = Data((1, 8, 8)).add(operator, 0, torch.zeros(operator.block_shape), Gaussian(0.1))
    with pytest.raises(
        ValueError, match="fbp needs projections of a slice, but the data come from Laminography"
    ):
        FilteredBackProjection().sample(data, 1, rng=rng)
