"""Scans with nothing to see, or nothing but noise, end like any other."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("few_steps")
FILES = {"results.csv", "summary.json", "report.html", "run.db"}


@pytest.mark.parametrize(
    ("posterior", "value", "noise"),
    [
        ("auto", 0.0, "relative:0.01"),
        ("auto", 1.0, "poisson:1"),
        ("soft", 0.0, "none"),
        ("tv", 0.0, "relative:0.01"),
        ("fbp", 0.5, "gaussian:100"),
    ],
)
def test_a_constant_image_measured_to_the_last_angle(posterior, value, noise, call, tiny, tmp_path):
    np.save(tmp_path / "flat.npy", np.full((16, 16), value, np.float32))
    policy = "uniform" if posterior in ("fbp", "tv") else "variance"
    words = ("--posterior", posterior, "--policy", policy, "--noise", noise, "--count", 2, "--start", 0)
    more = ("--prior", tiny, "--angles", 4, "--budget", 4, "--device", "cpu", "--json")
    outcome = call("simulate", tmp_path / "flat.npy", *words, *more, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    json.loads(outcome.out, parse_constant=pytest.fail)
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES
