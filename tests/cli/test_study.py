"""`simulate` and `compare`: what they promise to leave behind; their numbers hang on the seed alone."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage.metrics import structural_similarity

COLUMNS = [
    "image",
    "posterior",
    "policy",
    "seed",
    "count",
    "design",
    "setting",
    "psnr",
    "ssim",
    "rmse",
    "spread",
    "seconds",
    "network_evaluations",
    "estimate_seconds",
]
FACTS = [
    "version",
    "command",
    "seed",
    "device",
    "prior",
    "operator",
    "posterior",
    "policy",
    "noise",
    "count",
    "images",
]
LISTS = ["designs", "settings", "psnr", "ssim", "rmse", "spread", "seconds", "network_evaluations"]
TIMES = {"seconds", "estimate_seconds", "split"}
BUDGET, ANGLES = 4, 20
SHORT = ("--budget", BUDGET, "--angles", ANGLES, "--count", 3, "--start", 1, "--at", "all", "--device", "cpu")


pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(scope="module")
def command(call, few_steps, tiny, pictures, tmp_path_factory):
    """Runs a study of image 0 (or of `images`) into a new folder, which must succeed; returns the folder."""

    def command(kind="simulate", *words, images=("0",)) -> Path:
        out = tmp_path_factory.mktemp("run")
        specs = [f"{pictures}::{chosen}" for chosen in images]
        prior = () if "--prior" in words else ("--prior", tiny)
        outcome = call(kind, *specs, *prior, "--out", out, *SHORT, *words)
        assert outcome.status == 0, outcome.err
        (out / "stdout").write_text(outcome.out)
        return out

    return command


@pytest.fixture(scope="module")
def first(command) -> Path:
    return command("simulate", "--json")


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text(), parse_constant=pytest.fail)


def rows_of(out: Path) -> list[dict[str, str]]:
    with open(out / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def numbers_of(out: Path) -> list[dict]:
    """All scans without what hangs on the clock."""
    return [{k: v for k, v in scan.items() if k not in TIMES} for scan in summary_of(out)["images"]]


def test_simulate_leaves_the_promised_files(first):
    left = {path.name for path in first.iterdir()}
    assert {"summary.json", "results.csv", "scan.h5", "report.html"} <= left
    assert any(name.endswith(".png") for name in left)
    assert "<img" in (first / "report.html").read_text()
    assert not [name for name in left if name.endswith((".part", ".partial"))]


def test_simulate_summary(first, tiny, pictures):
    summary = summary_of(first)
    assert not [key for key in FACTS if key not in summary]
    (scan,) = summary["images"]
    assert scan["image"] == f"{pictures.name}::0"
    assert scan["setting_unit"] == "degrees"
    assert {key: len(scan[key]) for key in LISTS} == dict.fromkeys(LISTS, BUDGET)
    named = (summary["prior"], summary["posterior"], summary["policy"], summary["noise"], summary["count"])
    assert named == (str(tiny), "auto", "variance", "relative:0.01", 3)
    assert scan["settings"] == pytest.approx([180 / ANGLES * design for design in scan["designs"]])
    assert scan["seconds"][-1] == 0 and min(scan["seconds"][:-1]) > 0
    assert scan["choose_evaluations"] == [3 * 15, 3 * 3, 3 * 3, 0]  # cold, then from the earlier samples
    assert scan["estimate_evaluations"] == [3 * 5] * BUDGET
    both = zip(scan["choose_evaluations"], scan["estimate_evaluations"], strict=True)
    assert scan["network_evaluations"] == [sum(pair) for pair in both]
    assert scan["surprise"][0] is None and min(scan["surprise"][1:]) > 0
    assert len(set(scan["designs"])) == BUDGET


def test_simulate_prints_its_summary_as_json(first):
    assert json.loads((first / "stdout").read_text()) == summary_of(first)


@pytest.mark.parametrize("kind", ["simulate", "compare"])
def test_results_table(kind, command, first):
    out = first if kind == "simulate" else command("compare", "--posteriors", "auto,fbp")
    rows = rows_of(out)
    assert [column for column in rows[0] if column != "prior"][: len(COLUMNS)] == COLUMNS
    scans = summary_of(out)["images"]
    assert len(rows) == BUDGET * len(scans)
    for scan, first_row in zip(scans, range(0, len(rows), BUDGET), strict=True):
        own = rows[first_row : first_row + BUDGET]
        assert [int(row["count"]) for row in own] == [*range(1, BUDGET + 1)]
        assert [int(row["design"]) for row in own] == scan["designs"]
        assert [float(row["psnr"]) for row in own] == scan["psnr"]
        assert {(row["image"], row["posterior"], row["policy"]) for row in own} == {
            (scan["image"], scan["posterior"], scan["policy"])
        }


def test_scan_file_holds_what_the_instrument_measured(first, pictures):
    from tomopilot.files.nexus import read_scan
    from tomopilot.measure.noise import Gaussian
    from tomopilot.measure.radon import Radon, half_turn
    from tomopilot.simulate.instrument import Simulated

    scan, (entry,) = read_scan(first / "scan.h5"), summary_of(first)["images"]
    truth, radon = torch.from_numpy(np.load(pictures)[0]), Radon(32, half_turn(ANGLES))
    rms = radon.forward(truth[None]).square().mean().sqrt().item()
    instrument = Simulated(truth, radon, Gaussian(0.01 * rms), seed=0, name=entry["image"])
    expected = torch.stack([instrument(design) for design in entry["designs"]])
    torch.testing.assert_close(torch.from_numpy(scan.projections), expected)
    np.testing.assert_allclose(scan.angles_deg, entry["settings"], rtol=1e-6)
    np.testing.assert_allclose(scan.settings_deg, np.arange(ANGLES) * 180 / ANGLES, rtol=1e-6)
    assert scan.samples.shape == (3, 32, 32)
    assert {"seed", "prior", "posterior", "policy", "noise", "command", "version"} <= scan.provenance.keys()
    assert scan.provenance["command"].startswith("tomopilot simulate")


def test_scores_of_the_scan_file_explain_the_designs(first):
    from tomopilot.files.nexus import read_scan

    scores, (entry,) = read_scan(first / "scan.h5").scores, summary_of(first)["images"]
    assert scores.shape == (BUDGET - 1, ANGLES)
    assert np.nanargmax(scores, 1).tolist() == entry["designs"][1:]
    taken = [np.flatnonzero(np.isnan(row)).tolist() for row in scores]
    assert taken == [sorted(entry["designs"][:step]) for step in range(1, BUDGET)]


def test_metrics_judge_the_written_reconstruction(first, pictures):
    from tomopilot.files.nexus import read_scan

    scan, (entry,) = read_scan(first / "scan.h5"), summary_of(first)["images"]
    truth = np.load(pictures)[0].astype(float)
    mse = ((scan.reconstruction - truth) ** 2).mean()
    similar = structural_similarity(scan.reconstruction.astype(float), truth, win_size=7, data_range=1.0)
    assert entry["psnr"][-1] == pytest.approx(-10 * np.log10(mse), rel=1e-5)
    assert entry["rmse"][-1] == pytest.approx(np.sqrt(mse), rel=1e-5)
    assert entry["ssim"][-1] == pytest.approx(similar, rel=1e-4)
    assert entry["spread"][-1] == pytest.approx(scan.samples.std(0, ddof=1).mean(), rel=1e-5)
    np.testing.assert_allclose(scan.uncertainty, scan.samples.std(0, ddof=1), rtol=1e-4, atol=1e-6)


def test_seed(command, first):
    from tomopilot.files.nexus import read_scan

    assert numbers_of(command()) == numbers_of(first)
    other = command("simulate", "--seed", 1)
    assert numbers_of(other)[0]["psnr"] != numbers_of(first)[0]["psnr"]
    projections = [read_scan(out / "scan.h5").projections for out in (first, other)]
    assert numbers_of(other)[0]["designs"][0] == numbers_of(first)[0]["designs"][0]
    assert np.abs(projections[0][0] - projections[1][0]).min() > 0


def test_a_real_process_prints_json_only(shell, tiny, pictures, tmp_path):
    words = ("--prior", tiny, "--out", tmp_path / "run", *SHORT, "--policy", "uniform", "--at", BUDGET)
    outcome = shell("simulate", f"{pictures}::0", *words, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out) == summary_of(tmp_path / "run")
    lines = outcome.err.splitlines()
    assert len(lines) == BUDGET + 1 and lines[-1].startswith("report: ")


def test_at_judges_these_counts_only(command, first):
    out = command("simulate", "--at", "2,4")
    (scan,), (full,) = numbers_of(out), numbers_of(first)
    assert scan["designs"] == full["designs"]
    for key in ("psnr", "ssim", "rmse", "spread"):
        assert scan[key] == [None, full[key][1], None, full[key][3]]
    assert [row["psnr"] == "" for row in rows_of(out)] == [True, False, True, False]


def test_at_spares_a_fixed_order_the_samples(command):
    """The last state is always judged."""
    (scan,) = numbers_of(command("simulate", "--policy", "uniform", "--at", "2"))
    assert scan["network_evaluations"] == [0, 3 * 5, 0, 3 * 5]


@pytest.mark.parametrize("policy", ["uniform", "random"])
@pytest.mark.parametrize("posterior", ["fbp", "tv"])
def test_without_a_prior(posterior, policy, call, pictures, tmp_path):
    words = ("--posterior", posterior, "--policy", policy, "--out", tmp_path, *SHORT)
    outcome = call("simulate", f"{pictures}::1", *words)  # no --prior: none is needed
    assert outcome.status == 0, outcome.err
    (scan,) = numbers_of(tmp_path)
    assert scan["prior"] is None and scan["spread"] == [None] * BUDGET
    assert scan["network_evaluations"] == [0] * BUDGET and len(set(scan["designs"])) == BUDGET
    assert scan["designs"][:3] == [0, 10, 5] or policy == "random"


def test_compare_grid(command):
    out = command("compare", "--posteriors", "auto,fbp,tv", "--policies", "variance,uniform", images=("0-1",))
    summary = summary_of(out)
    grid = [("auto", "variance"), ("auto", "uniform"), ("fbp", "uniform"), ("tv", "uniform")]
    assert [(method["posterior"], method["policy"]) for method in summary["methods"]] == grid
    own = [(scan["image"][-1], scan["posterior"], scan["policy"]) for scan in summary["images"]]
    assert sorted(own) == sorted((image, *cell) for image in "01" for cell in grid)
    assert len(rows_of(out)) == 2 * len(grid) * BUDGET
    left = {"summary.json", "results.csv", "results.md", "report.html", "psnr.png", "directions.png"}
    assert left <= {path.name for path in out.iterdir()}
    for method in summary["methods"]:
        judged = [
            scan["psnr"]
            for scan in summary["images"]
            if (scan["posterior"], scan["policy"]) == (method["posterior"], method["policy"])
        ]
        points = [method["curve"][str(count)] for count in range(1, BUDGET + 1)]
        assert [point["psnr_mean"] for point in points] == pytest.approx(np.mean(judged, 0))
        two_errors = 2 * np.std(judged, 0, ddof=1) / np.sqrt(2)
        assert [point["psnr_two_se"] for point in points] == pytest.approx(two_errors)


def test_compare_leaves_its_numbers_as_a_page(command):
    """The cells of results.md, from the rows of results.csv."""
    out = command("compare", "--posteriors", "auto", "--policies", "variance,uniform", images=("0-1",))
    page, found = (out / "results.md").read_text(), {}
    for row in rows_of(out):
        found.setdefault((row["policy"], int(row["count"])), []).append(float(row["psnr"]))
    quality = {key: np.array(pair) for key, pair in found.items()}  # of the two images
    shown = lambda pair: f"{pair.mean():.1f} ± {abs(pair[0] - pair[1]):.1f}"  # noqa: E731
    for policy in ("variance", "uniform"):
        cells = [shown(quality[policy, count]) for count in range(1, BUDGET + 1)]
        assert f"| auto + {policy} | {' | '.join(cells)} |" in page
    apart = [shown(quality["variance", n] - quality["uniform", n]) for n in range(1, BUDGET + 1)]
    assert f"| auto + variance minus auto + uniform | {' | '.join(apart)} |" in page
    assert summary_of(out)["command"] in page


def test_compare_gives_every_method_the_numbers_it_has_alone(command, first):
    (alone, *_) = numbers_of(command("compare", "--posteriors", "auto,fbp"))
    assert alone == numbers_of(first)[0]


def test_compare_of_two_priors(command, tiny, tmp_path):
    twin = tmp_path / "twin"
    twin.mkdir()
    for path in tiny.iterdir():
        (twin / path.name).write_bytes(path.read_bytes())
    words = (
        "--prior",
        tiny,
        "--prior",
        twin,
        "--posteriors",
        "auto,fbp",
        "--policies",
        "uniform",
        "--at",
        BUDGET,
    )
    out = command("compare", *words)
    assert summary_of(out)["prior"] == [str(tiny), str(twin)]
    ends = {row["prior"]: row["psnr"] for row in rows_of(out) if row["count"] == str(BUDGET)}
    assert set(ends) == {"", str(tiny), str(twin)} and ends[str(tiny)] == ends[str(twin)]


@pytest.mark.parametrize("noise", ["none", "relative:0.05", "gaussian:0.5", "poisson:10000"])
def test_noise(noise, command, pictures):
    from tomopilot.files.nexus import read_scan
    from tomopilot.measure.radon import Radon, half_turn

    out = command("simulate", "--posterior", "fbp", "--policy", "uniform", "--noise", noise)
    assert summary_of(out)["noise"] == noise
    scan, truth = read_scan(out / "scan.h5"), torch.from_numpy(np.load(pictures)[:1])
    radon = Radon(32, half_turn(ANGLES))
    everything = radon.forward(truth)[0].numpy()
    clean = everything[summary_of(out)["images"][0]["designs"]]
    error = scan.projections - clean
    if noise == "none":
        np.testing.assert_allclose(scan.projections, clean, rtol=1e-5, atol=1e-5)
        return
    attenuation = 4 / 32  # a ray along a whole row of ones is absorbed by exp(-4)
    std = {
        "relative:0.05": 0.05 * np.sqrt((everything**2).mean()),
        "gaussian:0.5": 0.5,
        "poisson:10000": np.sqrt(np.exp(attenuation * clean) / 10000) / attenuation,
    }[noise]
    assert ((error / std) ** 2).mean() == pytest.approx(1, abs=0.4)  # chi squared over 128 bins


def test_finer_is_close_to_coarse_but_no_inverse_crime(command):
    from tomopilot.files.nexus import read_scan

    words = ("simulate", "--posterior", "fbp", "--policy", "uniform", "--noise", "none", "--finer")
    coarse, fine = (read_scan(command(*words, finer) / "scan.h5").projections for finer in (1, 4))
    error = np.linalg.norm(fine - coarse) / np.linalg.norm(coarse)
    assert 1e-3 < error < 0.1


def test_bins(command):
    from tomopilot.files.nexus import read_scan

    scan = read_scan(command("simulate", "--bins", 46, "--at", BUDGET) / "scan.h5")
    assert scan.projections.shape == (BUDGET, 46) and scan.reconstruction.shape == (32, 32)


def test_two_images(command, first):
    out = command("simulate", images=("0", "2"))
    both = numbers_of(out)
    assert both[0] == numbers_of(first)[0] and both[1]["image"].endswith("::2")
    assert {"scan-0.h5", "scan-1.h5"} <= {path.name for path in out.iterdir()}
    assert len(rows_of(out)) == 2 * BUDGET


def test_all_angles_and_one_sample(command):
    """The corners of the range of options: nothing left to ask, nothing to compare."""
    words = ("--policy", "uniform", "--count", 1, "--angles", BUDGET)
    (scan,) = numbers_of(command("simulate", *words))
    assert sorted(scan["designs"]) == [*range(BUDGET)] and scan["spread"] == [None] * BUDGET


def test_start_takes_the_uniform_order_first(command):
    (scan,) = numbers_of(command("simulate", "--start", BUDGET))
    assert scan["designs"] == [0, 10, 5, 15]


def test_a_perfect_reconstruction_leaves_valid_json(call, tmp_path):
    """Its PSNR is infinite, which JSON cannot say."""
    np.save(tmp_path / "nothing.npy", np.zeros((32, 32), np.float32))
    words = ("--posterior", "tv", "--policy", "uniform", "--noise", "none", *SHORT)
    outcome = call("simulate", tmp_path / "nothing.npy", "--out", tmp_path / "run", *words, "--json")
    assert outcome.status == 0, outcome.err
    assert summary_of(tmp_path / "run") == json.loads(outcome.out, parse_constant=pytest.fail)


def test_an_existing_run_is_not_overwritten(call, first, tiny, pictures):
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    outcome = call("simulate", f"{pictures}::3", "--prior", tiny, "--out", first, *SHORT)
    assert outcome.status == 2 and f"tomopilot resume {first}" in outcome.err
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before


def test_resume_of_a_finished_run_changes_no_number(call, command):
    out = command()
    before, rows = numbers_of(out), rows_of(out)
    assert call("resume", out).status == 0
    assert numbers_of(out) == before and rows_of(out) == rows


def test_workers_give_the_same_numbers(command):
    words = ("compare", "--posteriors", "tv,fbp", "--policies", "uniform")
    one, two = (command(*words, "--workers", workers, images=("0-1",)) for workers in (1, 2))
    assert numbers_of(one) == numbers_of(two)


@pytest.mark.usefixtures("heard_at_once")
def test_strange_samples_raise_the_alarm(command, tiny, tmp_path):
    """A card that knows other moves: the first samples that were taken up again are strange."""
    wary = shutil.copytree(tiny, tmp_path / "strange")
    card = json.loads((wary / "card.json").read_text())
    known = {
        "mean": 9 * [50.0],
        "slopes": 9 * [[0.0, 0.0]],
        "precision": [[float(i == j) for i in range(9)] for j in range(9)],
    }
    card["trust"] = {
        "strangeness": {"scout": {**known, "drift": 0.0, "threshold": 1.0, "noise": [0.001, 0.1], "until": 9}}
    }
    (wary / "card.json").write_text(json.dumps(card))
    out = command("simulate", "--prior", wary)
    (scan,) = numbers_of(out)
    assert scan["alarm_by"] == "strangeness" and scan["alarm"] == 3
    assert "the prior moves the samples" in (out / "report.html").read_text()


@pytest.mark.usefixtures("heard_at_once", "left_at_once")
def test_what_a_prior_knows_of_trust_is_applied(command, first, tiny, tmp_path):
    """Twice the spread, as its card says; and an alarm that rings at once: no more samples from there."""
    wary = shutil.copytree(tiny, tmp_path / "wary")
    card = json.loads((wary / "card.json").read_text())
    card["trust"] = {
        "alarm": {"scout": {"drift": -20.0, "threshold": 0.0}},
        "inflation": {"moments": {"1": 2.0}},
    }
    (wary / "card.json").write_text(json.dumps(card))
    from tomopilot.design.policy import bisect_order

    out = command("simulate", "--prior", wary)
    (scan,), (trusting,) = numbers_of(out), numbers_of(first)
    assert trusting["alarm"] is None and trusting["alarm_by"] is None
    assert (scan["alarm"], scan["alarm_by"]) == (2, "surprise")  # the first measurement that was predicted
    assert scan["without_prior"] == 2 and trusting["without_prior"] is None
    assert scan["designs"][:2] == trusting["designs"][:2]
    assert scan["designs"][2:] == [d for d in bisect_order(ANGLES) if d not in scan["designs"][:2]][:2]
    assert (
        scan["spread"][0] == pytest.approx(2 * trusting["spread"][0])
        and scan["psnr"][0] == trusting["psnr"][0]
    )
    assert scan["spread"][1:] == [None] * 3
    assert "from measurement 2 on angles were taken in uniform order" in (out / "report.html").read_text()
    from tomopilot.files.nexus import read_scan

    scanned = read_scan(out / "scan.h5")
    assert scanned.samples.shape == (1, *scanned.reconstruction.shape)


def test_a_sample_has_a_name_not_a_place(command, pictures):
    from tomopilot.files.nexus import read_scan

    assert read_scan(command("simulate") / "scan.h5").name == f"{pictures.name}::0"


def test_the_pixel_size_of_the_image_is_that_of_the_scan(call, tiny, pictures, tmp_path):
    from tomopilot.files.nexus import read_scan

    path = tmp_path / "sized.tif"
    options = {"photometric": "minisblack", "resolution": (1e4, 1e4), "resolutionunit": 3}
    tifffile.imwrite(path, np.load(pictures), **options)
    words = ("--prior", tiny, "--out", tmp_path / "run", *SHORT)
    assert call("simulate", f"{path}::0", *words).status == 0
    assert read_scan(tmp_path / "run" / "scan.h5").pixel_size == pytest.approx(1e-6)
    assert summary_of(tmp_path / "run")["pixel_sizes"] == {"sized.tif::0": pytest.approx(1e-6)}


def test_a_pixel_size_that_is_not_the_priors_is_said_everywhere(call, tiny, pictures, tmp_path):
    """Also when the run is taken up again; no size at all claims nothing."""
    from tomopilot.files.nexus import read_scan

    sized, out = shutil.copytree(tiny, tmp_path / "sized"), tmp_path / "run"
    card = json.loads((sized / "card.json").read_text())
    (sized / "card.json").write_text(json.dumps(card | {"pixel_size": "0.04 to 0.15 um"}))
    words = ("simulate", f"{pictures}::0", "--prior", sized, "--policy", "uniform", *SHORT)
    outcome = call(*words, "--pixel-size", "2um", "--out", out)
    said = "bars.npy::0: the pixel size is 2 um, but prior tiny was trained on 0.04 to 0.15 um"
    assert outcome.status == 0 and said in outcome.err and said in call("resume", out).err
    assert said in summary_of(out)["notices"][0] and said in (out / "report.html").read_text()
    assert read_scan(out / "scan.h5").pixel_size == pytest.approx(2e-6)
    outcome = call(*words, "--out", tmp_path / "plain")
    assert "pixel size" not in outcome.err and summary_of(tmp_path / "plain")["notices"] == []
    assert read_scan(tmp_path / "plain" / "scan.h5").pixel_size is None


def test_a_replay_takes_the_angles_and_ends_with_their_order(command):
    """Recorded among 20 angles, replayed among 40 with a longer budget."""
    first = command("simulate", "--policy", "random")
    recorded = json.loads((first / "summary.json").read_text())["images"][0]
    out = command("simulate", "--policy", f"replay:{first}", "--angles", 2 * ANGLES, "--budget", 3 * BUDGET)
    again = json.loads((out / "summary.json").read_text())["images"][0]
    assert again["settings"] == pytest.approx(recorded["settings"])
    assert again["designs"] == [2 * design for design in recorded["designs"]]
    assert again["psnr"][-1] is not None and (out / "report.html").is_file()


def test_every_method_is_judged_by_the_range_of_the_study(call, tiny, pictures, tmp_path):
    """Pictures and range of the prior twice as large: the same PSNR and SSIM of fbp, 6 dB less were it 1."""
    np.save(tmp_path / "1.npy", np.load(pictures)[0])
    np.save(tmp_path / "2.npy", 2 * np.load(pictures)[0])
    shutil.copytree(tiny, tmp_path / "twice")
    card = json.loads((tiny / "card.json").read_text()) | {"range": [0.0, 2.0]}
    (tmp_path / "twice" / "card.json").write_text(json.dumps(card))
    found = []
    for scale, prior in ((1, tiny), (2, tmp_path / "twice")):
        words = ("--prior", prior, "--posteriors", "soft(steps=2),fbp", "--policies", "uniform", "--at", 3)
        out = tmp_path / f"run{scale}"
        outcome = call("compare", tmp_path / f"{scale}.npy", *words, "--noise", "none", "--out", out, *SHORT)
        assert outcome.status == 0, outcome.err
        scans = json.loads((out / "summary.json").read_text())["images"]
        found.append([(scan["psnr"][2], scan["ssim"][2]) for scan in scans])
    assert found[0] == [pytest.approx(pair, rel=1e-3) for pair in found[1]]


def test_a_prescan_is_known_before_and_not_counted(command):
    plain, known = (
        summary_of(command("simulate", "--posterior", "tv", "--policy", "uniform", *words))
        for words in ((), ("--prescan", 8))
    )
    (before,), (after,) = plain["images"], known["images"]
    assert len(after["designs"]) == len(before["designs"]) == BUDGET and known["prescan"] == 8
    assert after["psnr"][0] > before["psnr"][0] + 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prescan", 7), "expected a divisor of 32, such as 8"),
        (("--prescan", 64), "a pre-scan of 64 x 64 pixels was asked for, of an image of 32 x 32"),
        (("--prescan", 0), "prescan is 0; expected 1 to"),
        (("--operator", "mri", "--prescan", 8), "use for it, as the rows about the centre"),
    ],
)
def test_prescans_that_cannot_be(call, tiny, pictures, tmp_path, words, said):
    outcome = call("simulate", f"{pictures}::0", "--prior", tiny, "--out", tmp_path / "out", *words)
    assert outcome.status == 2 and said in outcome.err and not (tmp_path / "out" / "run.db").exists()
