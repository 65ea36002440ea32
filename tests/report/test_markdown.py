"""Pages in Markdown: what they say, against cells written by hand."""

import matplotlib.image
import numpy as np
import pytest

from tomopilot.report import markdown
from tomopilot.report.directions import Asked, agreement, by_chance, directions
from tomopilot.scan.paired import findings

FACTS = {"version": "0.1.0", "command": "tomopilot compare a.npz::0-1"}


def method(policy, psnrs, **others):
    curve = {str(n): {"psnr_mean": mean, "psnr_two_se": error} for n, (mean, error) in psnrs.items()}
    usual = {"posterior": "auto", "policy": policy, "prior": "chip-128", "adaptive": policy == "variance"}
    effort = {"seconds_per_step": 0.474, "choose_evaluations": 10.6, "measurements_to_30db": 9.62}
    estimate = {"estimate_seconds": 5.81, "estimate_evaluations": 150.0}
    return {**usual, "learned": True, "curve": curve, **effort, **estimate, **others}


def rows(policy, count, psnrs):
    named = {"posterior": "auto", "policy": policy, "prior": "chip-128", "seed": 0, "count": count}
    return [{**named, "image": image, "psnr": psnr} for image, psnr in zip("ab", psnrs, strict=True)]


METHODS = [
    method("variance", {5: (23.51, 3.04), 10: (30.6, None)}),
    method("uniform", {5: (21.92, 2.9)}, measurements_to_30db=None),
]
ROWS = [
    *rows("variance", 5, (20.0, 24.0)),
    *rows("uniform", 5, (19.0, 20.0)),
    *rows("variance", 10, (30, 31)),
]


def test_comparison():
    summary = {**FACTS, "methods": METHODS, "findings": findings(METHODS, ROWS)}
    page = markdown.comparison(summary, ROWS, ["psnr.png"])
    assert page.startswith("# Comparison\n") and "\n```\ntomopilot compare a.npz::0-1\n```\n" in page
    assert "2 methods, 2 images, 1 seed, up to 10 measurements" in page and "![psnr](psnr.png)" in page
    assert page.split("\n| ")[1:6] == [
        "method | 5 | 10 | to 30 dB | s to next (evaluations) | s estimate (evaluations) |",
        "--- | --- | --- | --- | --- | --- |",
        "auto + variance | 23.5 ± 3.0 | 30.6 | 9.6 | 0.47 (11) | 5.8 (150) |",
        "auto + uniform | 21.9 ± 2.9 | - | not reached | - | 5.8 (150) |"
        "\n\nDifferences on the same images and seeds, in dB ± two standard errors:\n",
        " | 5 |",
    ]
    assert page.endswith("| auto + variance minus auto + uniform | 2.5 ± 3.0 |\n")  # of 1 and 4


def test_what_nobody_has_is_left_out():
    bare = method("low-to-high", {5: (19.8, None)}, measurements_to_30db=None, estimate_seconds=None)
    assert markdown.table_of_methods({"a": bare}) == "| method | 5 |\n| --- | --- |\n| a | 19.8 |"
    assert markdown.table_of_differences([bare], rows("low-to-high", 5, (1, 2))) == ""


def test_study():
    lines = [{"count": 5, "z": 1.23456, "alarm": None}, {"count": 10, "z": None, "alarm": None}]
    page = markdown.study({**FACTS, "study": "calibration", "notes": ["Slow."]}, lines, ["z.png"])
    assert page.startswith("# Calibration\n") and page.endswith("\n\nSlow.\n") and "](z.png)" in page
    assert "| count | z |\n| --- | --- |\n| 5 | 1.235 |\n| 10 | - |" in page


def test_bars_in_names_do_not_end_cells():
    assert r"| a\|b |" in markdown.table({"name": ["a|b"]})


def test_priors():
    known = {"images_seen": 160000, "validation_loss": 0.04, "licence": "CC0"}
    errors = {"validation_mse": {"0.1": 1.0, "2.0": 9.0}, "linear_denoiser_mse": {"0.1": 4.0, "2.0": 9.0}}
    text = markdown.priors({"ours": known | errors, "mine": {}})
    assert "| prior | views | loss | licence of its data |" in text
    assert "| ours | 160,000 | 0.040 | CC0 |\n| mine | - | - | - |" in text
    assert "| prior | 0.1 | 2.0 |\n| --- | --- | --- |\n| ours | 0.50 | 1.00 |\n| mine | - | - |" in text
    assert "noise level" not in markdown.priors({"mine": {}})


def test_agreement():
    assert agreement([20.0, 200.0]) == pytest.approx(1)  # a beam and the opposite one
    assert agreement([20.0, 200.0], period=360.0) == pytest.approx(0)
    random = np.random.default_rng(0).uniform(0, 180, (4000, 16))
    found, (mean, most) = np.array([agreement(angles) for angles in random]), by_chance(16)
    assert found.mean() == pytest.approx(mean, rel=0.03)
    assert (found < most).mean() == pytest.approx(0.95, abs=0.01)


def test_directions(tmp_path):
    image = np.linspace(0, 1, 256).reshape(16, 16)
    (tmp_path / "a.png").write_bytes(directions([Asked("a::3", image, [10.0, 190.0, 90.0])], 180.0))
    assert matplotlib.image.imread(tmp_path / "a.png")[..., :3].std() > 0.02
