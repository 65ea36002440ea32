"""What several tests of posteriors measure."""

import pytest
import torch

from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Data


@pytest.fixture
def three_projections(rng) -> Data:
    """Random numbers, as if of images of 8 x 8."""
    radon, data = Radon(8, half_turn(5)), Data((8, 8))
    for design in range(3):
        data = data.add(radon, design, torch.rand(8, generator=rng), Gaussian(0.1))
    return data
