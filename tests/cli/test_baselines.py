"""The paper's baselines choose for themselves, go on where they were stopped, and say what they cannot do."""

import json
import sqlite3

import pytest

SHORT = ("--budget", 4, "--angles", 20, "--count", 3, "--start", 2, "--at", "all")
LAPLACE = "laplace(steps=5, again=2, width=2, climbs=1, probes=1, solves=5, rank=5)"
ALL = [
    pytest.param(LAPLACE, marks=pytest.mark.slow),
    "bootstrap(steps=5, again=2)",
    "swag(steps=5, again=2, every=2)",
]


def numbers_of(out) -> dict:
    (scan,) = json.loads((out / "summary.json").read_text())["images"]
    return {
        key: scan[key] for key in ("designs", "psnr", "spread", "expected_rmse", "surprise") if key in scan
    }


@pytest.mark.parametrize("posterior", ALL, ids=lambda text: text.partition("(")[0])
def test_a_scan_that_was_cut_goes_on_to_the_same_numbers(posterior, call, pictures, tmp_path):
    words = ("simulate", f"{pictures}::0", "--posterior", posterior, "--policy", "variance", *SHORT, "--out")
    outcome = call(*words, tmp_path / "whole")
    assert outcome.status == 0, outcome.err
    assert call(*words, tmp_path / "cut").status == 0
    with sqlite3.connect(tmp_path / "cut" / "run.db") as connection:
        for table in ("steps", "blocks", "estimates"):
            connection.execute(f"delete from {table} where number > 3")
        kept = connection.execute("select number from draws").fetchall()
    connection.close()
    assert kept == [(3,)]  # the samples that the fourth was chosen by, and the state they go on from
    numbers = numbers_of(tmp_path / "whole")
    assert len(numbers["designs"]) == 4 and numbers["psnr"]
    assert call("resume", tmp_path / "cut").status == 0
    assert numbers_of(tmp_path / "cut") == numbers


def test_laplace_is_not_for_k_space(call, pictures, tmp_path):
    outcome = call(
        "simulate", f"{pictures}::0", "--operator", "mri", "--posterior", "laplace", "--out", tmp_path / "run"
    )
    assert outcome.status != 0
    assert "laplace is for projections only; mri takes" in outcome.err


def test_options_are_checked_before_the_scan(call, pictures, tmp_path):
    outcome = call("simulate", f"{pictures}::0", "--posterior", "laplace(steps=0)", "--out", tmp_path / "run")
    assert outcome.status != 0
    assert "steps of laplace is 0; expected a whole number, 1 or more" in outcome.err
