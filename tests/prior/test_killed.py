"""Fault F14: a training is killed at any instant, and ends with the same bytes as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from prior.test_train import CARD_FACTS, STAGED, assert_same_files
from processes import server
from samples import TINY_TRAINING

from tomopilot.prior.checkpoint import WEIGHTS, load_prior
from tomopilot.prior.train import train
from tomopilot.prior.trainer import STATE

pytestmark = pytest.mark.fault
TRAINING = replace(STAGED, steps=12, save_every=3)
LONG = 1500  # seconds after which a test gives up, on a machine however busy


def operate(out, images, said):
    """Trains to the end, from where it was; a byte for every step."""
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    resume = (out / STATE).exists()
    for _ in train(images, TRAINING, out, validation=images, card=CARD_FACTS, resume=resume):
        said.send_bytes(b".")


def started(out, images):
    heard, said = server().Pipe(duplex=False)
    process = server().Process(target=operate, args=(out, images, said))
    process.start()
    said.close()
    return process, heard


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_training_that_was_killed_ends_as_if_it_had_not_been(tmp_path, kills):
    images = (torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    process, _ = started(tmp_path / "whole", images)
    process.join()
    chance, steps = random.Random(0), []
    for number in range(kills):
        out = tmp_path / str(number)
        process, heard = started(out, images)
        steps.append(chance.randrange(1, TRAINING.steps))
        for _ in range(steps[-1]):
            heard.recv_bytes()
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.join()
        if (out / STATE).exists():
            load_prior(out)
        process, _ = started(out, images)
        process.join()
        assert process.exitcode == 0
        assert_same_files(tmp_path / "whole", out)
    print(f"{kills} kills at steps {sorted(steps)} of {TRAINING.steps}: the same bytes")


@pytest.mark.slow
def test_two_processes_that_were_killed_train_on(tmp_path):
    """One of them dies; the other one ends with it; both resume."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 32, 32), np.float32))
    (tmp_path / "tiny.toml").write_text(f'name = "tiny"{TINY_TRAINING}'.replace("steps = 2", "steps = 30"))
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tomopilot")
    words = ("train", tmp_path / "images.npy", "--recipe", tmp_path / "tiny.toml", "--device", "cpu")
    command = [sys.executable, *launch, *map(str, words), "--out"]

    def done(out, *more):
        subprocess.run([*command, str(out), *more], check=True, capture_output=True, timeout=LONG)

    done(tmp_path / "whole")
    with subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.PIPE) as process:
        end = time.monotonic() + LONG
        while not (tmp_path / "killed" / STATE).exists():
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
        os.kill(int(children.split()[-1]), signal.SIGKILL)
        process.communicate(timeout=LONG)
        assert process.returncode != 0
    done(tmp_path / "killed", "--resume")
    for name in (STATE, WEIGHTS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
