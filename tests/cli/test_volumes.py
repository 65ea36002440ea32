"""Volumes on the command line: scouts choose, whole frames are kept, all slices are reconstructed."""

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.files.nexus import read_row, read_scan
from tomopilot.files.voxels import Voxels, create_store, write_slice
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.metrics import psnr, rmse, ssim
from tomopilot.posterior.classical import TotalVariation
from tomopilot.records import Data

zarr = pytest.importorskip("zarr")
SHORT = ("--budget", 3, "--angles", 20, "--count", 2, "--start", 1, "--device", "cpu")

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(scope="module")
def scanned(call, few_steps, tiny, pictures, tmp_path_factory):
    """An adaptive scan of a volume of six slices by two of them, judged halfway and at the end."""
    out = tmp_path_factory.mktemp("volume")
    words = ("--prior", tiny, "--scouts", 2, "--noise", "gaussian:0.05", "--at", 2, "--pixel-size", "0.1um")
    outcome = call("simulate", f"volume:{pictures}", *words, "--out", out, *SHORT)
    assert outcome.status == 0, outcome.err
    return out


@pytest.fixture(scope="module")
def truth(pictures) -> torch.Tensor:
    return torch.from_numpy(np.load(pictures))


def summary_of(out) -> dict:
    (image,) = json.loads((out / "summary.json").read_text())["images"]
    return image


def estimates(out, name="volume.zarr") -> torch.Tensor:
    return torch.from_numpy(zarr.open_group(out / name, mode="r")["estimate"][:])


def blocks(out) -> list:
    with closing(Archive(out / "run.db")) as archive:
        ((scan,),) = archive.connection.execute("select distinct scan from blocks").fetchall()
        return archive.blocks(scan)


def test_the_estimate_as_tiff(call, scanned, tmp_path):
    outcome = call("export", scanned / "volume.zarr", "--out", tmp_path / "volume.tif")
    assert outcome.status == 0 and outcome.out.endswith("volume.tif: 6 slices\n"), outcome
    found = read_images(str(tmp_path / "volume.tif"))
    assert_close(torch.stack([image.pixels for image in found]), estimates(scanned), rtol=0, atol=0)
    assert found[0].pixel_size == pytest.approx(1e-7)
    again = call("export", scanned / "volume.zarr", "--out", tmp_path / "volume.tif")
    assert again.status == 2 and "is there already" in again.err


def test_a_volume_that_is_not_whole_is_not_exported(call, tmp_path):
    create_store(tmp_path / "volume.zarr", (3, 4, 4), {})
    slices = np.zeros((4, 4)), np.zeros((4, 4))
    write_slice(tmp_path / "volume.zarr", 1, Voxels(*slices, seconds=1.0))
    outcome = call("export", tmp_path / "volume.zarr")
    assert outcome.status == 2 and "2 of 3 slices of" in outcome.err and "tomopilot resume" in outcome.err
    assert not (tmp_path / "volume.tif").exists()


def test_whole_frames_are_kept(scanned):
    """Also those rows that no choice looked at."""
    kept, file = blocks(scanned), read_scan(scanned / "scan.h5")
    assert [tuple(block.values.shape) for block in kept] == [(6, 32)] * 3
    assert file.projections.shape == (3, 6, 32) and len(file.scores) == 2 and file.pixel_size == 1e-7
    np.testing.assert_array_equal(file.projections[1], kept[1].values.numpy())
    np.testing.assert_array_equal(read_row(scanned / "scan.h5", 4), file.projections[:, 4])
    np.testing.assert_allclose(file.angles_deg, summary_of(scanned)["settings"], rtol=1e-6)
    assert summary_of(scanned)["scouts"] == [1, 4]


