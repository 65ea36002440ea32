"""The weights against their definition, and angles that share them."""

import math

import numpy as np
import pytest
import torch

from tomopilot.measure import radon
from tomopilot.measure.joseph import GRID, Parallel, fold, lay_out, seen, unseen
from tomopilot.measure.radon import Radon, half_turn

ANGLES = torch.tensor(
    [0.0, 0.3, math.pi / 4, 1.2, math.pi / 2, 2.0, 3 * math.pi / 4, 3.0, math.pi, 4.0, 6.1, -0.2]
)


def sampled(image: np.ndarray, theta: float, bins: int) -> list[float]:
    """Line integrals by sampling the image once per row, or once per column of one that is crossed flatly."""
    size = len(image)
    half = (size - 1) / 2
    row, cos, sin = np.arange(size), math.cos(theta), math.sin(theta)
    if abs(cos) < abs(sin):  # x and y exchanged
        image, cos, sin = image[::-1, ::-1].T, sin, cos
    padded = np.pad(image, 1)
    profile = []
    for t in np.arange(bins) - (bins - 1) / 2:
        column = (t - (half - row) * sin) / cos + half
        values = [
            np.interp(c, np.arange(-1, size + 1), line) for c, line in zip(column, padded[1:-1], strict=True)
        ]
        profile.append(sum(values) / abs(cos))
    return profile


@pytest.mark.parametrize("theta", ANGLES.tolist())
@pytest.mark.parametrize("bins", [6, 9, 14])
def test_rays_sample_the_image_row_by_row(theta, bins, rng):
    image = torch.rand(9, 9, generator=rng, dtype=torch.float64)
    theta = round(theta * 2 * GRID / math.pi) * math.pi / (2 * GRID)  # as `fold` rounds it
    found = Radon(9, torch.tensor([theta], dtype=torch.float64), bins).forward(image[None])[0, 0]
    torch.testing.assert_close(found.tolist(), sampled(image.numpy(), theta, bins))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("size", "bins"), [(2, 1), (8, 8), (9, 5), (8, 20)])
def test_pixels_are_the_transpose_of_rays(size, bins, dtype):
    weights = Parallel(size, bins, fold(ANGLES), torch.zeros(1, dtype=dtype))
    rays, pixels = weights.rays.to_dense(), weights.pixels.to_dense()
    assert rays.dtype == pixels.dtype == dtype and rays.count_nonzero() > 0
    torch.testing.assert_close(pixels, rays.T)


@pytest.mark.parametrize("count", [4, 90, 100, 128, 180, 256, 900, 1800])
def test_mirrored_angles_are_the_same(count):
    assert len(fold(half_turn(count)).steps.unique()) == count // 4 + 1


def test_angles_move_by_less_than_half_an_arc_second():
    angles = 20 * torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 10
    steps, view, reversed_ = fold(angles)
    theta = steps * (math.pi / (2 * GRID))
    theta = torch.where(view % 2 == 1, math.pi / 2 - theta, theta)
    theta = torch.where(view >= 2, math.pi - theta, theta) + math.pi * reversed_
    off = (angles - theta + math.pi).remainder(2 * math.pi) - math.pi
    assert off.abs().max() < math.radians(0.5 / 3600)
    assert steps.min() >= 0 and 2 * steps.max() <= GRID


@pytest.mark.parametrize("view", range(4))
def test_views_are_undone(view, rng):
    x = torch.rand(2, 5, 5, generator=rng)
    torch.testing.assert_close(unseen(seen(x, view), view), x, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("count", "few", "room", "views"),
    [(180, 9, 999, 4), (180, 180, 999, 1), (180, 999, 179, 4), (3, 0, 999, 1), (7, 0, 7, 1), (7, 7, 6, 4)],
)
def test_views_share_where_many_weights_become_half_or_room_is_short(count, few, room, views):
    layout = lay_out(half_turn(count), 5, few, room)
    assert {len(block.views) for block in layout.blocks} == {views}
    assert max(len(block.folded.steps) for block in layout.blocks) <= 5


def test_all_angles_are_each_of_them(rng, monkeypatch):
    monkeypatch.setattr(radon, "FEW", 0)
    x = torch.randn(5, 12, 12, generator=rng, dtype=torch.float64)
    whole = Radon(12, half_turn(180))
    assert whole._layout.slot is not None
    y = whole.forward(x)
    alone = [whole[torch.tensor([design])] for design in range(180)]
    torch.testing.assert_close(torch.cat([one.forward(x) for one in alone], 1), y)
    back = sum(one.adjoint(y[:, i : i + 1]) for i, one in enumerate(alone))
    torch.testing.assert_close(whole.adjoint(y), back)
