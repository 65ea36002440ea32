"""Scans with nothing to see, or nothing but noise, end like any other."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("few_steps")
FILES = {"results.csv", "summary.json", "report.html", "run.db"}


@pytest.mark.parametrize(
    ("posterior", "value", "noise"),
    [
        ("auto", 0.2, "relative:0.01"),
        ("auto", 1.0, "poisson:1"),
        ("soft", 0.2, "none"),
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


@pytest.mark.parametrize("scale", [0.0, 0.01, 0.0625])
def test_an_image_that_is_far_too_faint_is_rejected(scale, call, tiny, pictures, tmp_path):
    """It would score well whatever is drawn, and `--certain` would stop at once."""
    np.save(tmp_path / "faint.npy", scale * np.load(pictures)[0])
    words = ("--prior", tiny, "--budget", 3, "--out", tmp_path / "run")
    outcome = call("simulate", tmp_path / "faint.npy", *words)
    assert outcome.status == 2 and "knows images in [0, 1]" in outcome.err and "rescale" in outcome.err
    assert not (tmp_path / "run").exists()