def test_a_slice_is_measured_as_if_it_were_alone(call, pictures, tmp_path):
    words = ("--posterior", "fbp", "--policy", "uniform", "--noise", "gaussian:0.05", *SHORT)
    for name, spec in (("volume", f"volume:{pictures}"), ("alone", f"{pictures}::4")):
        assert call("simulate", spec, *words, "--out", tmp_path / name).status == 0
    rows = [block.values[4] for block in blocks(tmp_path / "volume")]
    assert_close(torch.stack(rows), torch.stack([block.values for block in blocks(tmp_path / "alone")]))
    assert_close(
        estimates(tmp_path / "volume")[4].numpy(), read_scan(tmp_path / "alone" / "scan.h5").reconstruction
    )


def test_it_is_judged_over_all_slices(scanned, truth, tiny):
    """At the end, and at the count that was asked for."""
    image, found = summary_of(scanned), estimates(scanned)
    assert [value is None for value in image["psnr"]] == [True, False, False]
    assert image["rmse"][-1] == pytest.approx(rmse(found, truth))
    assert image["psnr"][-1] == pytest.approx(psnr(found, truth))
    alike = [ssim(guess, known) for guess, known in zip(found, truth, strict=True)]
    assert image["ssim"][-1] == pytest.approx(np.mean(alike))
    spread = zarr.open_group(scanned / "volume.zarr", mode="r")["uncertainty"][:].mean()
    assert image["spread"][-1] == pytest.approx(spread) and spread > 0
    assert image["estimate_seconds"][-1] > 0
    assert not (scanned / "scans").exists()


def test_what_the_store_says(scanned, tiny):
    store = zarr.open_group(scanned / "volume.zarr", mode="r")
    told = store.attrs["provenance"]
    assert (told["policy"], told["posterior"], told["prior"]) == ("variance", "auto", str(tiny))
    assert told["command"].startswith("tomopilot simulate volume:") and told["seed"] == "0"
    assert store["estimate"].attrs["units"] == "metal" and store["estimate"].attrs["pixel_size"] == 1e-7


def test_the_page_shows_the_middle_slice_and_the_scouts(scanned):
    page = (scanned / "report.html").read_text()
    assert "the middle slice, bars.npy::3" in page
    for shown in ("bars.npy::1", "bars.npy::4"):
        assert f"{shown}, one of 2 that the scan was chosen by" in page
    pictures = {path.name for path in scanned.glob("*.png")}
    assert pictures == {
        "angles-0.png",
        "quality-0.png",
        "reconstruction-0.png",
        "slice-0-0.png",
        "slice-0-1.png",
    }


def test_a_finished_run_is_left_as_it_is(call, scanned):
    before = summary_of(scanned), estimates(scanned)
    assert call("resume", scanned).status == 0
    assert summary_of(scanned) == before[0] and torch.equal(estimates(scanned), before[1])


def test_an_interrupted_reconstruction_goes_on(call, scanned, tiny, pictures, tmp_path, monkeypatch):
    """With the same numbers, from the slice that it had come to."""
    from tomopilot.files import voxels
    from tomopilot.scan import volume

    written: list[int] = []

    def write(path, number, found):
        if len(written) == 8:  # six after two measurements, two after three
            written.append(-1)
            raise OSError("no space left")
        written.append(number)
        voxels.write_slice(path, number, found)

    monkeypatch.setattr(volume, "write_slice", write)
    words = ("--prior", tiny, "--scouts", 2, "--noise", "gaussian:0.05", "--at", 2, "--pixel-size", "0.1um")
    outcome = call("simulate", f"volume:{pictures}", *words, "--out", tmp_path / "run", *SHORT)
    assert outcome.status == 2 and "no space left" in outcome.err
    assert call("resume", tmp_path / "run").status == 0
    assert written == [0, 1, 2, 3, 4, 5, 0, 1, -1, 2, 3, 4, 5]
    assert torch.equal(estimates(tmp_path / "run"), estimates(scanned))
    keys = ("psnr", "ssim", "rmse", "spread", "designs", "scouts")
    ours, theirs = summary_of(tmp_path / "run"), summary_of(scanned)
    assert [ours[key] for key in keys] == [theirs[key] for key in keys]


