import math

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.fan import full_turn
from tomopilot.measure.radon import half_turn
from tomopilot.scan.grid import candidates, wedge


def degrees(*given) -> list[float]:
    return candidates(*given).double().rad2deg().round(decimals=4).tolist()


@pytest.mark.parametrize("count", [1, 7, 180])
def test_without_wedges_it_is_the_whole_turn_to_the_last_bit(count):
    assert_close(candidates(count, None), half_turn(count), rtol=0, atol=0)
    assert_close(candidates(count, None, 360.0), full_turn(count), rtol=0, atol=0)


GRIDS = [
    (18, [(-60, 60)], 180, [*range(-60, 61, 10)]),
    (18, [(120, 60)], 180, [*range(120, 241, 10)]),  # 60 to 120 is forbidden
    (36, [(300, 60)], 360, [*range(300, 421, 10)]),
    (18, [(0, 20), (90, 100)], 180, [0, 10, 20, 90, 100]),
    (18, [(0, 20), (10, 30), (190, 200)], 180, [0, 10, 20, 30]),  # those of half a turn on are the same
    (4, [(0, 720)], 180, [0, 45, 90, 135]),
    (4, [(90, 450)], 360, [90, 180, 270, 360]),
    (7, [(25, 60)], 180, [25.7143, 51.4286]),
    ((0, 5.5, 100, 175, -10), [(-20, 20)], 180, [0, 5.5, 175, -10]),
    ((0, 5.5, 100, 175, -10), [(-20, 20)], 360, [0, 5.5, -10]),
    ((30, 10, 20), None, 180, [30, 10, 20]),
]


@pytest.mark.parametrize(("angles", "wedges", "turn", "expected"), GRIDS, ids=str)
def test_what_can_be_reached(angles, wedges, turn, expected):
    assert degrees(angles, wedges, float(turn)) == expected


def test_a_wedge_keeps_the_angles_of_the_whole_grid():
    """So an earlier run on all of it can be replayed."""
    found = candidates(180, [(-30, 45)])
    assert bool(torch.isclose(found[:, None] % math.pi, half_turn(180), atol=1e-6).any(1).all())


def test_bad_wedges():
    for text in ("60", "a:b", "0:60:90", "0:nan", "30:30", ""):
        with pytest.raises(ValueError, match=r"the wedge is '.*'; expected FROM:TO in degrees"):
            wedge(text)
    with pytest.raises(ValueError, match=r"none of the candidate angles is in the wedge 1:2, 4:5"):
        candidates(18, [(1, 2), (4, 5)])
    with pytest.raises(ValueError, match=r"the angles 0 and 360 are the same"):
        candidates((0.0, 90.0, 360.0), None)
