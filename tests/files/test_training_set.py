"""Training sets on disk, and what their cards say to a training."""

import json

import numpy as np
import pytest

from tomopilot.files.images import count_images, read_images
from tomopilot.files.training_set import is_set, read_about, save_set, with_sets

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
CARD = {"unit": "1/cm", "pixel_size": "2 um", "data": "one", "licence": "CC0", "made": "by a test"}


def save(folder, **changes):
    parts = [{"images": images, "source": np.array(["a"] * len(images))} for images in (IMAGES, IMAGES[:2])]
    save_set(folder, *parts, {**CARD, **changes})
    return str(folder)


def test_written_images_are_read_back(tmp_path):
    save(tmp_path / "set")
    (third, *_) = read_images(f"{tmp_path / 'set' / 'train.npz'}::3")
    np.testing.assert_allclose(third.pixels, IMAGES[3] / 255, rtol=1e-6)
    assert count_images(str(tmp_path / "set" / "validation.npz")) == 2
    assert is_set(tmp_path / "set") and not is_set(tmp_path)


def test_a_set_stands_for_its_images_and_its_card(tmp_path):
    folder = save(tmp_path / "set", intensity={"black": 0.0, "white": 2.5})
    images, validation, about = with_sets([folder])
    assert images == (f"{folder}/train.npz",) and validation == f"{folder}/validation.npz"
    assert about == {**{k: CARD[k] for k in CARD if k != "made"}, "intensity": {"black": 0.0, "white": 2.5}}


def test_other_images_stay_what_they_are():
    assert with_sets(["a.tif", "phantom:disc"], "b.tif") == (("a.tif", "phantom:disc"), "b.tif", {})


def test_several_sets_are_described_together(tmp_path):
    folders = [
        save(tmp_path / "one", intensity={"black": 0.0, "white": 1.0}),
        save(tmp_path / "two", pixel_size="4 um", data="two", intensity={"black": 0.0, "white": 2.0}),
    ]
    with pytest.raises(ValueError, match=r"2 training sets .* --validation FOLDER"):
        with_sets(folders)
    images, validation, about = with_sets(folders, folders[1])
    assert images == tuple(f"{folder}/train.npz" for folder in folders)
    assert validation == f"{folders[1]}/validation.npz"
    assert about == {"unit": "1/cm", "pixel_size": "2 to 4 um", "data": "one; two", "licence": "CC0"}


def test_units_that_differ(tmp_path):
    folders = [save(tmp_path / "one"), save(tmp_path / "two", unit="HU")]
    with pytest.raises(ValueError, match="units 1/cm and HU"):
        with_sets(folders, folders[0])


@pytest.mark.parametrize(
    "content", ["{", "[]", json.dumps({"pixel_size": "2"}), json.dumps({"unit": 3})], ids=str
)
def test_a_damaged_card(tmp_path, content):
    folder = save(tmp_path / "set")
    (tmp_path / "set" / "set.json").write_text(content)
    with pytest.raises(ValueError, match=r"set\.json cannot be read .*prepare the set again"):
        read_about(tmp_path / "set")
    with pytest.raises(ValueError, match=r"set\.json"):
        with_sets([folder])
