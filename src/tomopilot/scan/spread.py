"""A grid of scans over any executor: one scan, one record; a lost worker's scans are taken up by another."""

import os
import secrets
import socket
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tomopilot.files.archive import Archive
from tomopilot.scan.follow import follow
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan

SCANS = "scans"  # folder of the records that workers write
LOSSES = 3  # workers that a scan may lose
SAID = (ValueError, OSError, FloatingPointError, MemoryError)  # sentences for users; others are ours to mend


@dataclass(frozen=True)
class Work:
    """One scan of a plan, begun or continued, on any machine that sees `out`.

    Each execution has a record of its own, so that a worker which was only thought to be lost disturbs
    nobody; it continues the record that is furthest along.
    """

    plan: str  # as JSON
    index: int
    out: Path
    origin: Path  # where the names of files begin

    def __call__(self) -> Exception | None:
        """What went wrong. Nothing is raised, so whatever a future raises is the loss of its worker."""
        try:
            self._follow()
        except Exception as error:
            if not isinstance(error, SAID):
                error.add_note(traceback.format_exc())
            return error
        return None

    def _follow(self) -> None:
        folder = self.out / SCANS
        if not (folder.is_dir() and self.origin.is_dir()):
            raise OSError(f"{self.out} is not visible on {socket.gethostname()}: use a folder that all share")
        os.chdir(self.origin)
        plan = Plan.from_json(self.plan)
        scan, before = plan.scans[self.index], records(self.out, self.index)
        with closing(Archive(new_record(self.out, self.index))) as archive:
            for path in before:
                archive.take(path, scan.key, scan.halfway)
            for _ in follow(plan, scan, archive):
                pass

    def checkpoint(self) -> object:
        """For submitit, when SLURM takes the node away: the same again, which continues."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def records(out: Path, index: int | str = "*") -> list[Path]:
    """The records that workers made of a scan, or of all."""
    return sorted((out / SCANS).glob(f"{index}-*.db"))


def new_record(out: Path, index: int) -> Path:
    return out / SCANS / f"{index}-{secrets.token_hex(4)}.db"


def gather(archive: Archive, plan: Plan, out: Path, index: int | str = "*") -> None:
    """Moves what workers recorded into the record of the run."""
    for path in records(out, index):
        scan = plan.scans[int(path.name.split("-")[0])]
        archive.take(path, scan.key, scan.halfway)
        for end in ("", "-journal", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)


def follow_all(plan: Plan, archive: Archive, pool: Executor | None = None) -> Iterator[Row]:
    """The rows of all scans, in the order they finish: by the workers of `pool`, or in this process.

    Finished scans are not run again, begun ones are continued. With workers, a scan that fails, or loses
    `LOSSES` of them, is reported once all others are done.
    """
    out = archive.path.resolve().parent
    gather(archive, plan, out)
    for scan in plan.scans:
        if pool is None or finished(archive, scan):
            yield from follow(plan, scan, archive)
    if pool is not None:
        left = [index for index, scan in enumerate(plan.scans) if not finished(archive, scan)]
        yield from _spread(plan, archive, out, pool, left)
    with suppress(OSError):  # jobs of a command that was killed may still be writing there
        (out / SCANS).rmdir()


def finished(archive: Archive, scan: Scan) -> bool:
    """Whether a scan has its estimate."""
    return archive.estimate(scan.key, len(archive.steps(scan.key))) is not None


def _spread(plan: Plan, archive: Archive, out: Path, pool: Executor, left: list[int]) -> Iterator[Row]:
    (out / SCANS).mkdir(exist_ok=True)
    works = [Work(plan.to_json(), index, out, Path.cwd()) for index in left]
    for work in works:
        _hand_out(archive, plan, work)
    jobs: dict[Future[Exception | None], Work] = {pool.submit(work): work for work in works}
    lost, failed = Counter[Work](), dict[Work, Exception]()
    while jobs:
        for job in wait(jobs, return_when=FIRST_COMPLETED).done:
            work = jobs.pop(job)
            reason = _lost(job)
            lost[work] += reason is not None
            if reason is not None and lost[work] < LOSSES:
                jobs[pool.submit(work)] = work
                continue
            gather(archive, plan, out, work.index)
            error = reason or job.result()
            if error is None:
                yield from archive.steps(plan.scans[work.index].key)
            else:
                failed[work] = error
    if failed:
        raise _told(plan, out, failed, lost)


def _hand_out(archive: Archive, plan: Plan, work: Work) -> None:
    """A scan that was begun in this process is continued by a worker."""
    scan = plan.scans[work.index]
    if archive.size(scan.key, scan.halfway):
        with closing(Archive(new_record(work.out, work.index))) as begun:
            begun.take(archive.path, scan.key, scan.halfway)


def _lost(job: Future[Exception | None]) -> Exception | None:
    """Why a worker was lost; None where it was not."""
    try:
        job.result()
    except Exception as error:
        return error
    return None


def _told(plan: Plan, out: Path, failed: dict[Work, Exception], lost: Counter[Work]) -> Exception:
    """The first failure, by the name of its scan."""
    (work, error), *others = sorted(failed.items(), key=lambda item: item[0].index)
    scan = plan.scans[work.index]
    name = f"{plan.label(scan.image)} with {scan.method.posterior} and {scan.method.policy}"
    kept = f"; {len(others)} other scans failed" if others else ""
    kept += f". What was measured is kept: tomopilot resume {out}"
    if lost[work] >= LOSSES:
        return OSError(f"{name} lost {LOSSES} workers ({type(error).__name__}: {error}){kept}")
    if isinstance(error, SAID):
        return type(error)(f"{name}: {error}{kept}")
    error.add_note(name + kept)
    return error
