import pytest
import torch

from tomopilot.prior.augment import random_views


def views(images, crop, rotated, seed=0, zoom=(1.0, 1.3), **options):
    rng = torch.Generator().manual_seed(seed)
    return random_views(images, crop, zoom=zoom, rotated=rotated, rng=rng, **options)


def symmetries(square):
    for turned in (square, square.T):
        for quarter in range(4):
            yield torch.rot90(turned, quarter)


@pytest.mark.parametrize(("side", "crop"), [(8, 8), (8, 5), (8, 4), (9, 4), (9, 5)])
def test_unrotated_views_are_pixels_of_the_source(side, crop, rng):
    images = torch.rand(40, side, side, generator=rng)
    for image, view in zip(images, views(images, crop, rotated=0.0), strict=True):
        cuts = image.unfold(0, crop, 1).unfold(1, crop, 1).reshape(-1, crop, crop)
        nearest = min((cut - other).abs().max() for cut in cuts for other in symmetries(view))
        assert nearest < 1e-5


def test_all_eight_symmetries_and_all_places_occur(rng):
    image = torch.rand(1, 6, 6, generator=rng)
    whole = views(image.expand(100, 6, 6), 6, rotated=0.0)
    found = {
        i
        for view in whole
        for i, other in enumerate(symmetries(image[0]))
        if torch.allclose(view, other, atol=1e-4)
    }
    assert len(found) == 8
    cuts = image[0].unfold(0, 4, 1).unfold(1, 4, 1).reshape(-1, 4, 4)
    parts = views(image.expand(300, 6, 6), 4, rotated=0.0)
    places = {
        i
        for view in parts
        for i, cut in enumerate(cuts)
        if any(torch.allclose(other, cut, atol=1e-4) for other in symmetries(view))
    }
    assert places == set(range(9))


@pytest.mark.parametrize("rotated", [0.0, 0.5, 1.0])
def test_range_is_kept(rotated, rng):
    images = torch.randn(30, 12, 12, generator=rng).sign()
    found = views(images, 8, rotated)
    assert found.shape == (30, 8, 8) and found.dtype == images.dtype
    assert found.min() >= -1 and found.max() <= 1


def test_same_rng_same_views(rng):
    images = torch.rand(6, 12, 12, generator=rng)
    torch.testing.assert_close(views(images, 7, 0.5), views(images, 7, 0.5), rtol=0, atol=0)
    assert not torch.equal(views(images, 7, 0.5, seed=1), views(images, 7, 0.5, seed=2))


def test_turned_views_keep_a_constant_and_a_centred_disc():
    line = torch.arange(33) - 16.0
    disc = torch.sigmoid(4 - line.hypot(line[:, None])).expand(10, 33, 33)
    found = views(disc, 33, rotated=1.0, zoom=(1.0, 1.0))
    torch.testing.assert_close(found, disc, rtol=0, atol=0.02)
    ones = torch.ones(10, 12, 12)
    torch.testing.assert_close(views(ones, 8, rotated=1.0), torch.ones(10, 8, 8))


def test_crop_larger_than_the_images():
    with pytest.raises(ValueError, match=r"9 pixels.*8 wide"):
        views(torch.zeros(1, 8, 8), 9, rotated=0.0)


def test_reduced_views_are_means_of_what_they_cover(rng):
    """At half its size a fine checkerboard is grey, not an alias of itself."""
    fine = (torch.arange(16) % 2).float()
    board = (fine[:, None] + fine) % 2
    found = views(board.expand(20, 16, 16), 8, rotated=1.0, zoom=(0.5, 0.5), turn=0.0)
    torch.testing.assert_close(found, torch.full((20, 8, 8), 0.5), rtol=0, atol=1e-4)
    coarse = torch.rand(1, 8, 8, generator=rng).repeat_interleave(2, 1).repeat_interleave(2, 2)
    reduced = views(coarse.expand(20, 16, 16), 8, rotated=1.0, zoom=(0.5, 0.5), turn=0.0)
    whole = coarse[0, ::2, ::2]
    nearest = [min((view - other).abs().mean() for other in (whole, whole.flip(1))) for view in reduced]
    assert max(nearest) < 0.06  # bicubic interpolation rounds the steps off


def test_without_reflection_turned_views_stay_within_the_image(rng):
    inside = torch.zeros(1, 16, 16)
    inside[:, 1:-1, 1:-1] = 1.0  # reflected, the dark rim would appear inside, twice as wide
    kept = views(inside.expand(200, 16, 16), 16, rotated=1.0, zoom=(0.5, 2.0), reflect=False)
    assert kept[:, 4:-4, 4:-4].min() > 0.95
    assert views(inside.expand(200, 16, 16), 16, rotated=1.0, zoom=(0.5, 0.5))[:, 4:-4, 4:-4].min() < 0.5


def test_small_turns_leave_images_upright(rng):
    ramp = torch.linspace(-1, 1, 16)[:, None].expand(60, 16, 16)
    turned = views(ramp, 12, rotated=0.5, turn=15.0)
    assert (turned[:, -1].mean(-1) > turned[:, 0].mean(-1)).all()
    anyhow = views(ramp, 12, rotated=0.0)
    assert (anyhow[:, -1].mean(-1) < anyhow[:, 0].mean(-1)).any()
