"""Where scans run: `local:2`, `dask:ADDRESS`, `slurm`; each an executor of `concurrent.futures`."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from tomopilot.scan.plan import check_size
from tomopilot.scan.slurm import slurm

SECONDS = 30.0  # that a scheduler has to answer


@contextmanager
def executor(on: str, folder: Path) -> Iterator[Executor | None]:
    """Where scans run, by name; None is this process, one scan after the other.

    What is said to jobs, and what they say, goes into `folder`. Work that has not begun when the context
    ends is withdrawn. Raises ValueError on an unknown name, OSError where no scheduler answers.
    """
    kind = re.split(r"[:(]", on)[0]
    if kind not in KINDS:
        raise ValueError(f"--on is {on!r}; expected local:2, dask:ADDRESS, slurm or slurm(minutes=60)")
    pool = KINDS[kind](on.removeprefix(kind).removeprefix(":"), folder)
    try:
        yield pool
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def local(text: str, folder: Path) -> Executor | None:
    """Processes of this machine, which share its cores."""
    if not re.fullmatch(r"-?\d+", text):
        raise ValueError(
            f"--on is 'local:{text}'; expected a number of scans at the same time, as in local:2"
        )
    check_size("workers", int(text))
    return Local(int(text)) if int(text) > 1 else None


class Local(ThreadPoolExecutor):
    """Threads, each with a process of its own: one that dies takes only its own work with it.

    A future whose process died raises BrokenProcessPool; what comes next has a new process.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.threads, self.mine = max(1, torch.get_num_threads() // workers), threading.local()
        self.pools: list[ProcessPoolExecutor] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        return super().submit(self._elsewhere, fn, *args, **options)

    def _elsewhere(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not hasattr(self.mine, "pool"):
            spawn = get_context("spawn")
            self.mine.pool = ProcessPoolExecutor(1, spawn, initializer=begin, initargs=(self.threads,))
            self.pools.append(self.mine.pool)
        try:
            return self.mine.pool.submit(work, *args, **options).result()
        except BrokenExecutor:
            del self.mine.pool
            raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        for pool in self.pools:
            pool.shutdown(wait)


def begin(threads: int) -> None:
    """Readies a process: its share of the cores, and an end with the process that it works for."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def dask(address: str, folder: Path) -> Executor:
    """The workers of a dask scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "--on dask needs the package distributed: pip install 'tomopilot[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise OSError(
            f"no dask scheduler answers at {address!r} ({error}); start one with `dask scheduler`, and give "
            "its address, as in dask:tcp://host:8786"
        ) from None
    return Dask(client, address)


class Dask(Executor):
    """Work for the client of a scheduler; when it ends, so does the client."""

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address, self.pool = client, address, client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        if self.client.status != "running":
            raise OSError(f"the dask scheduler at {self.address} is gone; start it, then resume the run")
        return self.pool.submit(fn, *args, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.pool.shutdown(wait and not cancel_futures)
        self.client.close()


KINDS: dict[str, Callable[[str, Path], Executor | None]] = {"local": local, "dask": dask, "slurm": slurm}
