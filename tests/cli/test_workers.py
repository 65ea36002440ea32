"""A grid over several workers: the numbers of one, whoever is killed on the way."""

import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tomopilot.files.archive import Archive
from tomopilot.scan.executors import executor
from tomopilot.scan.lock import locked
from tomopilot.scan.plan import plan_of
from tomopilot.scan.spread import SCANS, follow_all
from tomopilot.scan.tasks import LOSSES

CLOCKS = {"seconds", "estimate_seconds", "split"}
LONG = 900  # seconds after which a test gives up, on a machine however busy


@pytest.fixture
def plan(pictures):
    """Four scans, of a few seconds each."""
    grid = {"posteriors": ["tv"], "policies": ["uniform", "random"]}
    return plan_of([f"{pictures}::0-1"], **grid, angles=20, budget=8, device="cpu")


def rows_of(archive: Archive, plan) -> list[dict]:
    """The numbers of a finished run, which has kept no record but its own."""
    assert not (archive.path.parent / SCANS).exists()
    rows = [row for scan in plan.scans for row in archive.steps(scan.key)]
    assert sum(len(archive.blocks(scan.key)) for scan in plan.scans) == len(rows) == 4 * plan.budget
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


def alone(plan, folder: Path) -> list[dict]:
    """The rows of one worker."""
    with closing(Archive(folder / "alone.db")) as archive:
        list(follow_all(plan, archive))
        return rows_of(archive, plan)


