"""Shared fixtures. Shapes in signatures are checked here, and only here, at run time."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads would wait for each other

import pytest
import torch
from jaxtyping import install_import_hook

# Readers of foreign files (prior.checkpoint, files) are left out: they are tested with wrong types.
ROOMS = (
    "measure", "prior.denoiser", "prior.schedule", "prior.augment", "posterior", "design",
    "simulate.instrument",
    "records", "experiment", "metrics",
)  # fmt: skip
install_import_hook([f"tomopilot.{room}" for room in ROOMS], "beartype.beartype")  # before any import of them


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = Path(os.environ.get("TOMOPILOT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the data sets; {folder} is not a folder (set TOMOPILOT_DATA)")
    return folder
