"""Orders of angles on grids of any kind: by angle, and over what can be reached."""

import pytest
import torch

from tomopilot.design.lines import in_turn, lines
from tomopilot.design.orders import golden_order
from tomopilot.design.policy import uniform_order
from tomopilot.measure.fan import Fan, full_turn
from tomopilot.measure.radon import Radon, half_turn

GRIDS = {  # degrees, and those on which nothing can be seen
    "half a turn": torch.arange(180.0),
    "a wedge": torch.arange(-60.0, 61),
    "beyond a wedge": torch.cat([torch.arange(0.0, 60), torch.arange(120.0, 180)]),
    "three parts": torch.cat([torch.arange(0.0, 30), torch.arange(60.0, 90), torch.arange(120.0, 150)]),
    "half of it dense": torch.cat([torch.arange(0, 90, 0.25), torch.arange(90.0, 180, 2)]),
    "a dense tenth": torch.cat([torch.arange(0, 18, 0.05), torch.arange(18.0, 180, 2)]),
    "at random": 180 * torch.rand(150, generator=torch.Generator().manual_seed(3)),
    "a turn": torch.arange(0.0, 360, 2),
}
ORDERS = {"uniform": uniform_order, "golden": golden_order}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("degrees", GRIDS.values(), ids=GRIDS)
def test_angles_spread_over_what_can_be_reached(degrees, order):
    """Each of the first 16 has about its share of the reachable lines; all designs come once."""
    operator = Radon(8, degrees.deg2rad())
    found = order(operator)
    assert sorted(found) == list(range(len(degrees)))
    chosen, every = (part.remainder(180).sort().values for part in (degrees[found[:16]], degrees))
    fine = torch.arange(0, 180, 0.01)
    away = (fine[:, None] - every).abs()
    reachable = fine[torch.minimum(away, 180 - away).amin(1) <= 2.5]
    away = (reachable[:, None] - chosen).abs()
    nearest = torch.minimum(away, 180 - away).amin(1)
    assert nearest.max() <= 1.5 * len(reachable) * 0.01 / 16  # ideally half a share, a whole one if halved


def test_a_dense_cluster_is_not_taken_for_more_than_its_angles():
    """By number, three of four would lie in the first tenth."""
    operator = Radon(8, GRIDS["a dense tenth"].deg2rad())
    for order in ORDERS.values():
        first = GRIDS["a dense tenth"][order(operator)[:20]]
        assert 1 <= (first < 18).sum() <= 3


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_fan_sees_all_lines_from_one_side_first(order):
    found = order(Fan(8, full_turn(360), source=30.0, detector=40.0))
    assert sorted(found[:180]) == list(range(180)) and sorted(found[180:]) == list(range(180, 360))


def test_lines_and_the_designs_that_see_them():
    operator = Radon(8, torch.tensor([90.0, 0, 45, 180, 225, 10]).deg2rad())
    places, designs = lines(operator)
    assert designs == [[1, 3], [5], [2, 4], [0]]
    torch.testing.assert_close(places * 180, torch.tensor([0.0, 10, 45, 90]).double(), rtol=0, atol=1e-3)
    assert in_turn(designs) == [1, 5, 2, 0, 3, 4]


def test_a_missing_wedge_takes_no_room():
    places, _ = lines(Radon(8, torch.arange(0.0, 41, 10).deg2rad()))
    torch.testing.assert_close(places, torch.arange(5).double() / 5, rtol=0, atol=1e-6)


def test_one_angle():
    operator = Radon(8, half_turn(1))
    assert uniform_order(operator) == golden_order(operator) == [0]
