"""A grid over several workers: the numbers of one, whoever is killed on the way."""

import csv
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
from tomopilot.scan.plan import plan_of
from tomopilot.scan.spread import LOSSES, SCANS, follow_all

CLOCKS = {"seconds", "estimate_seconds"}
LONG = 900  # seconds after which a test gives up, on a machine however busy


@pytest.fixture(scope="module")
def words(pictures) -> tuple[object, ...]:
    """Four scans, of a few seconds each."""
    grid = (f"{pictures}::0-1", "--posteriors", "tv", "--policies", "uniform,random")
    return ("compare", *grid, "--angles", 40, "--budget", 10, "--at", "all", "--device", "cpu")


@pytest.fixture(scope="module")
def alone(call, words, tmp_path_factory) -> list[dict]:
    """The rows of one worker."""
    out = tmp_path_factory.mktemp("alone")
    assert call(*words, "--out", out).status == 0
    return rows_of(out)


def rows_of(out: Path) -> list[dict]:
    """The numbers of a finished run, which has kept no record but its own."""
    assert not (out / SCANS).exists() and not (out / "lock").exists()
    with open(out / "results.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in CLOCKS} for row in csv.DictReader(file)]
    with closing(sqlite3.connect(out / "run.db")) as record:
        for table in ("blocks", "steps"):
            assert record.execute(f"select count(*) from {table}").fetchone() == (len(rows),)
    return rows


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


def test_a_killed_worker_loses_no_scan(call, words, alone, tmp_path):
    with killing(tmp_path, children) as killed:
        outcome = call(*words, "--on", "local:2", "--out", tmp_path)
    assert outcome.status == 0, outcome.err
    assert killed and rows_of(tmp_path) == alone


def test_a_killed_run_is_resumed_with_other_workers(start, call, words, alone, tmp_path):
    """Begun by one process, continued by two, and ended by one; nothing is measured twice."""
    process = start(*words, "--out", tmp_path)
    while (line := process.stderr.readline()) and "3/10" not in line:
        pass
    process.kill()
    process.communicate()
    process = start("resume", tmp_path, "--on", "local:2")
    end = time.monotonic() + LONG
    while time.monotonic() < end and sum(steps_in(p) > 4 for p in tmp_path.glob(f"{SCANS}/*.db")) < 2:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    outcome = call("resume", tmp_path)
    assert outcome.status == 0, outcome.err
    assert rows_of(tmp_path) == alone


def test_a_folder_has_one_writer(call, start, words, tmp_path):
    process = start(*words, "--out", tmp_path)
    while (line := process.stderr.readline()) and "1/10" not in line:
        pass
    outcome = call("resume", tmp_path)
    process.kill()
    process.communicate()
    assert outcome.status == 2 and f"is being written by process {process.pid} of this" in outcome.err


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


def test_a_scan_that_kills_its_workers_is_given_up(small, tmp_path):
    with closing(Archive(tmp_path / "run.db")) as archive, Mortal(2) as pool:
        with pytest.raises(OSError, match=r"bars.npy::0 with tv and uniform lost 3 workers .*worker lost"):
            list(follow_all(small, archive, pool))
        assert pool.died == LOSSES
        assert [len(archive.steps(scan.key)) for scan in small.scans] == [0, 3, 3, 3]


# Clusters


@pytest.fixture
def short(pictures, tmp_path) -> tuple[object, ...]:
    """Two quick scans."""
    words = ("--posteriors", "fbp", "--policies", "uniform", "--angles", 20, "--budget", 3, "--device", "cpu")
    return ("compare", f"{pictures}::0-1", *words, "--out", tmp_path)


@pytest.mark.filterwarnings("default")
def test_dask_loses_a_worker_and_no_scan(call, words, alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:
        pids = lambda: [*client.run(os.getpid).values()]  # noqa: E731
        with killing(tmp_path, pids) as killed:
            outcome = call(*words, "--on", f"dask:{cluster.scheduler_address}", "--out", tmp_path)
    assert outcome.status == 0, outcome.err
    assert killed and rows_of(tmp_path) == alone


@pytest.mark.filterwarnings("default")
def test_no_scheduler_answers(call, short, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("tomopilot.scan.executors.SECONDS", 0.5)
    outcome = call(*short, "--on", "dask:tcp://127.0.0.1:9")
    assert outcome.status == 2 and "no dask scheduler answers at 'tcp://127.0.0.1:9'" in outcome.err
    assert not (tmp_path / "run.db").exists()


@pytest.mark.filterwarnings("default")
def test_jobs_of_submitit(call, short, tmp_path):
    """Without a cluster: the same files, the same way back."""
    pytest.importorskip("submitit")
    outcome = call(*short, "--on", "slurm(cluster='local')", "--json")
    assert outcome.status == 0, outcome.err
    assert len(rows_of(tmp_path)) == 6 and len(json.loads(outcome.out)["images"]) == 2
