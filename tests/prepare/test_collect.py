"""Crops to arrays: intensities, nearly empty crops, so many and no more."""

from dataclasses import replace

import numpy as np
import pytest

from tomopilot.prepare import collect
from tomopilot.prepare.collect import Collector, Sampled
from tomopilot.prepare.crops import Crop


def crop(seed=0, source="a", held=False, scale=1.0, depth=0.0):
    pixels = np.random.default_rng(seed).random((32, 32), np.float32) * np.float32(scale)
    return Crop(pixels, source, depth, 1.0, 2.0, 5e-7, held)


def both(*crops):
    """Crops, and one to validate on, which is needed."""
    return [*crops, crop(99, held=True)]


def test_a_given_range_becomes_black_and_white():
    ramp = replace(crop(), pixels=np.linspace(-1, 4, 1024, dtype=np.float32).reshape(32, 32))
    made = Collector(range=(0.0, 2.0), kind="float16")(both(ramp))
    expected = (ramp.pixels / 2).clip(0, 1)
    np.testing.assert_allclose(made.train["images"][0], expected, atol=1e-3)
    assert made.ranges == {"": (0.0, 2.0)}
    assert made.clipped == pytest.approx(((ramp.pixels < 0) | (ramp.pixels > 2)).mean() / 2)


def test_bytes_are_rounded():
    made = Collector(range=(0.0, 1.0))(both(crop()))
    assert made.train["images"].dtype == np.uint8
    np.testing.assert_array_equal(made.train["images"][0], np.rint(255 * crop().pixels))


@pytest.mark.parametrize("shared", [True, False])
def test_percentiles_of_each_source_or_of_all(monkeypatch, shared):
    monkeypatch.setattr(collect, "STEP", 1)
    bright = crop(1, "b", True, scale=10)
    made = Collector(percentiles=(5, 95), shared=shared)([crop(), bright])
    if shared:
        together = np.concatenate([crop().pixels.ravel(), bright.pixels.ravel()])
        assert made.ranges == {"": pytest.approx(tuple(np.percentile(together, (5, 95))))}
    else:
        assert made.ranges["a"] == pytest.approx(tuple(np.percentile(crop().pixels, (5, 95))))
        assert made.ranges["b"] == pytest.approx(tuple(np.percentile(bright.pixels, (5, 95))))


def test_one_source_has_one_range():
    made = Collector()([crop(), crop(1, held=True)])
    assert made.ranges.keys() == {""}


def test_percentiles_of_many_crops_remember_few(monkeypatch):
    monkeypatch.setattr(collect, "REMEMBERED", 8)
    sampled = Sampled()
    for number in range(100):
        sampled.add(np.full((8, 8), number))
    kept = [values[0] for values in sampled.values]
    assert len(kept) <= 8 and set(np.diff(kept)) == {16} and kept[0] == 0 and kept[-1] >= 84


def test_nearly_empty_crops_are_left_out_by_their_contrast():
    weak = crop(scale=0.06)  # standard deviation 0.06 / sqrt(12) = 0.017
    for empty, expected in ((0.018, 1), (0.016, 0)):
        made = Collector(range=(0.0, 1.0), empty=empty)(both(crop(), weak))
        assert made.empty == expected and len(made.train["images"]) == 2 - expected


def test_no_more_than_so_many_drawn_evenly():
    """Of 20 crops, 5 are kept; over 200 seeds each about 50 times, within 6 standard deviations."""
    crops = both(*(crop(n, depth=float(n)) for n in range(20)))
    counts = np.zeros(20, int)
    for seed in range(200):
        depths = Collector(range=(0.0, 1.0), most=5, seed=seed)(crops).train["depth"].astype(int)
        assert len(set(depths.tolist())) == 5
        counts[depths] += 1
    assert counts.min() > 50 - 37 and counts.max() < 50 + 37


def test_columns_belong_to_the_images_and_are_in_order():
    made = Collector(range=(0.0, 1.0))(both(crop(2, "b"), crop(1, depth=7.0), crop(0, depth=3.0)))
    assert made.train["source"].tolist() == ["a", "a", "b"] and made.train["depth"].tolist() == [3, 7, 0]
    for image, seed in zip(made.train["images"], (0, 1, 2), strict=True):
        np.testing.assert_array_equal(image, np.rint(255 * crop(seed).pixels))
    assert made.train["x"][0] == 1 and made.train["y"][0] == 2
    np.testing.assert_allclose(made.train["pixel_um"], 0.5)
    assert len(made.validation["images"]) == 1


def test_an_unknown_pixel_size_is_no_number():
    made = Collector(range=(0.0, 1.0))(both(replace(crop(), pixel=None)))
    assert np.isnan(made.train["pixel_um"][0])


@pytest.mark.parametrize("part", ["train", "validate"])
def test_nothing_is_left(part):
    crops = [crop(held=part == "train"), crop(scale=0.0, held=part == "validate")]
    with pytest.raises(ValueError, match=rf"no image is left to {part} on: 1 of 2 crops are nearly empty"):
        Collector(range=(0.0, 1.0))(crops)


def test_a_source_without_contrast():
    with pytest.raises(ValueError, match="b has the same value, 0, at the percentiles"):
        Collector()([crop(), crop(source="b", scale=0.0, held=True)])


@pytest.mark.parametrize(
    "words",
    [{"range": (1.0, 1.0)}, {"percentiles": (5.0, 101.0)}, {"empty": 0.9}, {"most": 0}, {"kind": "int8"}],
    ids=lambda words: next(iter(words)),
)
def test_wrong_options_are_named(words):
    with pytest.raises(ValueError, match=f"{next(iter(words))} is .*; expected"):
        Collector(**words)
