"""A grid, and a training, on a real SLURM of one node, started from Debian's packages: docs/cluster.md."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from samples import TINY_TRAINING

from tomopilot.prior.checkpoint import WEIGHTS
from tomopilot.prior.trainer import STATE

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={other}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
LONG = 1500  # seconds after which a test gives up, on a machine however busy


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[None]:
    """A scheduler and a node, as long as the tests of this module run."""
    missing = [
        name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if missing or os.geteuid():
        pytest.skip(f"needs root, and SLURM of Debian's packages; missing: {', '.join(missing) or 'root'}")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, port=free_port(), other=free_port()))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    own = [f"--{name}={folder}/munge.{end}" for name, end in MUNGE.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        daemons = [
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for words in (["munged", "--foreground", "--force", *own], ["slurmctld", "-D"], ["slurmd", "-D"])
        ]
        try:
            wait_until(node_is_idle)
            yield
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(LONG)


MUNGE = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "SLURM does not answer"
        time.sleep(0.2)


def node_is_idle() -> bool:
    return "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout


def kill_a_job(out: Path, killed: list[int]) -> None:
    """Kills the process of a job once a scan has begun."""
    end = time.monotonic() + LONG
    while time.monotonic() < end and not [*out.glob("scans/*.db")]:
        time.sleep(0.05)
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        words = place.read_bytes().split(b"\0")
        if (
            b"submitit.core._submit" in words
            and str(out / "jobs").encode() in words
            and b"srun" not in words[0]
        ):
            killed.append(int(place.parent.name))
            os.kill(killed[0], signal.SIGKILL)
            return


def numbers(out: Path) -> list[tuple[str, ...]]:
    with open(out / "results.csv", newline="") as file:
        return [(row["image"], row["policy"], row["design"], row["psnr"]) for row in csv.DictReader(file)]


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_slurm_loses_a_job_and_no_scan(call, slurm, pictures, tmp_path, monkeypatch):
    """Without accounting: a job that is gone is missed in the queue."""
    pytest.importorskip("submitit")
    monkeypatch.setattr("tomopilot.scan.slurm.LOOKS", 3)
    words = ("--posteriors", "tv", "--policies", "uniform,random", "--angles", 20, "--budget", 10)
    words = ("compare", f"{pictures}::0", *words, "--at", "all", "--device", "cpu", "--out")
    killed: list[int] = []
    thread = threading.Thread(target=kill_a_job, args=(tmp_path / "many", killed), daemon=True)
    thread.start()
    outcome = call(*words, tmp_path / "many", "--on", "slurm(cpus=1, minutes=30)")
    assert outcome.status == 0 and killed, outcome.err
    assert call(*words, tmp_path / "one").status == 0
    assert len(numbers(tmp_path / "one")) == 20 and numbers(tmp_path / "many") == numbers(tmp_path / "one")
    assert len([*(tmp_path / "many" / "jobs").glob("*_submission.sh")]) >= 2  # the array, and the job again


JOB = """#!/bin/sh
if [ -e {out}/{state} ]; then more=--resume; fi
exec {python} -m tomopilot train {images} --recipe {recipe} --device cpu --out {out} $more
"""


@pytest.mark.fault
@pytest.mark.slow
def test_a_training_that_is_requeued_ends_as_if_it_had_not_been(slurm, tmp_path):
    """F14: the job is killed and queued again by SLURM; the weights are those of an undisturbed one."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 32, 32), np.float32))
    (tmp_path / "tiny.toml").write_text(f'name = "tiny"{TINY_TRAINING}'.replace("steps = 2", "steps = 300"))
    for name in ("whole", "requeued"):
        words = {"out": tmp_path / name, "state": STATE, "python": sys.executable}
        job = JOB.format(images=tmp_path / "images.npy", recipe=tmp_path / "tiny.toml", **words)
        (tmp_path / f"{name}.sh").write_text(job)
    subprocess.run(["sh", tmp_path / "whole.sh"], check=True, capture_output=True, timeout=LONG)
    options = ("--parsable", "--requeue", "--open-mode=append", "--output", tmp_path / "log")
    sbatch = ["sbatch", *options, tmp_path / "requeued.sh"]
    job = subprocess.run(sbatch, check=True, capture_output=True, text=True).stdout.strip()
    wait_until(lambda: (tmp_path / "requeued" / STATE).exists())
    subprocess.run(["scontrol", "requeue", job], check=True)
    wait_until(lambda: job not in subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout)
    assert "DUE TO JOB REQUEUE" in (tmp_path / "log").read_text()
    for name in (STATE, WEIGHTS):
        whole, requeued = (tmp_path / each / name for each in ("whole", "requeued"))
        assert whole.read_bytes() == requeued.read_bytes(), name


@pytest.mark.slow
def test_a_scheduler_that_is_not_there(call, pictures, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none"))
    words = ("--posterior", "fbp", "--policy", "uniform", "--budget", 2, "--out", tmp_path / "run")
    outcome = call("simulate", f"{pictures}::0", *words, "--on", "slurm")
    assert outcome.status == 2 and "no SLURM answers here" in outcome.err
    assert not (tmp_path / "run").exists()
