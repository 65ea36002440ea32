"""A tiny prior, tiny pictures, and the command line: in this process and in one of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

NETWORK = {"fold": 2, "widths": [8, 8], "layers": 1, "groups": 4}
ALONE = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Numbers do not depend on the machine's cores, and equal those of a process with OMP_NUM_THREADS=1."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms judge all that was predicted, also of scans that four measurements did not open."""
    monkeypatch.setattr("tomopilot.design.trust.OPENED", 0)


@pytest.fixture
def left_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior is left at its alarm, whatever else would have predicted."""
    monkeypatch.setattr("tomopilot.design.trust.TOO_BAD", 1e-9)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior with random weights, which takes images whose sides are multiples of 4."""
    from tomopilot.nets.folded import FoldedUNet
    from tomopilot.prior.checkpoint import save_prior

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FoldedUNet(**NETWORK)
    folder = tmp_path_factory.mktemp("priors") / "tiny"
    card = {"name": "tiny", "network": NETWORK, "prediction": "v", "range": [0.0, 1.0], "unit": "metal"}
    save_prior(folder, network, card)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of 32 x 32 pixels in one file, each of a few bars, with values in [0, 1]."""
    random = np.random.default_rng(0)
    images = np.zeros((6, 32, 32), np.float32)
    for image in images:
        for top, left, height, width in random.integers((2, 2, 2, 4), (24, 24, 8, 16), (7, 4)):
            image[top : top + height, left : left + width] = random.uniform(0.3, 1)
        image[:2] = image[-2:] = image[:, :2] = image[:, -2:] = 0
    path = tmp_path_factory.mktemp("pictures") / "bars.npy"
    np.save(path, images)
    return path


@pytest.fixture(scope="session")
def call() -> Callable[..., Outcome]:
    """Runs `tomopilot WORDS` in this process; what it would show as a traceback comes through."""
    from tomopilot.cli import main

    def call(*words: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["tomopilot", *map(str, words)])
            try:
                main()
                status = 0
            except SystemExit as stop:
                status = int(stop.code or 0)
        return Outcome(status, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m tomopilot WORDS` with one thread."""

    def start(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tomopilot", *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **ALONE})

    return start


@pytest.fixture(scope="session")
def shell(start) -> Callable[..., Outcome]:
    """Runs `python -m tomopilot WORDS` to its end."""

    def shell(*words: object) -> Outcome:
        process = start(*words)
        out, err = process.communicate(timeout=300)
        return Outcome(process.returncode, out, err)

    return shell


@pytest.fixture(scope="module")
def few_steps() -> Iterator[None]:
    """Estimates in five steps instead of fifty, for tests that look at the command alone."""
    from tomopilot.posterior.diffusion import DiffusionPosterior
    from tomopilot.posterior.guidance.soft import Soft
    from tomopilot.prior.schedule import ddpm
    from tomopilot.scan.parts import POSTERIORS

    def quick(prior, scale, **options):
        return DiffusionPosterior(prior, Soft(steps=5), ddpm(5, scale))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("prox", "moments", "soft"):
            patch.setitem(POSTERIORS, name, replace(POSTERIORS[name], make=quick))
        yield
