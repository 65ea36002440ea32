"""A run that was killed goes on to the same numbers: scans and trainings, killed with SIGKILL."""

import json
import random
import sqlite3
import time
from pathlib import Path

import pytest

BUDGET = 3
LISTS = ["designs", "settings", "psnr", "ssim", "rmse", "spread", "network_evaluations"]
STEPS = 60
RECIPE = f"""
name = "tiny"
[training]
network = {{ fold = 2, widths = [8, 8], layers = 1, groups = 4 }}
batch = 2
crop = 16
steps = {STEPS}
save_every = 5
validate_every = 20
warmup = 5
"""


@pytest.fixture(scope="module")
def words(tiny, pictures) -> tuple[object, ...]:
    """An adaptive scan of one picture with the paper's posterior."""
    image, short = (
        f"{pictures}::0",
        ("--budget", BUDGET, "--angles", 20, "--count", 2, "--start", 1, "--at", "all"),
    )
    return ("simulate", image, "--prior", tiny, *short)


@pytest.fixture(scope="module")
def numbers(shell, words, tmp_path_factory) -> dict:
    """Of the scan that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole")
    outcome = shell(*words, "--out", out)
    assert outcome.status == 0, outcome.err
    return numbers_of(out)


def numbers_of(out: Path) -> dict:
    (scan,) = json.loads((out / "summary.json").read_text())["images"]
    return {key: scan[key] for key in LISTS}


def record(out: Path) -> dict[str, dict]:
    """All rows of all tables of run.db by their keys, as stored."""
    with sqlite3.connect(out / "run.db", timeout=60) as connection:
        tables = {
            table: {row[:keys]: row[keys:] for row in connection.execute(f"select * from {table}")}
            for table, keys in (("about", 1), ("blocks", 2), ("steps", 2))
        }
    connection.close()
    return tables


def survives(before: dict[str, dict], after: dict[str, dict]) -> None:
    """Every row is still there, unchanged."""
    for table, rows in before.items():
        assert rows.items() <= after[table].items()


def first_step(process) -> None:
    """Waits until a step was taken, or the process has ended; before, it says what watches over the scan."""
    while (line := process.stderr.readline()) and f"/{BUDGET}" not in line:
        pass


def test_a_killed_scan_is_resumed(start, shell, words, numbers, tmp_path):
    process = start(*words, "--out", tmp_path)
    first_step(process)
    process.kill()
    process.communicate()
    before = record(tmp_path)
    assert 1 <= len(before["steps"]) <= len(before["blocks"]) < BUDGET
    assert not (tmp_path / "summary.json").exists()
    outcome = shell("resume", tmp_path)
    assert outcome.status == 0, outcome.err
    survives(before, record(tmp_path))
    assert numbers_of(tmp_path) == numbers


def test_a_measurement_that_was_not_judged_is_not_taken_again(call, words, tmp_path):
    """Killed between a block and its step, which no clock can be asked for."""
    words = (*words, "--posterior", "tv", "--policy", "random", "--out")
    assert call(*words, tmp_path / "whole").status == 0
    assert call(*words, tmp_path / "cut").status == 0
    with sqlite3.connect(tmp_path / "cut" / "run.db") as connection:
        connection.execute("delete from steps where number > 1")
        connection.execute("delete from blocks where number > 2")
    connection.close()
    before = record(tmp_path / "cut")
    assert call("resume", tmp_path / "cut").status == 0
    survives(before, record(tmp_path / "cut"))
    assert numbers_of(tmp_path / "cut") == numbers_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_resumed_comparison_shows_the_same_estimates(call, pictures, tmp_path):
    """Killed once before the estimate halfway, once after it; also with two workers."""
    words = ("compare", f"{pictures}::0-1", "--posteriors", "tv,fbp", "--policies", "uniform", "--angles", 20)
    words = (*words, "--budget", 4, "--at", "2,4", "--out")
    assert call(*words, tmp_path / "whole").status == 0
    assert call(*words, tmp_path / "two", "--workers", 2).status == 0
    shown = [f"estimates-{count}.png" for count in (2, 4)]
    for judged in (1, 3):
        cut = tmp_path / f"cut{judged}"
        assert call(*words, cut).status == 0
        with sqlite3.connect(cut / "run.db") as connection:
            connection.execute("delete from steps where number > ?", (judged,))
            connection.execute("delete from blocks where number > ?", (judged + 1,))
            connection.execute("delete from estimates where number > ?", (judged,))
        connection.close()
        for name in shown:
            (cut / name).unlink()
        assert call("resume", cut).status == 0
    whole = [(tmp_path / "whole" / name).read_bytes() for name in shown]
    for out in ("two", "cut1", "cut3"):
        assert [(tmp_path / out / name).read_bytes() for name in shown] == whole


@pytest.mark.slow
def test_scans_killed_fifty_times(start, shell, words, numbers, tmp_path, capsys):
    """Five scans, each ten times: at random instants after the first step that is seen."""
    chance, ended = random.Random(0), 0
    for scan in range(5):
        out, before = tmp_path / str(scan), {}
        for kill in range(10):
            process = start(*(("resume", out) if kill else (*words, "--out", out)))
            first_step(process)
            time.sleep(chance.uniform(0, 0.5))
            ended += process.poll() is not None
            process.kill()
            process.communicate()
            survives(before, record(out))
            before = record(out)
        outcome = shell("resume", out)
        assert outcome.status == 0, outcome.err
        survives(before, record(out))
        assert numbers_of(out) == numbers
    with capsys.disabled():
        print(f"\n50 kills of 5 scans ({ended} had ended): numbers of all equal, no row lost")


# Training


@pytest.fixture(scope="module")
def training(pictures, tmp_path_factory) -> tuple[object, ...]:
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    recipe.write_text(RECIPE)
    return ("train", pictures, "--recipe", recipe, "--device", "cpu")


@pytest.fixture(scope="module")
def weights(shell, training, tmp_path_factory) -> bytes:
    """Of the training that nobody interrupted."""
    out = tmp_path_factory.mktemp("trained")
    outcome = shell(*training, "--out", out)
    assert outcome.status == 0, outcome.err
    return (out / "prior.safetensors").read_bytes()


def wait_for(path: Path, process) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def steps_of(out: Path) -> int:
    return json.loads((out / "card.json").read_text())["steps"]


def test_a_killed_training_is_resumed(start, shell, training, weights, tmp_path):
    process = start(*training, "--out", tmp_path)
    wait_for(tmp_path / "card.json", process)
    process.kill()
    process.communicate()
    assert 0 < steps_of(tmp_path) < STEPS
    outcome = shell(*training, "--out", tmp_path, "--resume")
    assert outcome.status == 0, outcome.err
    assert steps_of(tmp_path) == STEPS
    assert (tmp_path / "prior.safetensors").read_bytes() == weights
    history = [entry["step"] for entry in json.loads((tmp_path / "history.json").read_text())]
    assert history == [*range(20, STEPS + 1, 20)]


def test_a_history_cut_short_does_not_block_the_resume(call, training, tmp_path):
    """What a kill while it was written, or a full disk, leaves."""
    short = (*training, "--out", tmp_path, "--steps")
    assert call(*short, 5).status == 0
    history = tmp_path / "history.json"
    history.write_text(history.read_text()[:10])
    outcome = call(*short, 10, "--resume")
    assert outcome.status == 0, outcome.err


@pytest.mark.slow
def test_a_training_killed_ten_times(start, shell, training, weights, tmp_path):
    chance = random.Random(0)
    process = start(*training, "--out", tmp_path)
    wait_for(tmp_path / "state.safetensors", process)
    for _ in range(10):
        process.kill()
        process.communicate()
        process = start(*training, "--out", tmp_path, "--resume")
        time.sleep(chance.uniform(4, 9))
    process.kill()
    process.communicate()
    outcome = shell(*training, "--out", tmp_path, "--resume")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "prior.safetensors").read_bytes() == weights
