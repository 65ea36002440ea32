"""What is rejected before the first exposure: a second owner, and priors that do not fit."""

import hashlib
import json
import math
import os
import socket
from contextlib import closing
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from processes import server

from tomopilot.files.logbook import Logbook
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK
from tomopilot.nets.folded import FoldedUNet
from tomopilot.prior.checkpoint import CARD, WEIGHTS, save_prior
from tomopilot.scan.lock import LOCK

pytestmark = pytest.mark.fault


def test_a_second_scan_on_a_folder_is_rejected(tmp_path, setup):
    """F11: with the owner's name; a dead owner's lock is taken over (see the killed scans)."""
    with hold(tmp_path, setup) as live:
        with pytest.raises(ValueError, match=f"being written by process {os.getpid()}"), hold(tmp_path):
            pass
        assert live.suggest().id == 1
        with closing(Logbook(tmp_path / BOOK)) as reader:
            assert [event.kind for event in reader.events()] == ["begun", "suggested"]
    with pytest.raises(ValueError, match="already contains a live scan"), hold(tmp_path, setup):
        pass


def hold_it(folder, said):
    """Another process that wants the scan; says why it does not get it."""
    try:
        with hold(folder):
            said.put("held")
    except ValueError as error:
        said.put(str(error))


def test_another_process_is_told_who_holds_the_scan(tmp_path, setup):
    """F11: at once; and gets it once the holder is gone, however that ended."""
    said = server().SimpleQueue()
    with hold(tmp_path, setup):
        other = server().Process(target=hold_it, args=(tmp_path, said))
        other.start()
        answer = said.get()
        other.join()
        assert f"process {os.getpid()} of this machine" in answer
        lock = (tmp_path / LOCK).read_text()
    (tmp_path / LOCK).write_text(lock.replace(str(os.getpid()), str(other.pid)))  # of one that was killed
    with hold(tmp_path):
        pass
    (tmp_path / LOCK).write_text(lock.replace(socket.gethostname(), "elsewhere"))
    with pytest.raises(ValueError, match=f"by process {os.getpid()} on elsewhere"), hold(tmp_path):
        pass


NETWORK = {"fold": 2, "widths": [8, 8], "groups": 4, "layers": 1}


def prior_of(folder, **changes):
    """A small prior; its card says something else of it."""
    torch.manual_seed(0)
    save_prior(
        folder,
        FoldedUNet(**NETWORK),
        {"name": "tiny", "network": NETWORK, "prediction": "v", "range": [0.0, 1.0], "pixel_size": "1 um"},
    )
    card = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps(card))
    return folder


def flip_a_bit(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def not_a_number(folder):
    """With a card that vouches for it."""
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    weights[min(weights)].view(-1)[0] = math.nan
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    card = json.loads((folder / CARD).read_text()) | {"sha256": digest}
    (folder / CARD).write_text(json.dumps(card))


WRONG = {
    "bit": (flip_a_bit, {}, {}, "prior.safetensors"),
    "NaN": (not_a_number, {}, {}, "NaN|finite"),
    "architecture": (None, {"network": NETWORK | {"widths": [8, 16]}}, {}, "do not fit"),
    "channels": (None, {"network": NETWORK | {"channels": 2}}, {}, "do not fit|complex"),
    "shape": (None, {}, {"bins": 15}, "multiples of 4"),
    "pixel size": (None, {}, {"pixel_size": 2e-6}, "2 um wide, but prior .* was trained on 1 um"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_prior_that_does_not_fit_is_rejected_before_the_first_exposure(tmp_path, setup, what):
    """F12."""
    damage, card, changes, words = WRONG[what]
    prior = prior_of(tmp_path / "prior", **card)
    if damage:
        damage(prior)
    wrong = replace(setup, prior=str(prior), posterior="scout:prox", **changes)
    with pytest.raises(ValueError, match=words), hold(tmp_path / "scan", wrong):
        pass


def test_the_prior_is_taken_where_nothing_is_wrong(tmp_path, setup):
    fine = replace(setup, prior=str(prior_of(tmp_path / "prior")), posterior="scout:prox", pixel_size=1.05e-6)
    with hold(tmp_path / "scan", fine) as live:
        assert live.suggest().id == 1
