"""Recipes and the priors that were made by them."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from tomopilot.nets.build import build_network
from tomopilot.prior.checkpoint import SHIPPED, lineage, load_prior, read_card
from tomopilot.prior.training import read_training

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*-*.toml"))}
MADE = [name for name in RECIPES if (SHIPPED / name).is_dir()]  # the others are still to be trained
CHOSEN = {"steps", "save_every", "validate_every"}  # how long, not what


def test_every_shipped_prior_has_a_recipe():
    assert {folder.name for folder in SHIPPED.iterdir()} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_prior_is_what_its_recipe_says(name):
    training, facts = read_training(RECIPES[name])
    card = read_card(SHIPPED / name)
    if dict(training.network) != card["network"]:
        pytest.skip(f"{name} as shipped has an older network than its recipe; its card tells how it was made")
    recipe = {key: value for key, value in asdict(training).items() if key not in CHOSEN}
    assert {key: card[key] for key in facts} == facts and card["name"] == name
    made_by = {key: value for key, value in card["training"].items() if key in recipe}
    expected = json.loads(json.dumps(recipe))
    assert made_by == {key: expected[key] for key in made_by}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_whole_images_and_says_what_they_are(name):
    """Its data and licence are in the queue, beside the images that they belong to."""
    training, facts = read_training(RECIPES[name])
    assert {"unit", "image_size"} <= facts.keys() and facts["name"] == name
    tables = tomllib.loads((RECIPES[name].parent / "queue.toml").read_text())["prior"]
    (own,) = [table for table in tables if table["recipe"] == RECIPES[name].name]
    assert {"data", "licence"} <= own["card"].keys()
    assert training.crop == facts["image_size"] and training.early["crop"] < training.crop
    weights = sum(value.numel() for value in build_network(training.network).parameters())
    assert weights < 8e6


@pytest.mark.parametrize("name", MADE)
def test_a_prior_loads_is_small_and_denoises_better_than_a_linear_one(name):
    prior = load_prior(name)
    assert (SHIPPED / name / "prior.safetensors").stat().st_size < 20e6
    assert prior.card["validation_loss"] < prior.card["linear_denoiser_loss"]
    samples, held = (prior.card["likeness_to_training"][kind] for kind in ("samples", "validation"))
    assert samples[2] < held[2] + 0.1, "samples are more like training slices than unseen slices are"


def test_cards_tell_the_priors_before():
    before = lineage(read_card(SHIPPED / "chip-512"))["started_from"]
    assert (before["name"], before["images_seen"]) == ("chip-128", 144_000)
    assert before["sha256"].startswith("515f6826a4b687334")  # shipped until chip-128 was trained anew
    assert "network" not in before
