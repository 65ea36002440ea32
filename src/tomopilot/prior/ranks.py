"""Training by several processes that torchrun starts: each computes its share of every batch."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


def several() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(out: Path, device: str) -> Iterator[Path]:
    """Joins the processes that torchrun started, and yields the folder to write to; alone, `out` itself.

    The first process writes to `out`. Each other one has a copy of what is there, which is thrown away.
    """
    if "RANK" not in os.environ:
        yield out
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            if dist.get_rank() and out.is_dir():
                shutil.copytree(out, copy)
            dist.barrier()
            yield copy if dist.get_rank() else out
    finally:
        dist.destroy_process_group()


def share(batch: int) -> slice:
    """Of a batch, what this process computes; raises ValueError where there is nothing for some."""
    if not several():
        return slice(None)
    if batch < dist.get_world_size():
        raise ValueError(
            f"a batch of {batch} views cannot be shared by {dist.get_world_size()} processes; start fewer, "
            "or set a larger batch in the recipe"
        )
    return slice(dist.get_rank(), None, dist.get_world_size())


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor by its sum over all processes."""
    if several():
        sums = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(sums)
        for tensor, total in zip(tensors, sums.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


def longest(seconds: float, device: torch.device) -> float:
    """The longest time of all processes, so that all stop at the same step."""
    if not several():
        return seconds
    found = torch.tensor(seconds, dtype=torch.float64, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.item()
