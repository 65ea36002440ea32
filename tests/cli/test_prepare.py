"""`tomopilot prepare`, and training on what it leaves: from scratch, and from another prior."""

import json

import numpy as np
import pytest
from samples import TINY_TRAINING

from tomopilot.prepare.published import PUBLISHED, Published


@pytest.fixture
def volumes(tmp_path):
    """Three volumes of 4 slices of 140 x 132 pixels, with values about 3."""
    random = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        np.save(tmp_path / f"{name}.npy", random.normal(3, 1, (4, 140, 132)).astype(np.float32))
    return [tmp_path / f"{name}.npy" for name in ("one", "two", "three")]


@pytest.fixture
def made(volumes, call, tmp_path):
    """A training set of them, of crops of 128 pixels, halved."""
    words = ("--crop", 128, "--size", 64, "--unit", "1/cm", "--pixel-size", "2um", "--licence", "CC0")
    outcome = call("prepare", *volumes, *words, "--data", "noise", "--out", tmp_path / "set")
    assert outcome.status == 0, outcome.err
    return tmp_path / "set", outcome


def test_a_set_and_its_card(made):
    folder, outcome = made
    card = json.loads((folder / "set.json").read_text())
    assert card["images"] == {"train": 8, "validation": 4} and card["sources"] == {
        "train": 2,
        "validation": 1,
    }
    assert "8 images to train on (sources: 2), 4 to validate on (sources: 1)" in outcome.out
    assert card["pixel_size"] == "4 um" and card["licence"] == "CC0" and card["data"] == "noise"
    black, white = card["intensity"]["black"], card["intensity"]["white"]
    assert card["unit"] == f"1/cm, from {black:.4g} to {white:.4g}" and black < 2 < 4 < white
    assert card["split"] == "source" and card["command"].startswith("tomopilot prepare ")
    train, validation = (np.load(folder / f"{name}.npz") for name in ("train", "validation"))
    assert train["images"].shape == (8, 64, 64) and train["images"].dtype == np.uint8
    assert not set(train["source"]) & set(validation["source"])
    np.testing.assert_array_equal(train["depth"][:4], range(4))


def test_stored_values_stand_for_the_intensities(made, volumes):
    folder, _ = made
    train, limits = np.load(folder / "train.npz"), json.loads((folder / "set.json").read_text())["intensity"]
    source = {path.name: path for path in volumes}[str(train["source"][3])]
    crop = np.load(source)[3, 6:134, 2:130].reshape(64, 2, 64, 2).mean((1, 3))
    expected = (crop - limits["black"]) / (limits["white"] - limits["black"])
    np.testing.assert_allclose(train["images"][3] / 255, expected.clip(0, 1), atol=0.003)


def test_a_prior_of_a_set_says_what_it_knows(made, call, tmp_path):
    folder, _ = made
    (tmp_path / "tiny.toml").write_text(f'name = "own"\n{TINY_TRAINING}\n[card]\nunit = "of the recipe"\n')
    outcome = call("train", folder, "--recipe", tmp_path / "tiny.toml", "--out", tmp_path / "own")
    assert outcome.status == 0, outcome.err
    card = json.loads((tmp_path / "own" / "card.json").read_text())
    assert card["name"] == "own" and card["unit"].startswith("1/cm") and card["pixel_size"] == "4 um"
    assert card["slices"] == {"trained_on": 8, "held_back": 4} and card["intensity"]["black"] > -2
    assert "correlates by" in outcome.out and "of a slice held back by" in outcome.out


@pytest.mark.parametrize("rank", [0, 2])
def test_a_prior_is_adapted_to_a_set(made, call, tiny, tmp_path, rank):
    """The card of the new one says from which prior it comes; what differs is said before."""
    folder, _ = made
    words = ("--start-from", tiny, "--rank", rank, "--steps", 2, "--out", tmp_path / "own")
    outcome = call("train", folder, *words)
    assert outcome.status == 0, outcome.err
    assert "the unit of these images is 1/cm" in outcome.err and "tiny was trained on metal" in outcome.err
    card = json.loads((tmp_path / "own" / "card.json").read_text())
    before = json.loads((tiny / "card.json").read_text())
    assert card["started_from"] == {"name": "tiny", "sha256": before["sha256"]}
    assert card["name"] == "tiny-adapted" and card["licence"] == "CC0" and card["steps"] == 2
    assert card["network"] == before["network"] and card["training"]["rank"] == rank
    assert card["likeness_to_training"]["samples"] and "correlates by" in outcome.out


def test_a_second_set_does_not_take_the_place_of_the_first(made, call, volumes):
    folder, _ = made
    outcome = call("prepare", *volumes, "--crop", 128, "--size", 64, "--out", folder)
    assert outcome.status == 2 and "already contains a training set" in outcome.err


@pytest.mark.parametrize("share, gap", [(0.25, 0), (0.34, 1)])
def test_one_volume_is_divided_by_depth(volumes, call, tmp_path, share, gap):
    words = ("--crop", 64, "--size", 64, "--share", share, "--gap", gap, "--out", tmp_path / "set")
    outcome = call("prepare", volumes[0], *words)
    if gap:
        assert outcome.status == 2 and "4 deep, too little for 1 in the middle with a gap of 1" in outcome.err
        return
    assert outcome.status == 0 and json.loads((tmp_path / "set" / "set.json").read_text())["split"] == "depth"
    parts = [np.load(tmp_path / "set" / f"{name}.npz") for name in ("train", "validation")]
    assert [sorted(set(part["depth"].tolist())) for part in parts] == [[0, 2, 3], [1]]
    assert len(parts[0]["images"]) == 3 * 4