def test_volumes_are_compared(call, pictures, tmp_path):
    """Every scan has its own files; the pictures are of one slice."""
    specs = (f"volume:{pictures}::0-2", f"volume:{pictures}::3-5")
    words = ("--posteriors", "fbp,tv(steps=20)", "--policies", "uniform,random", "--out", tmp_path / "run")
    outcome = call("compare", *specs, *words, *SHORT)
    assert outcome.status == 0, outcome.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [method["images"] for method in summary["methods"]] == [2] * 4
    assert all(scan["psnr"][-1] and scan["scouts"] == [0, 1, 2] for scan in summary["images"])
    for ending in ("scan-{}.h5", "volume-{}.zarr"):
        assert all((tmp_path / "run" / ending.format(number)).exists() for number in range(8))
    assert "bars.npy::1 after 3 measurements" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_by_two_workers(call, pictures, tmp_path):
    """Scans and slices alike: the numbers of one."""
    words = ("--posterior", "tv(steps=20)", "--policy", "uniform")
    for out, on in (("one", "local:1"), ("two", "local:2")):
        outcome = call("simulate", f"volume:{pictures}", *words, "--out", tmp_path / out, "--on", on, *SHORT)
        assert outcome.status == 0, outcome.err
    assert torch.equal(estimates(tmp_path / "two"), estimates(tmp_path / "one"))
    assert summary_of(tmp_path / "two")["psnr"] == summary_of(tmp_path / "one")["psnr"]


WRONG = {
    "mri": (("--operator", "mri"), "is a volume, but mri is for single images"),
    "prescan": (("--prescan", 8), "no pre-scan"),
    "scouts": (("--scouts", 0), "scouts is 0; expected 1"),
    "slices": (("::9",), "image 9 was asked for, but there are 6"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
def test_what_volumes_are_not_for(call, pictures, tmp_path, words, said):
    chosen, words = (words[0], ()) if str(words[0]).startswith("::") else ("", words)
    outcome = call("simulate", f"volume:{pictures}{chosen}", "--out", tmp_path / "run", *words)
    assert outcome.status == 2 and said in outcome.err and outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_is_for_volumes_only_or_never(call, pictures, tmp_path):
    outcome = call("simulate", f"{pictures}::0", "--scouts", 2, "--out", tmp_path / "run")
    assert outcome.status == 2 and "scouts is 2, but no image is a volume" in outcome.err
    outcome = call("bench", "calibration", f"volume:{pictures}", "--out", tmp_path / "run")
    assert outcome.status == 2 and "calibration is of single images; leave volume: out" in outcome.err


@pytest.mark.usefixtures("heard_at_once", "left_at_once")
def test_where_the_prior_is_left_no_slice_is_made_by_the_prior(call, scanned, tiny, pictures, tmp_path):
    """All slices as total variation reconstructs them from the same projections; said in the report."""
    wary, out = shutil.copytree(tiny, tmp_path / "wary"), tmp_path / "run"
    card = json.loads((wary / "card.json").read_text())
    card["trust"] = {"alarm": {"scout": {"drift": -20.0, "threshold": 0.0}}}
    (wary / "card.json").write_text(json.dumps(card))
    words = ("--prior", wary, "--scouts", 2, "--noise", "gaussian:0.05", "--at", 1)
    outcome = call("simulate", f"volume:{pictures}", *words, "--out", out, *SHORT)
    assert outcome.status == 0 and "the estimate is without it" in outcome.err, outcome
    image, before = summary_of(out), summary_of(scanned)
    assert image["alarm"] == image["without_prior"] == 2 and image["designs"][:2] == before["designs"][:2]
    assert image["spread"][0] is not None and image["spread"][-1] is None
    radon, data, frames = Radon(32, half_turn(20)), Data((32, 32)), blocks(out)
    for design, block in zip(image["designs"], frames, strict=True):
        data = data.add(radon, design, block.values[4], Gaussian(0.05))
    bare = TotalVariation().sample(data, 1, rng=torch.Generator()).guess
    assert_close(estimates(out)[4], bare, rtol=0, atol=1e-5)
    assert "the estimate is without it" in (out / "report.html").read_text()
