"""`bench`: what each study promises to leave behind, and what is refused."""

import csv
import json
import math
import shutil

import pytest

from tomopilot.bench.figures import FIGURES
from tomopilot.prior.checkpoint import read_card

pytestmark = pytest.mark.usefixtures("few_steps")
PROMISED = {
    "calibration": {"count", "spread_over_error", "coverage_50", "coverage_80", "coverage_90", "crps", "z"},
    "alarm": {"image", "foreign", "measurements", "alarm", "alarm_by", "delay", "peak", "surprise"},
    "certain": {"image", "count", "expected_rmse", "rmse", "psnr", "margin"},
    "speed": {
        "case",
        "size",
        "samples",
        "angles",
        "seconds",
        "cpu_seconds",
        "network_evaluations",
        "peak_mib",
    },
}
FACTS = {"version", "command", "seed", "device", "prior", "operator", "posterior", "noise"}


@pytest.fixture(scope="module")
def left(call, few_steps, tiny, pictures, tmp_path_factory):
    """Runs a study of the tiny pictures, which must succeed; its summary, its rows, and its folder."""

    def left(study, *words, images="0-1", prior=tiny):
        out = tmp_path_factory.mktemp("bench")
        outcome = call(
            "bench", study, f"{pictures}::{images}", "--prior", prior, "--out", out, "--device", "cpu", *words
        )
        assert outcome.status == 0, outcome.err
        with open(out / "results.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        summary = json.loads((out / "summary.json").read_text(), parse_constant=pytest.fail)
        assert {path.name: path.read_bytes()[:4] for path in out.glob("*.png")}
        page = (out / "results.md").read_text()
        assert summary["command"] in page and all(f"({path.name})" in page for path in out.glob("*.png"))
        assert PROMISED[study] <= rows[0].keys() and summary.keys() >= FACTS and summary["study"] == study
        return summary, rows, out, outcome

    return left


def test_calibration(left):
    words = ("--posteriors", "prox,soft", "--at", "3,6", "--count", 3, "--seed", 4, "--json")
    summary, rows, out, outcome = left("calibration", *words)
    assert json.loads(outcome.out) == summary
    assert [(row["posterior"], row["count"]) for row in rows] == 2 * [
        (posterior, count) for posterior in ("prox", "soft") for count in ("3", "6")
    ]
    assert {"coverage.png", "spread_over_error.png", "ranks.png"} <= {path.name for path in out.iterdir()}
    for method in summary["methods"]:
        for count, found in method["curve"].items():
            own = [r for r in rows if (r["posterior"], r["count"]) == (method["posterior"], count)]
            assert found["n"] == len(own) == 2 and sum(found["ranks"]) == pytest.approx(1)
            assert found["crps_mean"] == pytest.approx(sum(float(row["crps"]) for row in own) / 2)
            ratios = sorted(float(row["spread_over_error"]) for row in own)
            assert ratios[0] <= found["spread_over_error_pooled"] <= ratios[1]
    assert summary["coverage_floor"] == pytest.approx(
        {"coverage_50": 0, "coverage_80": 0.6, "coverage_90": 0.8}
    )


def test_alarm(left, pictures):
    """A prior whose card holds no alarm stays quiet; what would have been fitted is in the summary."""
    summary, rows, _, _ = left("alarm", "--at", "6", "--count", 2, "--foreign", f"{pictures}::2")
    assert [row["foreign"] for row in rows] == ["False", "False", "True"]
    assert [summary[kind]["scans"] for kind in ("known", "foreign")] == [2, 1]
    assert [row["alarm"] for row in rows] == [""] * 3 and {row["measurements"] for row in rows} == {"6"}
    assert summary["fitted"]["alarm"]["scout"].keys() == {"drift", "threshold"}
    for surprises in summary["surprises"].values():
        assert surprises[:4] == [None] * 4 and min(surprises[4:]) > 0  # predicted once samples are drawn


def test_scans_that_raise_the_alarm_are_counted_too(left, tiny, tmp_path):
    """Beyond an alarm a scan has no samples; a study of them looks at all scans alike."""
    wary = shutil.copytree(tiny, tmp_path / "wary")
    card = json.loads((wary / "card.json").read_text())
    card["trust"] = {"alarm": {"scout": {"drift": -20.0, "threshold": 0.0}}, "margin": {"scout:moments": 1.0}}
    (wary / "card.json").write_text(json.dumps(card))
    summary, rows, *_ = left("certain", "--at", "6,8,10", "--count", 2, prior=wary)
    assert summary["scans"] == 2 and [row["count"] for row in rows] == 2 * ["6", "8"]


def test_what_is_fitted_goes_into_the_card_and_is_applied(left, call, tiny, pictures, tmp_path):
    """Fitted factors make spread and error the same, an alarm and a margin are there for the next scan."""
    prior = shutil.copytree(tiny, tmp_path / "fitted")
    words = ("--posteriors", "auto", "--at", "3,6", "--count", 3)
    before, *_ = left("calibration", *words, "--into", prior, prior=prior)
    trust = read_card(prior)["trust"]
    assert trust["inflation"] == before["fitted"]["inflation"] and trust["inflation"]["moments"].keys() == {
        "3",
        "6",
    }
    assert trust["fitted"]["inflation"]["count"] == 3
    again = shutil.copytree(prior, tmp_path / "applied")  # priors are kept by name once loaded
    after, rows, *_ = left("calibration", *words, prior=again)
    for count in ("3", "6"):
        own = [float(row["spread_over_error"]) for row in rows if row["count"] == count]
        assert math.prod(own) == pytest.approx(1, abs=0.01)
        found, applied = after["fitted"]["inflation"]["moments"][count], trust["inflation"]["moments"][count]
        assert found == pytest.approx(applied, rel=0.01)
    _, rows, out, _ = left("certain", "--at", "6,8,10", "--count", 2, "--into", again, prior=again)
    assert [row["count"] for row in rows] == 2 * ["6", "8"] and "certainty.png" in {
        f.name for f in out.iterdir()
    }
    margin = read_card(again)["trust"]["margin"]["scout:moments"]
    ratios = [float(row["rmse"]) / float(row["expected_rmse"]) for row in rows]
    assert sorted(ratios)[2] <= margin <= max(ratios)
    assert read_card(again)["trust"]["inflation"] == trust["inflation"]
    last = shutil.copytree(again, tmp_path / "certain")
    wanted = 20 * math.log10(
        1 / (1.01 * margin * float(rows[0]["expected_rmse"]))
    )  # dB, just below the expected
    scan = (
        "--budget",
        10,
        "--at",
        10,
        "--count",
        2,
        "--certain",
        wanted,
        "--device",
        "cpu",
        "--out",
        tmp_path / "s",
    )
    outcome = call("simulate", f"{pictures}::0", "--prior", last, *scan)
    assert outcome.status == 0, outcome.err
    taken = json.loads((tmp_path / "s" / "summary.json").read_text())["images"][0]
    assert len(taken["designs"]) <= 6 and taken["expected_rmse"][-1] * margin <= 10 ** (-wanted / 20)
    assert all(e is None or e * margin > 10 ** (-wanted / 20) for e in taken["expected_rmse"][:-1])
    again = call("resume", tmp_path / "s")  # an ended scan stays ended
    assert again.status == 0, again.err
    assert (
        json.loads((tmp_path / "s" / "summary.json").read_text())["images"][0]["designs"] == taken["designs"]
    )


def test_certainty_needs_a_fitted_prior(call, tiny, pictures, tmp_path):
    words = ("simulate", f"{pictures}::0", "--prior", tiny, "--budget", 5, "--out", tmp_path / "s")
    outcome = call(*words, "--certain", 30)
    assert outcome.status == 2 and "tomopilot bench certain" in outcome.err and not (tmp_path / "s").exists()


def test_calibration_judges_the_estimates_of_compare(left, call, tiny, pictures, tmp_path):
    _, rows, _, _ = left("calibration", "--posteriors", "prox", "--at", "4", "--count", 2)
    words = ("--policies", "uniform", "--budget", 4, "--at", 4, "--count", 2, "--device", "cpu")
    outcome = call(
        "compare",
        f"{pictures}::0-1",
        "--prior",
        tiny,
        "--posteriors",
        "prox",
        "--out",
        tmp_path / "c",
        *words,
    )
    assert outcome.status == 0, outcome.err
    with open(tmp_path / "c" / "results.csv", newline="") as file:
        judged = [row["psnr"] for row in csv.DictReader(file) if row["psnr"]]
    assert [row["psnr"] for row in rows] == judged


def test_calibration_of_all_angles_predicts_none(left):
    _, rows, _, _ = left("calibration", "--posteriors", "prox", "--at", "180", "--count", 2, images="0")
    assert [row["z"] for row in rows] == [""]


def test_speed(left):
    summary, rows, out, outcome = left("speed", "--quick", "--posteriors", "soft,scout:prox")
    cases = list(dict.fromkeys(row["case"] for row in rows))
    assert cases[:5] == [
        "soft: choice, cold", "soft: estimate",
        "scout:prox: choice, cold", "scout:prox: choice, warm", "scout:prox: estimate",
    ]  # fmt: skip
    assert {"conjugate gradients", "projector: tomopilot", "projector: scikit-image"} <= {*cases}
    assert all(float(row["seconds"]) > 0 and float(row["peak_mib"]) >= 0 for row in rows)
    evaluations = {row["case"]: int(row["network_evaluations"]) for row in rows}
    assert evaluations["soft: choice, cold"] == evaluations["soft: estimate"] == 2 * 5
    assert 0 < evaluations["scout:prox: choice, warm"] < evaluations["scout:prox: choice, cold"]
    assert evaluations["conjugate gradients"] == evaluations["projector: tomopilot"] == 0
    sides = {int(row["size"]) for row in rows if row["case"].startswith("scout:prox")}
    assert sides == {32, 16}  # the picture's, and a phantom's
    pictures = {"seconds_by_size.png", "seconds_by_angles.png", "step_by_size.png"}
    assert pictures <= {path.name for path in out.iterdir()}
    assert all(note in outcome.err for note in summary["notes"])


def test_list(call):
    lines = call("bench", "--list").out.splitlines()
    assert [line.split()[0] for line in lines] == [*PROMISED, *FIGURES]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "the known ones are calibration, alarm, certain, speed"),
        ([], "calibration, alarm, certain, speed"),
        (["calibration"], "at least one image"),
        (["calibration", "phantom:chip", "--posteriors", "nobody"], "posterior 'nobody' is unknown"),
        (["calibration", "phantom:chip", "--posteriors", "tv"], "tv gives one image"),
        (["calibration", "phantom:chip", "--count", 1], "--count of at least 2"),
        (["calibration", "phantom:chip", "--posteriors", "auto:prox"], "posterior 'auto' is unknown"),
        (["calibration", "phantom:chip", "--posteriors", "a:b:c"], "expected one name, or two"),
        (["alarm", "phantom:chip", "--posteriors", "auto,soft"], "one at a time"),
        (["calibration", "phantom:chip", "--at", "5,200"], "200"),
        (["calibration", "phantom:chip", "--at", "few"], "'few'"),
    ],
)
def test_refused(words, said, call, tmp_path):
    outcome = call("bench", *words, "--out", tmp_path / "out", "--device", "cpu")
    assert outcome.status == 2 and outcome.out == "" and said in outcome.err, outcome
    assert len(outcome.err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_results_are_not_overwritten(call, tmp_path):
    (tmp_path / "results.csv").write_text("mine")
    outcome = call("bench", "calibration", "phantom:chip", "--out", tmp_path, "--device", "cpu")
    assert outcome.status == 2 and "already contains results" in outcome.err
    assert (tmp_path / "results.csv").read_text() == "mine"
