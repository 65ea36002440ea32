"""Work for any executor: a lost worker's task is taken up by another, and failures wait for the others."""

import abc
import socket
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import TypeVar

LOSSES = 3  # workers that a task may lose
SAID = (ValueError, OSError, FloatingPointError, MemoryError)  # sentences for users; others are ours to mend


class Task(abc.ABC):
    """Something to do on any machine; done again, it continues where it was stopped."""

    @abc.abstractmethod
    def do(self) -> None: ...

    def __call__(self) -> Exception | None:
        """What went wrong. Nothing is raised, so whatever a future raises is the loss of its worker."""
        try:
            self.do()
        except Exception as error:
            if not isinstance(error, SAID):
                error.add_note(traceback.format_exc())
            return error
        return None

    def checkpoint(self) -> object:
        """For submitit, when SLURM takes the node away: the same again, which continues."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


Some = TypeVar("Some", bound=Task)


def carry_out(pool: Executor | None, tasks: Sequence[Some]) -> Iterator[tuple[Some, Exception | None]]:
    """Each task as it ends, with what went wrong; without a pool, here, where what goes wrong is raised."""
    if pool is None:
        for task in tasks:
            task.do()
            yield task, None
        return
    jobs: dict[Future[Exception | None], Some] = {pool.submit(task): task for task in tasks}
    lost = Counter[Some]()
    while jobs:
        for job in wait(jobs, return_when=FIRST_COMPLETED).done:
            task = jobs.pop(job)
            reason = _lost(job)
            lost[task] += reason is not None
            if reason is None:
                yield task, job.result()
            elif lost[task] < LOSSES:
                jobs[pool.submit(task)] = task
            else:
                yield task, OSError(f"lost {LOSSES} workers ({type(reason).__name__}: {reason})")


def _lost(job: "Future[Exception | None]") -> Exception | None:
    """Why a worker was lost; None where it was not."""
    try:
        job.result()
    except Exception as error:
        return error
    return None


def check_visible(*folders: Path) -> None:
    """Raises where a folder that the command works in does not exist here."""
    for folder in folders:
        if not folder.is_dir():
            raise OSError(f"{folder} is not visible on {socket.gethostname()}: use a folder that all share")


def first_failure(failed: Sequence[tuple[str, Exception]], out: Path) -> Exception:
    """The first of what failed, by its name; what was measured is in `out`."""
    (name, error), *others = failed
    kept = f"; {len(others)} others failed" if others else ""
    kept += f". What was measured is kept: tomopilot resume {out}"
    if isinstance(error, SAID):
        return type(error)(f"{name}: {error}{kept}")
    error.add_note(name + kept)
    return error
