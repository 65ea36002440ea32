"""A record that was damaged or changed gives the same numbers or a sentence, never other numbers."""

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

LISTS = ("designs", "psnr")
SHORT, LONG = 12, 50


@pytest.fixture(scope="module")
def words(tiny, pictures) -> tuple[object, ...]:
    short = ("--budget", 4, "--angles", 20, "--count", 2, "--start", 1, "--at", "all")
    return ("simulate", f"{pictures}::0", "--prior", tiny, "--posterior", "soft(steps=3)", *short)


@pytest.fixture(scope="module")
def whole(call, words, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("damage") / "whole"
    outcome = call(*words, "--out", out)
    assert outcome.status == 0, outcome.err
    return out


@pytest.fixture(scope="module")
def half(whole) -> Path:
    """The record of the same scan, stopped after its second measurement."""
    out = whole.with_name("half")
    out.mkdir()
    shutil.copy(whole / "run.db", out)
    with sqlite3.connect(out / "run.db", isolation_level=None) as connection:
        for table in ("steps", "blocks"):
            connection.execute(f"delete from {table} where number > 2")
        connection.execute("delete from estimates")
        connection.execute("delete from draws")
        connection.execute("vacuum")
    connection.close()
    return out


def numbers_of(out: Path) -> dict:
    (scan,) = json.loads((out / "summary.json").read_text())["images"]
    return {key: scan[key] for key in LISTS}


def resumed(call, whole: Path, half: Path, out: Path, content: bytes) -> bool:
    """Whether a damaged record could be resumed; then its numbers are those of the scan nobody stopped."""
    out.mkdir()
    (out / "run.db").write_bytes(content)
    outcome = call("resume", out)
    if outcome.status:
        *_, last = outcome.err.strip().splitlines()  # after what watches and, perhaps, steps
        assert outcome.status == 2 and last.startswith("tomopilot:"), outcome
        assert "Traceback" not in outcome.err
        return False
    assert numbers_of(out) == numbers_of(whole)
    return True


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut short, or with one bit turned."""
    place = chance.randrange(len(content))
    if chance.random() < 0.4:
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def tried(count: int, seed: int, call, whole: Path, half: Path, tmp_path: Path) -> int:
    content, chance = (half / "run.db").read_bytes(), random.Random(seed)
    outs = (tmp_path / str(number) for number in range(count))
    return sum(resumed(call, whole, half, out, damaged(content, chance)) for out in outs)


def test_the_undamaged_half_is_resumed(call, whole, half, tmp_path):
    assert resumed(call, whole, half, tmp_path / "out", (half / "run.db").read_bytes())


def test_damage(call, whole, half, tmp_path):
    assert tried(SHORT, 0, call, whole, half, tmp_path) < SHORT


@pytest.mark.slow
def test_much_damage(call, whole, half, tmp_path):
    assert tried(2 * LONG, 1, call, whole, half, tmp_path) < 2 * LONG


EDITS = {
    "changed after the run started": lambda about: {**about, "run": about["run"].replace("20", "30")},
    "by another version": lambda about: {"plan": "{}", "version": "0.0.9"},
    "by another version of tomopilot (unknown)": lambda about: 5,
}


@pytest.mark.parametrize("said", EDITS)
def test_a_plan_that_was_edited_is_rejected(said, call, half, tmp_path):
    shutil.copy(half / "run.db", tmp_path)
    with sqlite3.connect(tmp_path / "run.db", isolation_level=None) as connection:
        ((value,),) = connection.execute("select value from about where key = 'run'").fetchall()
        connection.execute("update about set value = ?", (json.dumps(EDITS[said](json.loads(value))),))
    connection.close()
    outcome = call("resume", tmp_path)
    assert outcome.status == 2 and said in outcome.err, outcome
