import numpy as np
import pytest

from tomopilot.simulate.phantoms import axial_weights, chip


def test_the_seed_decides():
    np.testing.assert_array_equal(chip(3), chip(3))
    assert np.abs(chip(3) - chip(4)).max() > 0.1


def test_metal_fraction():
    slices = np.stack([chip(seed) for seed in range(20)])
    assert slices.shape == (20, 128, 128) and slices.dtype == np.float32
    assert slices.min() >= 0 and slices.max() <= 1
    metal = slices.mean((1, 2))
    assert metal.min() > 0.03 and metal.max() < 0.6
    assert 0.1 < metal.mean() < 0.3


@pytest.mark.parametrize("size", [16, 45, 200])
def test_size(size):
    assert chip(0, size).shape == (size, size)


@pytest.mark.parametrize("size", [15, 2049, -128])
def test_wrong_size(size):
    with pytest.raises(ValueError, match="16 to 2048"):
        chip(0, size)


@pytest.mark.parametrize("depth", [-1.5, 0.0, 2.0, 4.0])
def test_axial_resolution_is_shared_out(depth):
    np.testing.assert_allclose(axial_weights(depth).sum(), 1)
