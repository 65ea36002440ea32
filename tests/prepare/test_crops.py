"""Crops lie side by side; halving averages 2 x 2 pixels; nothing is magnified."""

import numpy as np
import pytest

from tomopilot.prepare.crops import Cut, rescaled

NOISE = np.random.default_rng(0).random((130, 70), np.float32)


def test_halving_averages_pixels_by_fours():
    ((_, _, crop),) = Cut(64, 32)(NOISE[:64, :64])
    np.testing.assert_allclose(crop, NOISE[:64, :64].reshape(32, 2, 32, 2).mean((1, 3)), rtol=1e-6)


def test_crops_cover_the_middle_without_overlap():
    """What is left over of 130 x 70 pixels is shared by opposite edges."""
    counted = np.zeros_like(NOISE)
    for row, column, crop in Cut(32, 32)(NOISE):
        np.testing.assert_array_equal(crop, NOISE[row : row + 32, column : column + 32])
        counted[row : row + 32, column : column + 32] += 1
    expected = np.zeros_like(NOISE)
    expected[1:129, 3:67] = 1
    np.testing.assert_array_equal(counted, expected)


def test_a_whole_slice_is_its_middle_square():
    ((row, column, crop),) = Cut(None, 16)(NOISE)
    assert (row, column, crop.shape) == (30, 0, (16, 16))
    np.testing.assert_allclose(crop.mean(), NOISE[30:100].mean(), atol=0.01)


def test_more_than_halving_leaves_no_pixel_out():
    """One bright pixel keeps its share wherever it lies; plain bilinear interpolation would miss most."""
    for row in range(20, 28):
        image = np.zeros((64, 64), np.float32)
        image[row, 30] = 1
        np.testing.assert_allclose(rescaled(image, 16).sum() * 16, 1, rtol=0.1)


def test_what_is_as_large_as_it_shall_be_is_unchanged():
    image = NOISE[:64, :64]
    assert rescaled(image, 64) is image


@pytest.mark.parametrize("crop, size", [(64, 128), (None, 8), (8192, 8192)])
def test_wrong_sizes(crop, size):
    with pytest.raises(ValueError, match="no smaller"):
        Cut(crop, size)


@pytest.mark.parametrize("cut", [Cut(71, 32), Cut(None, 71)], ids=["crop", "whole"])
def test_a_slice_that_is_too_small(cut):
    with pytest.raises(ValueError, match="130 x 70 pixels, too small for crops of 71"):
        list(cut(NOISE))
