"""Discs with holes: in the image, of one grey, with holes of every kind that stay apart."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, label

from tomopilot.simulate.discs import CUPPING, OUTLINES, RIM, SHIFT, disc

DISCS = {seed: disc(seed) for seed in range(24)}


def test_the_seed_decides():
    np.testing.assert_array_equal(disc(3), DISCS[3])
    assert np.abs(DISCS[3] - DISCS[4]).max() > 0.1


def test_a_disc_lies_in_air_and_inside_the_image():
    """What is solid reaches as far from the centre as the radius and the shift say."""
    for image in DISCS.values():
        assert image.shape == (128, 128) and image.dtype == np.float32
        assert image.min() == 0 and 0.84 < image.max() <= 1
        for solid in (image.max(0) > 0.3, image.max(1) > 0.3):
            first, last = np.flatnonzero(solid)[[0, -1]]
            assert 2 * RIM[0] * 128 - 2 < last + 1 - first < 2 * RIM[1] * 128 + 2
            assert abs((first + last + 1) / 2 - 64) < SHIFT * 128 + 1


def test_what_is_solid_is_even_but_for_cupping():
    """Away from edges, no darker than the middle of the most cupped disc; thin bars are grey, and few."""
    for image in DISCS.values():
        inner = binary_erosion(image > 0.5 * image.max(), np.ones((5, 5)))
        assert np.quantile(image[inner], 0.01) > (1 - CUPPING) * image.max() - 0.01


def test_holes_differ_in_number_and_size():
    counts, shares = [], []
    for image in DISCS.values():
        air, parts = label(image < 0.4 * image.max())
        counts.append(parts - 1)  # the air outside
        shares.append((air > 1).sum() / (air != 1).sum())
    assert min(counts) == 0 and max(counts) > 8
    assert max(shares) > 0.2 and np.median(shares) > 0.02


@pytest.mark.parametrize("outline", OUTLINES, ids=lambda outline: outline.__name__)
def test_an_outline_reaches_about_one(outline):
    for seed in range(20):
        corners = outline(np.random.default_rng(seed))
        assert corners.ndim == 2 and corners.shape[1] == 2 and len(corners) >= 3
        assert 0.5 < np.hypot(*corners.T).max() < 1.2


@pytest.mark.parametrize("size", [16, 200])
def test_size(size):
    assert disc(0, size).shape == (size, size)


@pytest.mark.parametrize("size", [15, 2049])
def test_wrong_size(size):
    with pytest.raises(ValueError, match="16 to 2048"):
        disc(0, size)
