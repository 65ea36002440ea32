"""Cards and recipes are input: whatever they hold, they are read or rejected in a sentence, and soon."""

import copy
import json
import random
import tomllib
from pathlib import Path

import pytest

from tomopilot.design.trust import Trust
from tomopilot.nets.folded import FoldedUNet
from tomopilot.prior.checkpoint import CARD, WEIGHTS, load_prior, read_card, save_prior
from tomopilot.prior.trainer import Trainer
from tomopilot.prior.training import Training, read_training

NETWORK = {"fold": 2, "widths": [8, 8], "groups": 4, "layers": 1}
ALARM = {"drift": 1.0, "threshold": 2.0}
STRANGE = {
    **ALARM, "mean": [0.0], "slopes": [[-0.1, 0.2]], "precision": [[1.0]], "noise": [0.01, 0.02], "until": 20
}  # fmt: skip
TRUST = {
    "inflation": {"prox": {"5": 1.1, "10": 1.2}},
    "alarm": {"scout": ALARM},
    "strangeness": {"scout": STRANGE},
    "margin": {"scout:prox": 1.3},
}
VALUES = [
    None, True, -1, 0, 5, 10**9, 10**30, 1e308, float("nan"), float("inf"),
    "", "text", "0", [], {}, [[1]], {"a": 1}, [10**9],
]  # fmt: skip
RECIPE = Path(__file__).parents[2] / "recipes" / "chip-128.toml"
SHORT, LONG = 60, 200


def mutated(tree, chance: random.Random):
    """The same with one value, anywhere in it, taken away or in place of another."""
    tree = copy.deepcopy(tree)
    node = tree
    while True:
        key = chance.choice([*node] if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and chance.random() < 0.8:
            node = node[key]
            continue
        if chance.random() < 0.2:
            del node[key]
        else:
            node[key] = chance.choice(VALUES)
        return tree


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    card = {"name": "tiny", "network": NETWORK, "prediction": "v", "range": [0.0, 1.0], "trust": TRUST}
    save_prior(folder, FoldedUNet(**NETWORK), card)
    return folder


def try_cards(prior, tmp_path, count, seed):
    chance, good, rejected = random.Random(seed), read_card(prior), 0
    (tmp_path / WEIGHTS).write_bytes((prior / WEIGHTS).read_bytes())
    for _ in range(count):
        (tmp_path / CARD).write_text(json.dumps(mutated(good, chance)))
        try:
            card = load_prior(tmp_path).card
            Trust.from_card(card).watch("scout")
        except ValueError as error:
            assert len(str(error)) < 600
            rejected += 1
    assert count / 3 < rejected < count


def try_recipes(tmp_path, count, seed):
    chance, good, rejected = random.Random(seed), tomllib.loads(RECIPE.read_text()), 0
    for _ in range(count):
        table = mutated(good["training"], chance)
        try:
            for key in ("range", "zoom"):
                if isinstance(table.get(key), list):
                    table[key] = tuple(table[key])
            Trainer(Training(**table))
        except ValueError as error:
            assert len(str(error)) < 600
            rejected += 1
    assert count / 4 < rejected < count


def test_mutated_cards(prior, tmp_path):
    try_cards(prior, tmp_path, SHORT, 0)


def test_mutated_recipes(tmp_path):
    try_recipes(tmp_path, SHORT, 0)


@pytest.mark.slow
def test_many_mutated_cards_and_recipes(prior, tmp_path):
    try_cards(prior, tmp_path, LONG, 1)
    try_recipes(tmp_path, LONG, 1)


@pytest.mark.parametrize(
    "text",
    [
        "card = 5",
        "name = 3",
        "training = 1",
        "a = " + 5000 * "[" + 5000 * "]",
        "[training]\nnetwork = {widths = 3}",
    ],
)
def test_recipes_that_are_none(tmp_path, text):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ValueError):
        Trainer(read_training(tmp_path / "recipe.toml")[0])


def test_a_card_of_deep_brackets_is_rejected(tmp_path):
    (tmp_path / CARD).write_text(100_000 * "[" + 100_000 * "]")
    with pytest.raises(ValueError, match="no readable"):
        read_card(tmp_path)
