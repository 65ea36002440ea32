"""Jobs of SLURM as futures: what is submitted at about the same time is one job array."""

import logging
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from tomopilot.scan.parts import part

MINUTES = 60  # that a job may take, where nothing is said
SECONDS = 60.0  # that the scheduler has to answer
PAUSE = 1.0  # seconds between two looks at what jobs left
LOOKS = 30  # of them between two looks at the queue
QUEUE = ("squeue", "--me", "-h", "-r", "-o", "%i")  # the numbers of all own jobs
OPTIONS = {  # of slurm(...), by their names in submitit
    "minutes": "timeout_min", "cpus": "cpus_per_task", "memory": "mem_gb", "gpus": "gpus_per_node",
    "partition": "slurm_partition", "account": "slurm_account", "qos": "slurm_qos",
    "at_once": "slurm_array_parallelism", "more": "slurm_additional_parameters",
}  # fmt: skip


def slurm(text: str, folder: Path) -> Executor:
    """Jobs of the SLURM cluster that this machine submits to; `cluster='local'` tries it without one."""
    _, options = part(f"slurm{text}")
    cluster = options.pop("cluster", "slurm")
    unknown = [name for name in options if name not in OPTIONS]
    if unknown or cluster not in ("slurm", "local"):
        raise ValueError(
            f"--on is 'slurm{text}'; expected slurm with any of {', '.join(OPTIONS)}, as in slurm(minutes=60)"
        )
    try:
        from submitit import AutoExecutor
    except ImportError:
        raise ValueError("--on slurm needs the package submitit: pip install 'tomopilot[cluster]'") from None
    logging.getLogger("submitit").setLevel(logging.ERROR)  # standard output is for results
    if cluster == "slurm":
        _ping()
    try:
        auto = AutoExecutor(folder, cluster=cluster)
        asked = {OPTIONS[name]: value for name, value in options.items()}
        auto.update_parameters(**{"timeout_min": MINUTES, **asked})
    except (RuntimeError, ValueError, TypeError, AssertionError, NameError) as error:
        raise ValueError(f"--on is 'slurm{text}', which submitit does not accept: {error}") from None
    return Slurm(auto)


def _ping() -> None:
    """Raises where no scheduler answers."""
    try:
        asked = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=SECONDS)
        said = asked.stderr if asked.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        said = error
    if said is not None:
        raise OSError(
            f"no SLURM answers here ({said}); run the command where sbatch works, or use --on local:N"
        )


class Slurm(Executor):
    """Futures of what a submitit executor runs.

    A future raises where its job ended without a result: killed, out of time or memory, its node lost.
    """

    def __init__(self, auto: Any) -> None:
        self.auto, self.closed = auto, threading.Event()
        self.waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self.jobs: dict[Future[Any], Any] = {}
        self.missed: set[str] = set()  # jobs that were not in the queue, and had left nothing
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, fn, args))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the watch; jobs that are left are cancelled in any case, as nobody would hear of them."""
        self.closed.set()
        self.thread.join()
        for job in self.jobs.values():
            job.cancel(check=False)

    def _watch(self) -> None:
        looks = 0
        while not self.closed.wait(PAUSE):
            self._send()
            for future, job in [*self.jobs.items()]:
                self._settle(future, job)
            looks += 1
            if looks % LOOKS == 0 and self.auto.cluster == "slurm":
                self._look_for_lost()

    def _send(self) -> None:
        """All that is waiting, as one job array."""
        new = [self.waiting.popleft() for _ in range(len(self.waiting))]
        new = [one for one in new if one[0].set_running_or_notify_cancel()]
        if not new:
            return
        try:
            with self.auto.batch():
                jobs = [self.auto.submit(work, *args) for _, work, args in new]
        except Exception as error:  # of sbatch, in its own words
            for future, *_ in new:
                future.set_exception(error)
            return
        self.jobs |= {future: job for (future, *_), job in zip(new, jobs, strict=True)}

    def _settle(self, future: Future[Any], job: Any) -> None:
        try:
            if not job.done():
                return
            future.set_result(job.result())
        except Exception as error:  # no result: the future says why
            future.set_exception(error)
        del self.jobs[future]

    def _look_for_lost(self) -> None:
        """Gives up jobs that left the queue without a result; without accounting nothing else tells."""
        try:
            queue = subprocess.check_output(
                QUEUE, stderr=subprocess.DEVNULL, text=True, timeout=SECONDS
            ).split()
        except (OSError, subprocess.SubprocessError):
            return  # the scheduler is away for a while
        absent = {job.job_id for job in self.jobs.values()} - {*queue}
        for future, job in [*self.jobs.items()]:
            if job.job_id in absent & self.missed and not job.done():
                del self.jobs[future]
                future.set_exception(OSError(f"job {job.job_id} left the queue without a result"))
        self.missed = absent
