"""A queue of trainings: goes on by itself, and is refused before anything is trained where it is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from tomopilot.bench.queue import Task, read_queue
from tomopilot.prior.checkpoint import load_prior
from tomopilot.prior.train import read_history
from tomopilot.prior.training import Training, read_training

RECIPES = Path(__file__).parents[2] / "recipes"

RECIPE = """
name = "{name}"
[training]
network = {{ fold = 2, widths = [8, 8], blocks = [1, 2], heads = 2 }}
steps = 0
early = {{ steps = 1, batch = 2, crop = 8 }}
batch = 2
crop = 16
muon = 0.01
decay = 0.5
"""
PRIOR = (
    '[[prior]]\nrecipe = "{name}.toml"\nimages = ["images.npy"]\nvalidation = "images.npy"\nhours = 1e-9\n'
)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A file of two priors, the second of which starts from the first."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 16, 16), np.float32))
    for name in ("first", "second"):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name))
    path = tmp_path / "queue.toml"
    path.write_text(PRIOR.format(name="first") + PRIOR.format(name="second") + 'start_from = "first"\n')
    monkeypatch.setenv("TOMOPILOT_DATA", str(tmp_path))
    return path


def steps(task, out):
    return [[at.step for at in part(out, {}, "cpu")] for part in (task.stretch, task.finish)]


def test_each_prior_has_its_hours_and_its_last_stretch(queue, tmp_path):
    """One step takes the hours; with a decay of a half, the branch has two."""
    first, second = read_queue(queue, tmp_path)
    assert steps(first, tmp_path / "first") == [[1], [2]]
    assert steps(second, tmp_path / "second") == [[1], [2]]
    finished = load_prior(tmp_path / "second" / "final").card
    assert finished["steps"] == 2 and finished["started_from"]["name"] == "first"
    assert (tmp_path / "second" / "final" / "samples.png").is_file()
    assert (tmp_path / "second" / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_a_card_describes_the_images_it_was_trained_on(queue, tmp_path):
    """What the queue says of them, and no recipe that others may use."""
    about = '[prior.card]\nlicence = "CC0"\n'
    queue.write_text(PRIOR.format(name="first") + about + PRIOR.format(name="second"))
    first, second = read_queue(queue, tmp_path)
    steps(first, tmp_path / "first"), steps(second, tmp_path / "second")
    cards = [load_prior(tmp_path / name).card for name in ("first", "second")]
    assert [card.get("licence") for card in cards] == ["CC0", None]
    assert [card["images"] for card in cards] == [["images.npy"]] * 2


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*-*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_say_nothing_of_anybody_s_data(recipe):
    _, card = read_training(recipe)
    assert not {"data", "licence", "pixel_size", "images"} & card.keys()


@pytest.mark.parametrize("count, held", [(20, 4), (99, 20), (100, 5)])
def test_without_validation_images_some_are_held_back(tmp_path, count, held):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((count, 16, 16), np.float32))
    slices = Task(Training(), {}, (str(tmp_path / "images.npy"),)).slices
    assert (len(slices.images), len(slices.held)) == (count - held, held)


@pytest.mark.parametrize(
    "size, differs", [("0.1 um", False), ("0.32 um", False), ("0.02 to 0.05 um", False), ("1 um", True)]
)
def test_pixels_of_another_size_than_those_of_the_prior_are_a_doubt(size, differs):
    """chip-128 was trained on pixels of 0.03 to 0.3 um; a tenth beyond is still alike."""
    doubts = Task(Training(), {"pixel_size": size}, (), start_from="chip-128").doubts()
    expected = (
        f"the pixel size of these images is {size}, of those that chip-128 was trained on 0.03 to 0.3 um"
    )
    assert [doubt.startswith(expected) for doubt in doubts] == [True] * differs


def test_phantoms_lie_in_no_folder(queue, tmp_path):
    text = PRIOR.format(name="first").replace("images.npy", "phantom:disc@16::0-1")
    queue.write_text(text)
    (task,) = read_queue(queue, tmp_path)
    assert task.images == ("phantom:disc@16::0-1",)
    assert [len(task.slices.images), len(task.slices.held)] == [2, 2]


def test_a_queue_goes_on_where_it_was(queue, tmp_path):
    first, _ = read_queue(queue, tmp_path)
    list(first.stretch(tmp_path / "first", {}, "cpu"))
    next(first.finish(tmp_path / "first", {}, "cpu"), None)
    assert steps(first, tmp_path / "first") == [[], []]
    assert [entry["step"] for entry in read_history(tmp_path / "first" / "final")] == [1, 2]


def test_weights_that_were_kept_go_on_in_an_empty_folder(queue, tmp_path):
    """From their step and their seconds; a folder that has a state of its own is left as it is."""
    list(read_queue(queue, tmp_path)[0].stretch(tmp_path / "kept", {}, "cpu"))
    seconds = read_history(tmp_path / "kept")[-1]["seconds"]
    text = queue.read_text().replace("hours = 1e-9", 'hours = 1\nkept = "kept"', 1)
    queue.write_text(text)
    first, _ = read_queue(queue, tmp_path)
    stretch = first.stretch(tmp_path / "first", {}, "cpu")
    assert next(stretch).step == 2
    stretch.close()
    assert read_history(tmp_path / "first") == read_history(tmp_path / "kept")
    assert json.loads((tmp_path / "first" / "clock.json").read_text())["seconds"] == seconds
    assert load_prior(tmp_path / "first").card["steps"] == 1


def test_weights_of_another_recipe_do_not_go_on(queue, tmp_path):
    first, _ = read_queue(queue, tmp_path)
    list(first.stretch(tmp_path / "kept", {}, "cpu"))
    (tmp_path / "first.toml").write_text(RECIPE.format(name="first").replace("batch = 2", "batch = 3"))
    queue.write_text(queue.read_text().replace("hours = 1e-9", 'hours = 1\nkept = "kept"', 1))
    with pytest.raises(ValueError, match=r"kept was started with in batch, early"):
        list(read_queue(queue, tmp_path)[0].stretch(tmp_path / "first", {}, "cpu"))


def test_a_queue_is_not_of_another_recipe(queue, tmp_path):
    list(read_queue(queue, tmp_path)[0].stretch(tmp_path / "first", {}, "cpu"))
    changed = RECIPE.format(name="first").replace("muon = 0.01", "muon = 0.02")
    (tmp_path / "first.toml").write_text(changed)
    with pytest.raises(ValueError, match=r"recipe differs .* in muon"):
        list(read_queue(queue, tmp_path)[0].stretch(tmp_path / "first", {}, "cpu"))


WRONG = {
    "first.toml": ("other.toml", "other.toml"),
    "images.npy": ("gone.npy", "gone.npy.*TOMOPILOT_DATA"),
    'start_from = "first"': ('start_from = "third"', "'third', which no earlier entry trains"),
    "hours = 1e-9": ("hour = 1e-9", "lacks 'hours'"),
    "hours": ('kept = "gone"\nhours', "gone is named in the queue .* contains no prior"),
    'validation = "images.npy"': ("validation = 3", "validation = 3"),
    "[[prior]]": ("[[priors]]", r"no \[\[prior\]\]"),
    "[[": ("[[[", "cannot be read"),
}


@pytest.mark.parametrize("part", WRONG)
def test_a_wrong_queue_is_rejected_in_a_sentence(queue, part, tmp_path):
    other, words = WRONG[part]
    queue.write_text(queue.read_text().replace(part, other))
    with pytest.raises(ValueError, match=words):
        read_queue(queue, tmp_path)


def test_the_state_tells_the_seconds_of_a_processor(queue, tmp_path):
    first, _ = read_queue(queue, tmp_path)
    steps(first, tmp_path / "first")
    before, after = (entry["seconds"] for entry in read_history(tmp_path / "first" / "final"))
    assert 0 <= before <= after
    assert json.loads((tmp_path / "first" / "final" / "clock.json").read_text())["seconds"] > 0
