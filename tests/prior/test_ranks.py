"""Several processes share each batch: the weights are those of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tomopilot.prior.trainer import Trainer
from tomopilot.prior.training import Training

STEPS = 3
SETUP = {
    "network": {"fold": 2, "widths": [8, 8], "layers": 1, "groups": 4},
    "batch": 4, "crop": 16, "steps": STEPS, "warmup": 1, "seed": 5, "precision": "float32",
}  # fmt: skip
CHILD = """
import os, sys
from pathlib import Path
import torch
from tomopilot.prior.ranks import joined, longest
sys.path.insert(0, sys.argv[1])
from test_ranks import trained
with joined(Path(sys.argv[2]), "cpu") as out:
    rank = int(os.environ["RANK"])
    assert longest(float(rank), torch.device("cpu")) == 1
    trained(Path(sys.argv[2]) / f"rank{rank}.safetensors")
    (out / "written").write_text(str(rank)) if out.is_dir() else None
"""


def trained(path: Path) -> None:
    """A training of a few steps, on pictures of noise; leaves its weights."""
    torch.set_num_threads(1)
    images = list(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)))
    trainer = Trainer(Training(**SETUP))
    losses = [trainer.update(images) for _ in range(STEPS)]
    weights = {name: value.contiguous() for name, value in trainer.network.state_dict().items()}
    safetensors.torch.save_file(weights | {"losses": torch.tensor(losses)}, path)


def test_two_processes_train_as_one(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = [sys.executable, *launch, str(tmp_path / "child.py"), str(Path(__file__).parent), str(tmp_path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=env)
    assert done.returncode == 0, done.stderr
    trained(tmp_path / "alone.safetensors")
    alone, first, second = (
        safetensors.torch.load_file(tmp_path / f"{name}.safetensors") for name in ("alone", "rank0", "rank1")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-5)
    start = Trainer(Training(**SETUP)).network.state_dict()
    assert max((alone[name] - start[name]).abs().max() for name in start) > 1e-4  # they have learnt something
    assert (tmp_path / "written").read_text() == "0"  # what others write is thrown away


@pytest.mark.parametrize("size", [2, 3])
def test_a_batch_is_shared_without_rest(size, monkeypatch):
    from tomopilot.prior import ranks

    monkeypatch.setattr(ranks, "several", lambda: True)
    monkeypatch.setattr(ranks.dist, "get_world_size", lambda: size)
    views = []
    for rank in range(size):
        monkeypatch.setattr(ranks.dist, "get_rank", lambda rank=rank: rank)
        views += [*range(7)][ranks.share(7)]
    assert sorted(views) == [*range(7)]
    with pytest.raises(ValueError, match=r"batch of 1 views .* larger batch"):
        ranks.share(1)
