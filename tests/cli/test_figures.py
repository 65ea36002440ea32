"""The paper's figures from tiny images: what they leave, what they share, what they reject."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tomopilot.bench import protocol
from tomopilot.bench.doses import costs, table_of_doses
from tomopilot.bench.figures import FIGURES
from tomopilot.bench.protocol import PANELS, Scale

QUICK = {
    "auto": "auto",
    "bootstrap": "bootstrap(steps=5)",
    "soft": "soft(steps=2)",
    "tv": "tv(steps=5)",
}
HALF = ("chip/validation_rotated.npz::0-2:2", "chip/validation_rotated.npz::1-3:2")
FILES = ("images", "learned")  # of a panel
QUICK |= {name: name for name in ("hard", "inpaint", "zero-filled", "swag")}


@pytest.fixture(scope="module")
def data(pictures, tmp_path_factory):
    """A folder with a few pictures in the place of each validation set."""
    folder, images = tmp_path_factory.mktemp("data"), np.load(pictures)
    for panel in PANELS.values():
        for named in filter(None, (getattr(panel, key) for key in FILES)):
            path = folder / named.partition("::")[0]
            path.parent.mkdir(exist_ok=True)
            np.savez(path, images=images[:4])
    return folder


@pytest.fixture(autouse=True)
def small(data, monkeypatch, few_steps):
    monkeypatch.setenv("TOMOPILOT_DATA", str(data))
    for name, panel in PANELS.items():
        quick = [QUICK[posterior] for posterior in panel.posteriors if posterior in QUICK]
        few = {key: value.partition("::")[0] for key in FILES if (value := getattr(panel, key))}
        monkeypatch.setitem(PANELS, name, replace(panel, posteriors=tuple(quick[:2]), **few))


@pytest.fixture
def bench(call, tiny, tmp_path):
    words = ("--images", 1, "--budget", 3, "--count", 2, "--prior", tiny, "--device", "cpu")

    def bench(name, *more, out=tmp_path / "paper"):
        outcome = call("bench", name, "--out", out, *words, *more)
        assert outcome.status == 0, outcome.err
        return outcome

    return bench


@pytest.mark.slow
def test_figures_share_what_is_finished(bench, tmp_path):
    """The table says how many measurements; nothing that the figure ran is run again."""
    folder = tmp_path / "paper"
    outcome = bench("fig12")
    assert (folder / "fig12.png").is_file() and "chip: 1 of 30 images, 3 of 100 measurements" in outcome.out
    before = {path: path.read_bytes() for path in folder.glob("*/results.csv")}
    assert len(before) == 3
    assert "| method | chip | composite | lung |" in bench("table1").out
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.slow
def test_another_scale_is_another_folder(bench, call, tiny, tmp_path):
    bench("fig6")
    words = ("--images", 2, "--budget", 3, "--count", 2, "--prior", tiny, "--device", "cpu")
    outcome = call("bench", "fig6", "--out", tmp_path / "paper", *words)
    assert outcome.status == 2 and "contains a comparison of other images or settings" in outcome.err


def test_images_are_spread_over_their_file(tiny, tmp_path):
    made = protocol.plan("chip", Scale(2, 3, 2, (str(tiny),)), tmp_path)
    assert [image.rpartition("::")[2] for image in made.images] == ["0", "2"]
    assert made.at == (1, 2, 3) and made.budget == 3


def test_an_order_is_learned_on_other_images(tiny, tmp_path, monkeypatch):
    """Of turned chips, on the other half of the file: every design is there twice."""
    monkeypatch.setitem(PANELS, "half", replace(PANELS["rotated-best"], images=HALF[0], learned=HALF[1]))
    made = protocol.plan("half", Scale(9, 3, 2, (str(tiny),)), tmp_path)
    assert [image.rpartition("::")[2] for image in made.images] == ["0", "2"]
    (order,) = (method.policy for method in made.methods if method.policy.startswith("population"))
    assert order.endswith('validation_rotated.npz::1-3:2")')


def test_dose_is_counted_to_a_quality_that_all_reach():
    """20 measurements of 2 s each and an estimate of 5, against 30 without choosing and an estimate of 1."""
    curve = {"10": {"psnr_mean": 20.0}, "30": {"psnr_mean": 32.0}}
    late = {"10": {"psnr_mean": 20.0}, "30": {"psnr_mean": 26.0}}
    methods = {
        "a": {"curve": curve, "adaptive": True, "seconds_per_step": 2.0, "estimate_seconds": 5.0},
        "b": {"curve": late, "adaptive": False, "seconds_per_step": 0.1, "estimate_seconds": 1.0},
    }
    run = SimpleNamespace(methods=methods, panel=PANELS["chip"])
    assert costs(run) == {"a": (20.0, 45.0), "b": (30.0, 1.0)}
    assert table_of_doses({"chip": run})["chip, to 26.0 dB"] == ["20.0, 45 s", "30.0, 1 s"]


def test_angles_are_taken_from_the_comparison_before(bench, tmp_path):
    """Figure 11: the same estimate, by the angles that two models chose."""
    page = bench("fig11").out
    assert "soft(steps=2) + angles of auto+variance" in page
    assert (tmp_path / "paper" / "fig11.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(name, call, tmp_path):
    """With the shipped priors, which also have one of complex images."""
    words = ("--images", 1, "--budget", 3, "--count", 2, "--device", "cpu")
    outcome = call("bench", name, "--out", tmp_path, *words)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / f"{name}.md").is_file() and (name == "table1" or list(tmp_path.glob("*.png")))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fig4", "a.npy"), "fig4 has images of its own"),
        (("fig4", "--images", 0), "images is 0; expected at least 1"),
        (("fig4", "--count", 1), "count is 1; expected at least 2"),
        (("calibration", "a.npy", "--budget", 3), "are for figures of the paper, not for calibration"),
        (("fig3",), "study 'fig3' is unknown"),
        (("fig4", "--on", "moon"), "--on is 'moon'"),
    ],
)
def test_what_cannot_be_made(call, tmp_path, words, said):
    outcome = call("bench", *words, "--out", tmp_path / "out")
    assert outcome.status == 2 and said in outcome.err, outcome


def test_without_the_data_sets(call, tmp_path, monkeypatch):
    monkeypatch.setenv("TOMOPILOT_DATA", str(tmp_path))
    outcome = call("bench", "fig4", "--out", tmp_path / "out")
    assert outcome.status == 2 and "set TOMOPILOT_DATA" in outcome.err
