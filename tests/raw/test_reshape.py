import numpy as np
import pytest
from samples import disc_projections

from tomopilot.raw.reshape import filled, rebinned, without_stripes

LINES = disc_projections(np.arange(90) * np.pi / 90, 60)[:, None].astype(np.float32)
NONE = np.zeros(LINES.shape, bool)


@pytest.mark.parametrize("bins", [60, 30, 20, 12, 1])
def test_bins_that_divide_are_means(bins):
    values, mask = rebinned(LINES, NONE, bins)
    np.testing.assert_allclose(values, LINES.reshape(90, 1, bins, -1).mean(-1), atol=1e-6)
    assert not mask.any()


def test_bins_that_do_not_divide_keep_the_integral():
    values, mask = rebinned(LINES, NONE, 37)
    assert values.shape == (90, 1, 37) and not mask.any()
    np.testing.assert_allclose(values.sum(-1) * 60 / 37, LINES.sum(-1), rtol=1e-5)
    halves = np.repeat(LINES, 2, -1).reshape(90, 1, 24, 5)
    np.testing.assert_allclose(rebinned(LINES, NONE, 24)[0], halves.mean(-1), atol=1e-6)


def test_masked_values_do_not_count():
    values, mask = LINES.copy(), NONE.copy()
    mask[:, :, 10], mask[:, :, 20:25] = True, True
    values[mask] = np.nan
    wide, dead = rebinned(values, mask, 12)
    assert dead[:, :, 4].all() and dead.sum() == 90
    np.testing.assert_allclose(wide[:, :, 2], LINES[:, :, [11, 12, 13, 14]].mean(-1), rtol=1e-5)


def test_filled_is_linear_between_the_known():
    values, mask = np.arange(12.0).reshape(1, 1, 12).repeat(2, 0), np.zeros((2, 1, 12), bool)
    mask[0, 0, [0, 4, 5, 11]], mask[1] = True, True
    values[mask] = np.nan
    np.testing.assert_allclose(filled(values, mask)[0, 0], [1, *range(1, 11), 10])
    assert not filled(values, mask)[1].any()


def test_stripes_go_and_the_object_stays():
    lines = disc_projections(np.arange(90) * np.pi / 90, 200)[:, None].astype(np.float32)
    striped = lines.copy()
    striped[..., 5::10] += 0.1
    clean = without_stripes(striped, 9)
    assert abs(striped - lines)[..., 5::10].mean() > 0.099
    assert abs(clean - lines)[..., 5::10].mean() < 0.02 and abs(clean - lines).mean() < 0.01