def test_named_images_are_held_back(volumes, call, tmp_path):
    pattern = str(tmp_path / "t*.npy")
    words = ("--crop", "whole", "--range", "0,6", "--type", "float16", "--out", tmp_path / "set")
    outcome = call("prepare", volumes[0], "--validation", pattern, *words)
    assert outcome.status == 0, outcome.err
    parts = [np.load(tmp_path / "set" / f"{name}.npz") for name in ("train", "validation")]
    assert [set(part["source"]) for part in parts] == [{"one.npy"}, {"three.npy", "two.npy"}]
    assert parts[0]["images"].dtype == np.float16 and parts[0]["images"].shape == (4, 128, 128)
    assert "give --licence" in outcome.err and "give --pixel-size" in outcome.err


def test_a_layout(call, tmp_path):
    db = pytest.importorskip("klayout.db")
    layout = db.Layout()
    cell, metal = layout.create_cell("CHIP"), layout.layer(1, 0)
    for shift in range(0, 40_000, 500):
        cell.shapes(metal).insert(db.Box(shift, 0, shift + 250, 9_000))
    layout.write(str(tmp_path / "chip.gds"))
    stack = tmp_path / "stack.toml"
    level = '{ name = "m", gds = [1, 0], bottom_um = 0, top_um = 1 }'
    stack.write_text(f'name = "one"\npixel_um = 0.05\nlayer = [{level}]')
    words = ("prepare", tmp_path / "chip.gds", "--stack", stack, "--crop", 64, "--size", 32)
    outcome = call(*words, "--out", tmp_path / "set", "--heights", 2)
    assert outcome.status == 0, outcome.err
    card = json.loads((tmp_path / "set" / "set.json").read_text())
    assert card["unit"] == "metal fraction (0 dielectric, 1 metal)" and card["pixel_size"] == "100 nm"
    assert card["images"] == {"train": 2 * 2 * 9, "validation": 2 * 2} and card["stack"] == "one"
    train = np.load(tmp_path / "set" / "train.npz")
    assert set(train["source"]) == {"chip.gds:CHIP"} and train["depth"].min() > 0 and train["depth"].max() < 1
    assert call(*words, "--out", tmp_path / "a", "--top", "CHOP").err.endswith(
        "it has no cell 'CHOP'; its cells are CHIP: give one with --top\n"
    )
    assert "--every, --source and --split are for volumes" in call(*words, "--every", 2, "--out", "a").err


@pytest.fixture
def lodopab(tmp_path, monkeypatch):
    """The archive in little: two folders of one file each, fetched by a stand-in."""
    import h5py

    found = []
    for part, count in (("train", 5), ("validation", 3)):
        path = tmp_path / f"ground_truth_{part}_000.hdf5"
        with h5py.File(path, "w") as file:
            file["data"] = np.random.default_rng(count).random((count, 362, 362), np.float32)
        found.append([str(path)])
    monkeypatch.setattr(Published, "fetch", lambda self, folder: found)


def test_an_archive_by_name(lodopab, call, tmp_path):
    outcome = call("prepare", "lodopab", "--out", tmp_path / "set")
    assert outcome.status == 0, outcome.err
    assert "LoDoPaB-CT: 17.5 GB, CC BY 4.0" in outcome.err
    card = json.loads((tmp_path / "set" / "set.json").read_text())
    assert card["images"] == {"train": 5, "validation": 3} and card["split"] == "named"
    assert card["pixel_size"] == "2.03 mm" and card["unit"].startswith("linear attenuation / 81.35858")
    assert card["licence"] == "CC BY 4.0" and PUBLISHED["lodopab"].page in card["data"]
    assert card["intensity"] == {"black": 0.0, "white": 1.0}


WRONG = {
    ("--crop", "64px"): "--crop is '64px'; expected a whole number",
    ("--crop", 64): "crops of 64 pixels were asked for, to be rescaled to 128",
    ("--range", "1"): "--range is '1'; expected two numbers",
    ("--range", "2,1"): "range is (2.0, 1.0); expected two ascending numbers",
    ("--split", "half"): "expected auto, source or depth",
    ("--every", 0): "every is 0; expected 1",
    ("--type", "int8"): "kind is 'int8'; expected uint8 or float16",
    ("--stack", "sky130.toml"): "--stack, --top and --heights are for layouts",
    ("--pixel-size", "2"): "--pixel-size cannot be used",
    ("--source", "patient"): "only npz files have an array 'patient'",
    ("--validation", "none.tif"): "none.tif: does not exist",
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: "=".join(map(str, words)))
def test_wrong_use_is_one_sentence_and_leaves_nothing(volumes, call, tmp_path, words):
    outcome = call("prepare", *volumes, "--out", tmp_path / "set", *words)
    assert outcome.status == 2 and WRONG[words] in outcome.err, outcome.err
    assert outcome.err.count("\n") == 1 and not (tmp_path / "set").exists()


def test_an_archive_that_must_be_asked_for(call, tmp_path):
    outcome = call("prepare", "fastmri", "--out", tmp_path / "set")
    assert outcome.status == 2 and "licence must be accepted first" in outcome.err
    assert not (tmp_path / "set").exists()
