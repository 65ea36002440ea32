"""Slices of a layout: which layers at which height, where, and what is held back."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tomopilot.files.layout import Layout
from tomopilot.prepare.chips import Chips
from tomopilot.prepare.crops import Cut
from tomopilot.prepare.stack import read_stack

db = pytest.importorskip("klayout.db")
STACKS = sorted((Path(__file__).parents[2] / "recipes" / "stacks").glob("*.toml"))
STACK = """
name = "two levels"
pixel_um = 0.1
axial_um = 0.05
in_plane = 0.5
layer = [
    { name = "low", gds = [1, 0], bottom_um = 0, top_um = 1 },
    { name = "via", gds = [2, 0], bottom_um = 1, top_um = 2, via = true },
    { name = "high", gds = [3, 0], bottom_um = 2, top_um = 3 },
]
"""


@pytest.fixture
def stack(tmp_path):
    (tmp_path / "stack.toml").write_text(STACK)
    return read_stack(tmp_path / "stack.toml")


@pytest.fixture
def chip(tmp_path):
    """Wires of 0.4 um every 0.8 um over 32 x 16 um: along x below, along y above."""
    layout = db.Layout()
    cell, low, high = layout.create_cell("CHIP"), layout.layer(1, 0), layout.layer(3, 0)
    for shift in range(0, 32_000, 800):
        cell.shapes(high).insert(db.Box(shift, 0, shift + 400, 16_000))
        if shift < 16_000:
            cell.shapes(low).insert(db.Box(0, shift, 32_000, shift + 400))
    cell.shapes(low).insert(db.Box(0, 0, 10, 16_000))
    layout.write(str(tmp_path / "chip.gds"))
    return Layout(tmp_path / "chip.gds")


def test_weights_are_the_gaussian_share_of_each_layer(stack):
    """On a face, half; one sigma inside it, 0.841; in the middle, all. Together never more than 1."""
    names = lambda height: {layer.name: share for layer, share in stack.weights(height).items()}  # noqa: E731
    assert names(1.0) == {"low": pytest.approx(0.5), "via": pytest.approx(0.5)}
    assert names(2.05) == {"via": pytest.approx(0.1587, abs=1e-4), "high": pytest.approx(0.8413, abs=1e-4)}
    assert names(0.5) == {"low": pytest.approx(1.0)}
    assert names(-1.0) == {}


def test_heights_are_mostly_inside_a_metal_level(stack):
    heights = np.array([stack.height(np.random.default_rng(seed)) for seed in range(2000)])
    inside = ((heights > 0) & (heights < 1)) | ((heights > 2) & (heights < 3))
    assert heights.min() > 0 and heights.max() < 3
    assert inside.mean() == pytest.approx(0.85 + 0.15 * 2 / 3, abs=0.02)


def test_a_slice_is_the_blurred_coverage_of_its_level(stack, chip):
    """Far from the faces only one level counts; a wire every 8 pixels, 4 wide."""
    seen = Chips([chip], stack, Cut(32, 16)).slice(chip, 0.5, 8.0, 4.0)
    rows = np.tile(np.repeat([0.0, 1.0], 4), 20)  # from the top of a crop whose lowest row lies on a wire
    profile = gaussian_filter(rows, 0.5, mode="wrap")[64:96]
    np.testing.assert_allclose(seen, np.broadcast_to(profile[:, None], (32, 32)), atol=1e-4)


def test_places_lie_side_by_side_and_a_strip_is_held_back(stack, chip):
    """Crops of 3.2 um: ten columns of five; the strip is one column, one is left out on both sides of it."""
    crops = list(Chips([chip], stack, Cut(32, 16), heights=2))
    places = [(round(crop.x / 3.2), round(crop.y / 3.2)) for crop in crops]
    assert len(crops) == 2 * 7 * 5 + 2 * 5 and len(set(places)) == len(crops) // 2
    assert {x for (x, _), crop in zip(places, crops, strict=True) if crop.held} == {4}
    assert {x for (x, _), crop in zip(places, crops, strict=True) if not crop.held} == {0, 1, 2, 6, 7, 8, 9}
    np.testing.assert_allclose([crop.pixel for crop in crops], 2e-7)
    assert len({crop.depth for crop in crops}) == len(crops)


def test_iterated_again_it_is_the_same_and_the_seed_changes_heights(stack, chip):
    first, again = (list(Chips([chip], stack, Cut(32, 16), seed=3)) for _ in range(2))
    other = list(Chips([chip], stack, Cut(32, 16), seed=4))
    for one, two in zip(first, again, strict=True):
        assert one.depth == two.depth
        np.testing.assert_array_equal(one.pixels, two.pixels)
    assert [crop.depth for crop in first] != [crop.depth for crop in other]


def test_of_several_layouts_one_is_held_back(stack, chip, tmp_path):
    (tmp_path / "other.gds").write_bytes((tmp_path / "chip.gds").read_bytes())
    crops = list(Chips([chip, Layout(tmp_path / "other.gds")], stack, Cut(32, 16)))
    held = {crop.source for crop in crops if crop.held}
    assert len(held) == 1 and len(crops) == 100
    assert held | {crop.source for crop in crops if not crop.held} == {"chip.gds:CHIP", "other.gds:CHIP"}


def test_a_chip_smaller_than_a_crop(stack, chip):
    with pytest.raises(ValueError, match=r"32 x 16 um, smaller than a crop of 256 pixels of 0\.1 um"):
        list(Chips([chip], stack, Cut(256, 128)))


def test_a_chip_too_narrow_for_a_strip(stack, chip):
    with pytest.raises(ValueError, match=r"chip\.gds, in crops, is 2 deep"):
        list(Chips([chip], stack, Cut(128, 128)))


@pytest.mark.parametrize("cut, heights", [(Cut(None, 16), 1), (Cut(32, 16), 0)], ids=["whole", "none"])
def test_no_crops_or_no_heights(stack, chip, cut, heights):
    with pytest.raises(ValueError, match="cut into crops"):
        Chips([chip], stack, cut, heights)


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.stem)
def test_a_shipped_stack_has_vias_from_one_level_to_the_next(path):
    layers = read_stack(path).layer
    assert [layer.via for layer in layers] == [bool(number % 2) for number in range(len(layers))]
    for below, above in pairwise(layers):
        assert below.top_um == pytest.approx(above.bottom_um, abs=1e-9)
    assert len({layer.gds for layer in layers}) == len(layers)


WRONG = {
    "top_um = 3": ("top_um = 2", r"layer\.2: high goes from 2 up to 2 um"),
    "pixel_um = 0.1": ("pixel_um = 0", r"pixel_um: .*greater than 0"),
    "gds = [3, 0]": ("gds = 3", r"layer\.2\.gds"),
    "in_plane": ("in_plain", r"in_plain"),
    "via = true": ("vias = true", r"layer\.1\.vias"),
    "[\n": ("[[\n", "Invalid|Unclosed|Expected|Cannot"),
}


@pytest.mark.parametrize("part", WRONG, ids=lambda part: part.strip())
def test_a_wrong_stack_is_explained(tmp_path, part):
    other, words = WRONG[part]
    (tmp_path / "wrong.toml").write_text(STACK.replace(part, other))
    with pytest.raises(ValueError, match=rf"wrong\.toml cannot be used \((?s:.*)({words})"):
        read_stack(tmp_path / "wrong.toml")
