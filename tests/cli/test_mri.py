"""MRI through the command line: the same loop, rows of k-space for angles."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopilot.design.policy import centre_order
from tomopilot.files.fastmri import check_centred
from tomopilot.files.images import NamedImage
from tomopilot.files.kspace import read_kspace
from tomopilot.measure.fourier import Fourier, from_kspace, to_channels
from tomopilot.metrics import psnr
from tomopilot.scan.virtual import truth_of

from .conftest import NETWORK

pytestmark = pytest.mark.usefixtures("few_levels")
SHORT = ("--operator", "mri", "--count", 3, "--at", "all", "--device", "cpu")


@pytest.fixture(scope="module")
def few_levels():
    from tomopilot.posterior.diffusion import DiffusionPosterior
    from tomopilot.posterior.guidance.inpaint import Inpaint
    from tomopilot.prior.schedule import logarithmic
    from tomopilot.scan.parts import POSTERIORS

    def quick(prior, scale):
        return DiffusionPosterior(prior, Inpaint(), logarithmic(5 * scale, 0.06 * scale, 3))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("inpaint", "scout-inpaint"):
            patch.setitem(POSTERIORS, name, replace(POSTERIORS[name], make=quick))
        yield


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """The folder of a prior of complex images with random weights."""
    from tomopilot.nets.folded import FoldedUNet
    from tomopilot.prior.checkpoint import save_prior

    network = {**NETWORK, "channels": 2}
    folder = tmp_path_factory.mktemp("priors") / "brain"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        card = {"name": "brain", "network": network, "prediction": "v", "range": [-1.0, 1.0], "phase": 1.0}
        save_prior(folder, FoldedUNet(**network), card)
    return folder


@pytest.fixture(scope="module")
def scanned(call, few_levels, brain, pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "mri"
    words = ("--prior", brain, "--out", out, *SHORT, "--budget", 5, "--start", 2)
    outcome = call("simulate", f"{pictures}::0", *words)
    assert outcome.status == 0, outcome.err
    assert "row" in outcome.err and "deg" not in outcome.err
    return out


def test_a_scan_of_rows(scanned):
    summary = json.loads((scanned / "summary.json").read_text())
    (image,) = summary["images"]
    assert image["setting_unit"] == "row" and image["settings"] == image["designs"]
    assert image["designs"][:2] == [16, 15] and len(set(image["designs"])) == 5
    assert summary["posterior"] == "scout-inpaint:inpaint" and summary["range"] == [0.0, 1.0]
    assert all(value is not None for value in image["psnr"] + image["ssim"] + image["spread"])
    page = (scanned / "report.html").read_text()
    assert "Row" in page and "Chosen rows" in page and "Angle" not in page


@pytest.mark.usefixtures("left_at_once")
def test_without_the_prior_rows_are_taken_from_low_to_high(call, brain, pictures, tmp_path):
    """The best order without samples. Scans that fewer rows open than it was fitted on have no alarm."""
    wary, out = shutil.copytree(brain, tmp_path / "wary"), tmp_path / "run"
    card = json.loads((wary / "card.json").read_text())
    card["trust"] = {"alarm": {"scout-inpaint": {"drift": -20.0, "threshold": 0.0}}}
    (wary / "card.json").write_text(json.dumps(card))
    words = ("--prior", wary, *SHORT, "--budget", 9)
    outcome = call("simulate", f"{pictures}::0", "--start", 2, "--out", tmp_path / "soon", *words)
    assert outcome.status == 0 and "none watches over one of --start 2" in outcome.err, outcome
    (image,) = json.loads((tmp_path / "soon" / "summary.json").read_text())["images"]
    assert image["alarm"] is None
    outcome = call("simulate", f"{pictures}::0", "--out", out, *words)
    assert outcome.status == 0 and "from measurement 5 on rows were taken from low to high" in outcome.err, (
        outcome
    )
    (image,) = json.loads((out / "summary.json").read_text())["images"]
    assert image["alarm"] == image["without_prior"] == 5
    low_to_high = [row for row in centre_order(32) if row not in image["designs"][:5]]
    assert image["designs"][5:] == low_to_high[:4]


def test_the_file_holds_kspace_and_complex_images(scanned, pictures):
    file = read_kspace(scanned / "scan.h5")
    assert file.values.shape == (5, 32) and file.rows[:2].tolist() == [16, 15]
    assert file.samples.shape == (3, 32, 32) and np.iscomplexobj(file.samples)
    magnitude = np.load(pictures)[0]
    quality = json.loads((scanned / "summary.json").read_text())["images"][0]["psnr"][-1]
    found = psnr(torch.from_numpy(np.abs(file.reconstruction)), torch.from_numpy(magnitude), 1.0)
    assert found == pytest.approx(quality, abs=1e-3)
    rows = np.zeros((32, 32), np.complex64)
    rows[file.rows] = file.values
    check_centred(rows)
    truth = truth_of(NamedImage(str(pictures), torch.from_numpy(magnitude)), Fourier((32, 32)), 0)
    assert truth.shape == (2, 32, 32)
    torch.testing.assert_close(truth.square().sum(0).sqrt(), torch.from_numpy(magnitude))


def test_zero_filled_is_the_inverse_transform_of_the_rows(call, pictures, tmp_path):
    words = ("--out", tmp_path / "run", "--posterior", "zero-filled", "--policy", "low-to-high")
    outcome = call("simulate", f"{pictures}::0", *words, *SHORT, "--noise", "none", "--budget", 30)
    assert outcome.status == 0, outcome.err
    file = read_kspace(tmp_path / "run" / "scan.h5")
    assert file.rows.tolist() == centre_order(32)[:30]
    rows = torch.zeros(32, 32, dtype=torch.complex64)
    rows[file.rows] = torch.from_numpy(file.values)
    np.testing.assert_allclose(file.reconstruction, from_kspace(rows).numpy(), atol=1e-5)
    quality = json.loads((tmp_path / "run" / "summary.json").read_text())["images"][0]["psnr"]
    assert quality[-1] > quality[1] + 5


def test_policies_open_with_the_same_centre_rows(call, brain, pictures, tmp_path):
    out = tmp_path / "run"
    words = ("--posteriors", "auto", "--policies", "variance,uniform,low-to-high,equispaced", "--start", 4)
    outcome = call("compare", f"{pictures}::1", "--prior", brain, "--out", out, *words, *SHORT, "--budget", 8)
    assert outcome.status == 0, outcome.err
    summary = json.loads((out / "summary.json").read_text())
    designs = {image["policy"]: image["designs"] for image in summary["images"]}
    assert len(designs) == 4 and summary["setting_unit"] == "row"
    assert all(order[:4] == [16, 15, 17, 14] for order in designs.values())
    assert designs["low-to-high"] == centre_order(32)[:8]
    assert designs["equispaced"][4:] == [8, 24, 0, 18]  # the pool of 4 has row 16, which is measured already
    assert designs["uniform"][4:] == [0, 24, 8, 20]


def test_interrupted_and_resumed_is_the_same(call, brain, pictures, scanned, tmp_path, monkeypatch):
    from tomopilot.scan import virtual

    out = tmp_path / "halves"
    told = []

    class Stops(virtual.Simulated):
        def __call__(self, design):
            if len(told) == 4:
                raise KeyboardInterrupt
            told.append(design)
            return super().__call__(design)

    words = ("--prior", brain, "--out", out, *SHORT, "--budget", 5, "--start", 2)
    with monkeypatch.context() as patch:
        patch.setattr(virtual, "Simulated", Stops)
        assert call("simulate", f"{pictures}::0", *words).status != 0
    assert len(told) == 4 and call("resume", out).status == 0
    folders = out, scanned
    ours, theirs = (json.loads((one / "summary.json").read_text())["images"][0] for one in folders)
    for key in ("designs", "psnr", "ssim", "spread", "surprise"):
        assert ours[key] == theirs[key], key


REFUSED = {
    "'tiny' is of real images, but complex ones": ("--prior", "TINY"),
    "the budget is 33 measurements, but Fourier.* has 32": ("--budget", 33),
    "fbp is for projections only; mri takes soft": ("--posterior", "fbp"),
    "tv is for projections only": ("--posterior", "tv"),
    "k-space has no detector: leave --bins out": ("--bins", 40),
    "which rows of k-space there are: leave --angles out": ("--angles", 90),
    "k-space is not projected: leave --finer out": ("--finer", 2),
    "photons are counted in projections": ("--noise", "poisson:1e4"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_kspace_is_refused(call, brain, tiny, pictures, tmp_path, words):
    changes = [tiny if word == "TINY" else word for word in REFUSED[words]]
    prior = () if "--prior" in changes else ("--prior", brain)
    policy = ("--policy", "uniform") if "--posterior" in changes else ()
    outcome = call("simulate", f"{pictures}::0", *prior, "--out", tmp_path, *SHORT, *policy, *changes)
    assert outcome.status == 2 and outcome.err.count("\n") == 1
    assert re.search(words, outcome.err), outcome.err


def test_what_does_not_fit_projections_is_refused(call, brain, tiny, pictures, tmp_path):
    for words, message in (
        (("--prior", brain), "'brain' is of complex images, but real ones"),
        (
            ("--prior", tiny, "--policy", "low-to-high"),
            "low-to-high is for k-space rows; for projections use uniform or",
        ),
        (("--prior", tiny, "--posterior", "inpaint"), "inpaint is for k-space rows only"),
    ):
        outcome = call("simulate", f"{pictures}::0", "--out", tmp_path, *words)
        assert outcome.status == 2 and message in outcome.err, outcome.err


def test_negative_values_are_no_magnitude(call, brain, pictures, tmp_path):
    np.save(tmp_path / "negative.npy", np.load(pictures)[0] - 0.1)
    outcome = call("simulate", tmp_path / "negative.npy", "--prior", brain, "--out", tmp_path / "run", *SHORT)
    assert outcome.status == 2 and "magnitudes, which are 0 or more" in outcome.err


def test_phases_depend_on_seed_and_name_only():
    rows = Fourier((8, 8))
    image, other = (NamedImage(name, torch.ones(8, 8)) for name in ("a", "b"))
    first = truth_of(image, rows, 0)
    torch.testing.assert_close(truth_of(image, rows, 0), first, rtol=0, atol=0)
    assert not torch.allclose(truth_of(image, rows, 1), first)
    assert not torch.allclose(truth_of(other, rows, 0), first)
    kspace = Fourier((8, 8)).forward(first[None])
    assert (to_channels(kspace.flip(1, 2).conj()) - to_channels(kspace)).abs().max() > 0.1  # no real image


def test_complex_images_are_scanned_as_they_are(call, brain, tmp_path):
    np.save(tmp_path / "complex.npy", np.full((32, 32), 0.3 + 0.4j, np.complex64))
    words = ("--prior", brain, "--out", tmp_path / "run", *SHORT, "--budget", 2, "--start", 2)
    assert call("simulate", tmp_path / "complex.npy", *words).status == 0
    (path,) = (tmp_path / "run").rglob("scan.h5")
    scan = read_kspace(path)
    centre = scan.values[list(scan.rows).index(16)]
    assert abs(centre[16] / 32 - (0.3 + 0.4j)) < 0.02


def test_compare_knows_what_is_usual_for_mri(call, brain, pictures, tmp_path, monkeypatch):
    from tomopilot.scan.parts import OPERATORS

    monkeypatch.setitem(OPERATORS, "mri", replace(OPERATORS["mri"], prior=str(brain)))
    out = tmp_path / "run"
    outcome = call("compare", f"{pictures}::0", "--out", out, *SHORT, "--budget", 3, "--start", 2, "--json")
    assert outcome.status == 0, outcome.err
    methods = [(m["posterior"], m["policy"]) for m in json.loads(outcome.out)["methods"]]
    chosen = [("scout-inpaint:inpaint", p) for p in ("variance", "low-to-high", "uniform")]
    assert methods == [*chosen, ("zero-filled", "low-to-high"), ("zero-filled", "uniform")]


def test_calibration_of_complex_samples(call, brain, pictures, tmp_path):
    words = ("--prior", brain, "--out", tmp_path / "run", *SHORT, "--at", "2,4", "--json")
    outcome = call("bench", "calibration", f"{pictures}::0-1", *words)
    assert outcome.status == 0, outcome.err
    (method,) = json.loads(outcome.out)["methods"]
    assert method["policy"] == "low-to-high"
    assert list(method["curve"]) == ["2", "4"] and method["curve"]["4"]["coverage_80_mean"] > 0


def test_speed_is_measured_of_projections(call, brain, pictures, tmp_path):
    words = ("--operator", "mri", "--prior", brain, "--out", tmp_path / "run", "--quick", "--at", 2)
    outcome = call("bench", "speed", f"{pictures}::0", *words)
    assert outcome.status == 2 and "speed is measured with projections" in outcome.err