def steps_in(path: Path) -> int:
    """How many steps a worker has recorded."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as record:
            return record.execute("select count(*) from steps").fetchone()[0]
    except sqlite3.Error:
        return 0  # just made, or just gathered


@contextmanager
def killing(out: Path, pids: Callable[[], list[int]]) -> Iterator[list[int]]:
    """Kills a worker once two scans have steps, and none is finished."""
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + LONG
        while time.monotonic() < end and not killed:
            if sum(steps_in(path) > 1 for path in out.glob(f"{SCANS}/*.db")) > 1:
                killed.append(pids()[0])
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.02)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield killed
    thread.join(LONG)


def children() -> list[int]:
    return [pid for process in multiprocessing.active_children() if (pid := process.pid)]


@pytest.mark.fault
def test_a_killed_worker_loses_no_scan(plan, tmp_path):
    with closing(Archive(tmp_path / "run.db")) as archive, executor("local:2", tmp_path) as pool:
        with killing(tmp_path, children) as killed:
            found = list(follow_all(plan, archive, pool))
        assert killed and len(found) == 4 * plan.budget
        assert rows_of(archive, plan) == alone(plan, tmp_path)


@pytest.mark.fault
@pytest.mark.slow
def test_a_killed_run_is_resumed_with_other_workers(start, plan, pictures, tmp_path):
    """Begun by two processes, continued by one; nothing is measured twice, and no process stays behind."""
    words = ("--posteriors", "tv", "--policies", "uniform,random", "--angles", 20, "--budget", plan.budget)
    more = ("--at", "all", "--device", "cpu", "--on", "local:2", "--out", tmp_path)
    process = start("compare", f"{pictures}::0-1", *words, *more)
    end = time.monotonic() + LONG
    while time.monotonic() < end and sum(steps_in(p) > 1 for p in tmp_path.glob(f"{SCANS}/*.db")) < 2:
        time.sleep(0.02)
    process.kill()
    process.communicate()  # ends once its workers have closed their output, too
    before = sum(map(steps_in, tmp_path.glob(f"{SCANS}/*.db")))
    with locked(tmp_path), closing(Archive(tmp_path / "run.db")) as archive:
        scans = follow_all(plan, archive)
        next(scans)
        assert sum(len(archive.steps(scan.key)) for scan in plan.scans) == before >= 4
        list(scans)
        assert rows_of(archive, plan) == alone(plan, tmp_path)


def test_a_folder_has_one_writer(call, tmp_path):
    (tmp_path / "run.db").touch()
    with locked(tmp_path):
        outcome = call("resume", tmp_path)
    assert outcome.status == 2 and f"is being written by process {os.getpid()} of this" in outcome.err


# Executors of others


@pytest.fixture
def small(pictures):
    """A plan of four quick scans."""
    return plan_of(
        [f"{pictures}::0-1"],
        posteriors=["tv", "fbp"],
        policies=["uniform"],
        angles=20,
        budget=3,
        device="cpu",
    )


def test_what_goes_wrong_in_one_scan_leaves_the_others(small, tmp_path, monkeypatch):
    """A worker that returns NaN."""
    from tomopilot.records import Draws
    from tomopilot.scan.parts import POSTERIORS

    class Broken:
        def sample(self, data, count, *, rng, previous=None):
            return Draws(torch.full((1, 32, 32), torch.nan), torch.full((32, 32), torch.nan))

    monkeypatch.setitem(POSTERIORS, "fbp", replace(POSTERIORS["fbp"], make=Broken))
    with closing(Archive(tmp_path / "run.db")) as archive:
        with ThreadPoolExecutor(2) as pool:
            rows, said = [], r"(?s)bars.npy::0 with fbp and uniform: .*NaN.*; 1 other.*kept: tomopilot resume"
            with pytest.raises(FloatingPointError, match=said):
                rows.extend(follow_all(small, archive, pool))
        kept = [len(archive.steps(scan.key)) for scan in small.scans]
        assert kept == [3, 0, 3, 0]
        monkeypatch.undo()
        assert len([*follow_all(small, archive)]) == 12


class Mortal(ThreadPoolExecutor):
    """Its workers die of the first scan."""

    def submit(self, fn, /, *args, **options):
        return super().submit(self.die if fn.index == 0 else fn)

    def die(self) -> None:
        self.died = getattr(self, "died", 0) + 1
        raise ConnectionError("worker lost")


@pytest.mark.fault
def test_a_scan_that_kills_its_workers_is_given_up(small, tmp_path):
    with closing(Archive(tmp_path / "run.db")) as archive, Mortal(2) as pool:
        with pytest.raises(OSError, match=r"bars.npy::0 with tv and uniform: lost 3 workers .*worker lost"):
            list(follow_all(small, archive, pool))
        assert pool.died == LOSSES
        assert [len(archive.steps(scan.key)) for scan in small.scans] == [0, 3, 3, 3]


# Clusters


@pytest.mark.fault
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
def test_dask_loses_a_worker_and_no_scan(plan, tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options, host="127.0.0.1") as cluster:
        with distributed.Client(cluster, timeout=LONG) as client:
            pids = [*client.run(os.getpid).values()]
        address = f"dask:{cluster.scheduler_address}"
        with closing(Archive(tmp_path / "run.db")) as archive, executor(address, tmp_path) as pool:
            with killing(tmp_path, lambda: pids) as killed:
                found = list(follow_all(plan, archive, pool))
            assert killed and len(found) == 4 * plan.budget
            assert rows_of(archive, plan) == alone(plan, tmp_path)


@pytest.mark.filterwarnings("default")
def test_no_scheduler_answers(call, pictures, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("tomopilot.scan.executors.SECONDS", 0.5)
    words = ("--posterior", "fbp", "--policy", "uniform", "--budget", 2, "--out", tmp_path / "run")
    outcome = call("simulate", f"{pictures}::0", *words, "--on", "dask:tcp://127.0.0.1:9")
    assert outcome.status == 2 and "no dask scheduler answers at 'tcp://127.0.0.1:9'" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("default")
def test_jobs_of_submitit(call, pictures, tmp_path):
    """Without a cluster: the same files, the same way back."""
    pytest.importorskip("submitit")
    words = ("--posterior", "fbp", "--policy", "uniform", "--budget", 3, "--out", tmp_path)
    outcome = call("simulate", f"{pictures}::0-1", *words, "--on", "slurm(cluster='local')", "--json")
    assert outcome.status == 0, outcome.err
    assert [len(scan["psnr"]) for scan in json.loads(outcome.out)["images"]] == [3, 3]
    assert not (tmp_path / SCANS).exists() and [*(tmp_path / "jobs").iterdir()]
