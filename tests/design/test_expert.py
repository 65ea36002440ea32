import math

import pytest
import torch

from tomopilot.design.expert import Expert, sharpness, strongest
from tomopilot.design.policy import Choice, InOrder, uniform_order
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.records import Data

SIZE, N = 64, 90  # candidates 2 degrees apart
OPERATOR = Radon(SIZE, half_turn(N))
OPENING = InOrder(uniform_order(OPERATOR))


def bars(degrees: float) -> torch.Tensor:
    """A long rectangle and a short one across, turned."""
    down, right = torch.meshgrid(torch.arange(SIZE) - 31.5, torch.arange(SIZE) - 31.5, indexing="ij")
    turn = math.radians(degrees)
    along, across = (
        right * math.cos(turn) - down * math.sin(turn),
        right * math.sin(turn) + down * math.cos(turn),
    )
    return ((along.abs() < 20) & (across.abs() < 5) | (along.abs() < 4) & (across.abs() < 16)).float()


def scan(image: torch.Tensor, count: int, noise=Gaussian(0.0, floor=0.1)) -> list[int]:  # noqa: B008
    measured, data, order = OPERATOR.forward(image[None])[0], Data((SIZE, SIZE)), []
    for taken in range(count):
        free = tuple(sorted(set(range(N)) - set(order)))
        order.append(Expert(OPENING).choose(Choice(OPERATOR, free, taken, never, data=data)).design)
        data = data.add(OPERATOR, order[-1], measured[order[-1]], noise)
    return order


def never():
    raise AssertionError("drew samples nobody needs")


def test_fans_about_upright_directions():
    assert [2 * design for design in scan(bars(0), 12)] == [0, 90, 44, 134, 94, 176, 86, 4, 98, 8, 82, 172]


@pytest.mark.parametrize("degrees", [20, 31])
def test_fans_climb_to_turned_directions(degrees):
    chosen = torch.tensor(scan(bars(degrees), 14)[-4:]) * 2.0
    sharp = OPERATOR.forward(bars(degrees)[None])[0].diff().square().sum(1)
    for direction in strongest(OPERATOR.settings, sharp):
        assert (chosen - math.degrees(direction)).abs().min() < 5


def test_directions_are_found_without_masked_bins():
    values = OPERATOR.forward(bars(0)[None])[0]
    broken = values.clone()
    broken[:, 30] = 1e6

    def found(values, noise):
        data = Data((SIZE, SIZE))
        for design in (0, 10, 45):
            data = data.add(OPERATOR, design, values[design], noise)
        return sharpness(data)

    angles, sharp = found(broken, Masked(Gaussian(0.1), [30]))
    assert angles.tolist() == OPERATOR.settings[[0, 10, 45]].tolist()
    expected = values[[0, 10, 45]].diff().square()
    expected[:, 29:31] = 0
    torch.testing.assert_close(sharp, expected.sum(1) / (SIZE - 3))


def test_every_angle_is_taken_in_the_end():
    assert sorted(scan(bars(10), N)) == list(range(N))
