"""How much of a turn was scanned; weights and radians are tested with `Radon`."""

import math

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.angles import angular_weights, arcs, widest

TURNS = {  # degrees, and first angle and length of each arc
    "all": (torch.arange(0, 360, 10.0), [(0, 360)]),
    "a part": (torch.arange(0, 200, 10.0), [(-5, 200)]),
    "across 0": (torch.arange(-60.0, 61, 10), [(295, 130)]),
    "two parts": (torch.tensor([0.0, 10, 20, 30, 180, 190, 200, 210]), [(-5, 40), (175, 40)]),
    "many turns": (torch.tensor([0.0, 730, 20, 30]), [(-5, 40)]),
    "four angles": (torch.tensor([0.0, 90, 225, 315]), [(0, 360)]),
    "one": (torch.tensor([40.0]), [(0, 360)]),
}


@pytest.mark.parametrize(("degrees", "expected"), TURNS.values(), ids=TURNS)
def test_arcs(degrees, expected):
    found = arcs(degrees.deg2rad()).rad2deg().T
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-3)


def test_few_gaps_that_stand_out_are_wedges():
    """Also three of many, but not each tenth."""
    few, many = torch.tensor([1.0] * 90 + [20.0] * 3), torch.tensor([1.0] * 90 + [20.0] * 9)
    assert widest(few) == 1 and widest(many) == 20
    assert widest(torch.tensor([1.0, 1.0, 4.5])) == 1 and widest(torch.tensor([1.0, 1.0, 3.5])) == 3.5


def test_weights_of_a_full_turn():
    degrees = torch.tensor([0.0, 90, 120, 180])
    found = angular_weights(degrees.deg2rad(), 2 * math.pi).rad2deg()
    assert_close(found, torch.tensor([135.0, 60, 45, 120]), rtol=1e-4, atol=0)
