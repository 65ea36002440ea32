"""A grid of scans over any executor: one scan, one record; a lost worker's scans are taken up by another."""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tomopilot.files.archive import Archive
from tomopilot.scan.follow import follow
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.tasks import Task, carry_out, check_visible, first_failure

SCANS = "scans"  # folder of the records that workers write


@dataclass(frozen=True)
class Work(Task):
    """One scan of a plan, begun or continued, on any machine that sees `out`.

    Each execution has a record of its own, so that a worker which was only thought to be lost disturbs
    nobody; it continues the record that is furthest along.
    """

    plan: str  # as JSON
    index: int
    out: Path
    origin: Path  # where the names of files begin

    def do(self) -> None:
        check_visible(self.out / SCANS, self.origin)
        os.chdir(self.origin)
        plan = Plan.from_json(self.plan)
        scan, before = plan.scans[self.index], records(self.out, self.index)
        with closing(Archive(new_record(self.out, self.index))) as archive:
            for path in before:
                archive.take(path, scan.key, scan.halfway)
            for _ in follow(plan, scan, archive):
                pass


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
    failed: list[tuple[int, Exception]] = []
    for work, error in carry_out(pool, works):
        gather(archive, plan, out, work.index)
        if error is None:
            yield from archive.steps(plan.scans[work.index].key)
        else:
            failed.append((work.index, error))
    if failed:
        found = sorted(failed, key=lambda one: one[0])
        raise first_failure([(plan.named(plan.scans[index]), error) for index, error in found], out)


def _hand_out(archive: Archive, plan: Plan, work: Work) -> None:
    """A scan that was begun in this process is continued by a worker."""
    scan = plan.scans[work.index]
    if archive.size(scan.key, scan.halfway):
        with closing(Archive(new_record(work.out, work.index))) as begun:
            begun.take(archive.path, scan.key, scan.halfway)
