import hashlib
import json
import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

import tomopilot
from tomopilot.nets.folded import FoldedUNet
from tomopilot.prior.checkpoint import (
    CARD,
    WEIGHTS,
    add_to_card,
    altered,
    load_prior,
    prior_folders,
    read_card,
    save_prior,
)

NETWORK = {"fold": 2, "widths": [8, 8], "groups": 4}
FACTS = {"name": "tiny", "network": NETWORK, "prediction": "v", "range": [0.0, 2.0]}
REMEDY = "again|made by|check the spelling"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return FoldedUNet(**NETWORK).eval()


@pytest.fixture
def folder(tmp_path, network):
    save_prior(tmp_path / "tiny", network, FACTS)
    return tmp_path / "tiny"


def put_weights(folder: Path, content: bytes) -> None:
    """Other weights, with a card that vouches for them."""
    (folder / WEIGHTS).write_bytes(content)
    change_card(folder, sha256=hashlib.sha256(content).hexdigest())


def change_card(folder: Path, **facts) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **facts}))


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load_prior(folder)
    text = str(caught.value)
    assert folder.name in text, f"does not name the prior: {text}"
    assert re.search(REMEDY, text), f"does not say what to do: {text}"
    return text


def test_round_trip(folder, network, rng):
    prior = load_prior(folder)
    assert prior.card["name"] == "tiny" and (prior.low, prior.high) == (0.0, 2.0)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(prior.denoise.network.state_dict()[name], value, rtol=0, atol=0)
    x, sigma = torch.rand(3, 8, 12, generator=rng), torch.tensor([0.1, 1.0, 9.0])
    torch.testing.assert_close(load_prior(folder)(x, sigma), prior(x, sigma), rtol=0, atol=0)
    assert not prior.training and not any(value.requires_grad for value in prior.parameters())


def test_known_by_name(folder, monkeypatch):
    monkeypatch.setenv("TOMOPILOT_PRIORS", str(folder.parent))
    assert prior_folders()["tiny"] == folder
    assert load_prior("tiny").card["name"] == "tiny"


def test_unknown_name(folder, monkeypatch):
    monkeypatch.setenv("TOMOPILOT_PRIORS", str(folder.parent))
    with pytest.raises(ValueError, match=r"'tinny'.*tiny.*check the spelling"):
        load_prior("tinny")


@pytest.mark.fault
@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated(folder, length):
    content = (folder / WEIGHTS).read_bytes()[:length]
    (folder / WEIGHTS).write_bytes(content)
    refused(folder)
    put_weights(folder, content)
    refused(folder)


@pytest.mark.fault
@pytest.mark.parametrize("place", [3, 20, -5])
def test_flipped_byte(folder, place):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place] ^= 0x40
    (folder / WEIGHTS).write_bytes(content)
    assert WEIGHTS in refused(folder)


@pytest.mark.fault
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(folder, bad):
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    first = sorted(weights)[0]
    weights[first].view(-1)[0] = bad
    put_weights(folder, safetensors.torch.save(weights))
    assert first in refused(folder)


@pytest.mark.fault
@pytest.mark.parametrize("foreign", ["names", "shapes", "types", "empty"])
def test_weights_of_another_network(folder, foreign):
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    weights = {
        "names": lambda: {f"other.{name}": value for name, value in weights.items()},
        "shapes": lambda: {name: value[..., None].contiguous() for name, value in weights.items()},
        "types": lambda: {name: value.half() for name, value in weights.items()},
        "empty": dict,
    }[foreign]()
    put_weights(folder, safetensors.torch.save(weights))
    assert "do not fit" in refused(folder)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.fault
@pytest.mark.parametrize("how", [pickle.dumps, lambda bomb: torch_bytes(bomb)], ids=["pickle", "torch"])
def test_pickle_in_disguise_is_never_run(folder, how):
    fuse = folder / "exploded"
    put_weights(folder, how(Bomb(fuse)))
    refused(folder)
    assert not fuse.exists()


def torch_bytes(thing) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


@pytest.mark.fault
def test_nothing_in_the_source_can_unpickle():
    sources = list(Path(tomopilot.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    for source in sources:
        code = re.sub(r'""".*?"""|#.*', "", source.read_text(), flags=re.DOTALL)
        found = re.findall(
            r"(?<!safetensors\.)torch\.load\b|\bpickle\b|(?<!\.)\beval\(|\bexec\(|allow_pickle ?= ?True", code
        )
        assert not found, f"{source}: {found}"


def test_missing_weights(folder):
    (folder / WEIGHTS).unlink()
    assert WEIGHTS in refused(folder)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]", b"3", b'"text"'])
def test_unreadable_card(folder, content):
    (folder / CARD).unlink()
    if content is not None:
        (folder / CARD).write_bytes(content)
    assert CARD in refused(folder)


@pytest.mark.parametrize("key", ["network", "prediction", "range", "sha256"])
def test_card_without_a_key(folder, key):
    card = json.loads((folder / CARD).read_text())
    del card[key]
    (folder / CARD).write_text(json.dumps(card))
    assert key in refused(folder)


BAD_FACTS = [
    {"network": {**NETWORK, "fold": "2"}},
    {"network": {**NETWORK, "depth": 3}},
    {"network": []},
    {"network": None},
    {"network": {**NETWORK, "groups": 3}},
    {"network": {**NETWORK, "groups": 0}},
    {"network": {**NETWORK, "fold": 0}},
    {"network": {**NETWORK, "fold": -2}},
    {"network": {**NETWORK, "layers": 0}},
    {"network": {**NETWORK, "widths": []}},
    {"prediction": "sample"},
    {"prediction": 3},
    {"range": 3},
    {"range": [1.0]},
    {"range": [1.0, 0.0]},
    {"range": ["a", "b"]},
    {"range": [0.0, None]},
    {"sha256": 5},
]


@pytest.mark.parametrize("facts", BAD_FACTS, ids=str)
def test_card_that_makes_no_sense(folder, facts):
    change_card(folder, **facts)
    refused(folder)


@pytest.mark.parametrize("shape", [(8, 8), (4, 12)])
def test_takes_multiples(folder, shape):
    load_prior(folder).check_shape(shape)


@pytest.mark.parametrize("shape", [(8, 9), (10, 8), (8,), (4, 8, 8)])
def test_refuses_other_shapes(folder, shape):
    with pytest.raises(ValueError, match=rf"{shape[-1]} pixels.*'tiny'.*multiples of 4"):
        load_prior(folder).check_shape(shape)


def test_partial_files_are_ignored(folder, network):
    before = load_prior(folder)
    (folder / (WEIGHTS + ".partial")).write_bytes(b"half")
    (folder / (CARD + ".partial")).write_bytes(b"{")
    x, sigma = torch.zeros(1, 8, 8), torch.ones(1)
    torch.testing.assert_close(load_prior(folder)(x, sigma), before(x, sigma), rtol=0, atol=0)
    save_prior(folder, network, FACTS)
    load_prior(folder)


def test_a_card_whose_numbers_were_changed_is_known(folder):
    card = read_card(folder)
    assert not altered(card) and not altered({**card, "unit": "per cm"})
    assert altered({**card, "range": [0.0, 1.5]})
    assert not altered({**card, "range": [0.0, 1.5], "sealed": None})
    add_to_card(folder, {"range": [0.0, 1.5]})
    assert not altered(read_card(folder))
