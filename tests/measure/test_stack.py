"""Volumes: a row a slice, and the slices that choose for all."""

import pytest
import torch
from torch.testing import assert_close

from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Scouts, Stack, over_height

RADON = Radon(8, half_turn(6))


def test_a_row_of_a_block_is_what_the_operator_measures_of_that_slice(rng):
    volumes = torch.randn(2, 3, 8, 8, generator=rng)
    seen = Stack(RADON, 3).forward(volumes)
    assert seen.shape == (2, 6, 3, 8)
    for number in range(3):
        assert_close(seen[:, :, number], RADON.forward(volumes[:, number]))


def test_other_settings_are_those_of_every_slice(rng):
    volume = torch.randn(1, 2, 8, 8, generator=rng)
    there = Stack(RADON, 2).at([0.3])
    assert_close(there.forward(volume)[0, 0], RADON.at([0.3]).forward(volume[0])[:, 0])
    assert_close(there.shown, RADON.at([0.3]).shown)
    assert there.kind is RADON.kind and there.kind.picture(volume).shape == volume.shape  # no magnitude


def test_its_own_settings_are_the_same_operator():
    """Whose weights need not be made again."""
    assert RADON.at(RADON.settings.tolist()) is RADON
    assert RADON.at(RADON.settings[:5]) is not RADON


def test_scouts(rng):
    whole, volume = Stack(RADON, 5), torch.randn(1, 5, 8, 8, generator=rng)
    scouts = Scouts(whole, (1, 4))
    frame = whole.forward(volume)[0, 2]
    assert_close(scouts.rows(frame), scouts.operator.forward(volume[:, [1, 4]])[0, 2])


@pytest.mark.parametrize(
    ("count", "slices", "numbers"), [(1, 7, (3,)), (2, 8, (2, 6)), (4, 4, (0, 1, 2, 3)), (9, 3, (0, 1, 2))]
)
def test_scouts_are_evenly_over_the_height(count, slices, numbers):
    assert over_height(count, slices) == numbers


def test_a_volume_has_slices():
    with pytest.raises(ValueError, match=r"0 slices.*at least 1"):
        Stack(RADON, 0)
    with pytest.raises(ValueError, match=r"\(3, 8, 8\).*Stack\(Radon.*slices=2\)"):
        Stack(RADON, 2).forward(torch.zeros(1, 3, 8, 8))
