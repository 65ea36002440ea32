"""`--replay`: a measured scan is the instrument, and the reconstruction from all of it the truth."""

import json
import shutil

import h5py
import numpy as np
import pytest
from samples import disc_projections, nxtomo_parts, save_nxtomo

from tomopilot.measure.noise import Masked
from tomopilot.prior.checkpoint import read_card
from tomopilot.scan.replayed import read_recorded, recorded_spec

ANGLES = np.linspace(0, np.pi, 24, endpoint=False)
LINES = disc_projections(ANGLES, 32, offset=1.25).astype(np.float32)
BARE = ("--posterior", "fbp", "--policy", "uniform", "--at", "all")


@pytest.fixture
def scan(tmp_path):
    np.savez(tmp_path / "scan.npz", sinogram=LINES, angles_deg=np.rad2deg(ANGLES))
    return tmp_path / "scan.npz"


def left(out) -> dict:
    (image,) = json.loads((out / "summary.json").read_text())["images"]
    return image


def test_all_projections_give_the_reference(call, scan, tmp_path):
    """And fewer come less near it."""
    outcome = call("simulate", "--replay", scan, *BARE, "--budget", 24, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    image = left(tmp_path / "run")
    assert sorted(image["designs"]) == [*range(24)]
    *_, early, _, last = image["psnr"][10:]
    assert last is None or last > 80  # None: equal to the last bit
    assert image["psnr"][5] < image["psnr"][11] < early < 60


def test_what_is_told_is_what_was_measured(call, scan, tmp_path):
    assert call("simulate", "--replay", scan, *BARE, "--budget", 5, "--out", tmp_path / "run").status == 0
    with h5py.File(tmp_path / "run" / "scan.h5") as file:
        values = file["entry/instrument/detector/data"][:, 0]
        angles = np.deg2rad(file["entry/sample/rotation_angle"][()])
    designs = left(tmp_path / "run")["designs"]
    np.testing.assert_allclose(values, LINES[designs], rtol=1e-6)
    np.testing.assert_allclose(angles, ANGLES[designs], atol=1e-6)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["noise"] == "as measured"


@pytest.mark.parametrize(("last", "offset", "kept"), [(180, 0, 24), (180, 5, 25), (360, 0, 24), (360, 5, 48)])
def test_a_direction_is_offered_once(call, tmp_path, last, offset, kept):
    """Half a turn later the lines are the same, unless the detector sees others on the axis' far side."""
    angles = np.deg2rad(np.arange(0, last + 1, 7.5))
    lines = disc_projections(angles, 32, offset=offset)
    np.savez(tmp_path / "scan.npz", sinogram=lines, angles_deg=np.rad2deg(angles))
    spec = recorded_spec(f"recorded:{tmp_path / 'scan.npz'}")
    replayed, whole = (read_recorded(spec, None, None, whole=whole) for whole in (False, True))
    assert len(replayed.operator) == len(replayed.values) == kept and len(whole.values) == len(angles)
    again = f"{len(angles) - kept} of {len(angles)} projections show a direction again and are left out"
    assert (again in replayed.notes) == (kept < len(angles)) and not whole.notes
    assert f"of all {kept} projections, the reference" in replayed.notes[-1]


def test_stripes_are_taken_out_where_asked_for(call, tmp_path):
    angles = np.linspace(0, np.pi, 60, endpoint=False)
    clean, striped = disc_projections(angles, 200), np.arange(200) % 20 == 5
    np.savez(tmp_path / "scan.npz", sinogram=clean + 0.1 * striped, angles_deg=np.rad2deg(angles))
    spec = recorded_spec(f"recorded:{tmp_path / 'scan.npz'}")
    left, removed = (
        read_recorded(spec, None, None, stripes=width).values.numpy() - clean for width in (0, 9)
    )
    assert abs(left[:, striped] - 0.1).max() < 1e-6 and abs(removed[:, striped]).mean() < 0.02
    assert abs(removed).mean() < 0.01
    words = (*BARE, "--budget", 3, "--stripes", 9, "--out", tmp_path / "run")
    assert call("simulate", "--replay", tmp_path / "scan.npz", *words).status == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["stripes"] == 9
    with h5py.File(tmp_path / "run" / "scan.h5") as file:
        assert b'"stripes": "9"' in bytes(file["entry/reconstruction/provenance/data"][()])


def test_the_words_of_a_comparison(call, scan, tmp_path):
    """There is no truth but a reference, and it is said which."""
    words = ("--posteriors", "fbp", "--policies", "uniform", "--budget", 5, "--out", tmp_path / "run")
    outcome = call("compare", "--replay", scan, *words)
    assert outcome.status == 0, outcome.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The reference and each method" in page and "truth" not in page.lower()
    assert "quality is against the filtered back-projection of all 24 projections" in page
    assert "all 24 projections, the reference" in outcome.err


def test_an_adaptive_scan_with_a_prior(call, scan, tiny, tmp_path):
    words = ("--prior", tiny, "--posterior", "prox(steps=2)", "--count", 2, "--start", 2, "--budget", 4)
    outcome = call("simulate", "--replay", scan, *words, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert "image of the scan = " in outcome.err and "the two phases of the material" in outcome.err
    assert len(set(left(tmp_path / "run")["designs"])) == 4


def test_a_prior_of_another_material_and_pixel_size_is_doubted(call, tiny, tmp_path):
    card = read_card(tiny) | {"unit": "attenuation / 81.35858 per metre", "pixel_size": "1 to 2 mm"}
    shutil.copytree(tiny, tmp_path / "body")
    (tmp_path / "body" / "card.json").write_text(json.dumps(card))
    np.savez(tmp_path / "s.npz", sinogram=LINES, angles_deg=np.rad2deg(ANGLES), pixel_size_um=1)
    words = ("--posterior", "prox(steps=2)", "--count", 2, "--start", 2, "--budget", 3, "--at", 3)
    outcome = call(
        "simulate",
        "--replay",
        tmp_path / "s.npz",
        "--prior",
        tmp_path / "body",
        *words,
        "--out",
        tmp_path / "r",
    )
    assert outcome.status == 0, outcome.err
    assert "of the view lie beyond the prior's range: is it the prior of this material?" in outcome.err
    assert "the pixel size is 1 um, but prior tiny was trained on 1 to 2 mm" in outcome.err


def test_masked_values_are_masked_in_their_projection(tmp_path):
    frames = nxtomo_parts()["instrument/detector/data"].copy()
    frames[7 + 9, 1, 12] = 65535  # of the projections, after seven other frames
    spec = recorded_spec(
        f"recorded:{save_nxtomo(tmp_path / 's.nxs', **{'instrument/detector/data': frames})}::1"
    )
    replayed = read_recorded(spec, None, None)
    assert replayed.noise(9) == Masked(replayed.usual, (12,)) and replayed.noise(8) == replayed.usual
    assert replayed.operator.image_shape == (64, 64) and len(replayed.operator) == len(replayed.values)
    assert replayed.pixel_size == pytest.approx(2.5e-6)


def test_all_of_a_scan_is_reconstructed(call, scan, tmp_path):
    """From every projection, in the order of the file; there is no truth to judge it by."""
    words = ("--posterior", "tv", "--bins", 16, "--out", tmp_path / "run")
    outcome = call("reconstruct", scan, *words)
    assert outcome.status == 0, outcome.err
    image = left(tmp_path / "run")
    assert image["designs"] == [*range(24)] and set(image["psnr"]) == {None}
    with h5py.File(tmp_path / "run" / "scan.h5") as file:
        found = file["entry/reconstruction/data"][()]
    known = read_recorded(recorded_spec(f"recorded:{scan}"), 16, None).pixels.numpy()
    assert np.corrcoef(found.ravel(), known.ravel())[0, 1] > 0.97
    assert "No truth to judge against" in (tmp_path / "run" / "report.html").read_text()


def test_samples_of_a_scan(call, scan, tiny, tmp_path):
    words = ("--prior", tiny, "--posterior", "prox(steps=2)", "--count", 3, "--out", tmp_path / "run")
    outcome = call("reconstruct", scan, *words)
    assert outcome.status == 0, outcome.err
    with h5py.File(tmp_path / "run" / "scan.h5") as file:
        assert file["entry/reconstruction/samples"].shape == (3, 32, 32)
        assert file["entry/reconstruction/uncertainty"][()].max() > 0


def test_bins_are_the_grid(scan):
    spec = recorded_spec(f"recorded:{scan}")
    replayed = read_recorded(spec, 16, None)
    assert tuple(replayed.pixels.shape) == (16, 16) and tuple(replayed.values.shape) == (24, 16)


WRONG = {
    "both came": ("phantom:chip", "--replay", "{}"),
    "none came": (),
    "has its own angles": ("--replay", "{}", "--angles", 20),
    "leave --finer out": ("--replay", "{}", "--finer", 2),
    "leave --prescan out": ("--replay", "{}", "--prescan", 8),
    "detector rows 0 to 0; row 3": ("--replay", "{}::3"),
    "population learns": ("--replay", "{}", "--policy", 'population(slices="phantom:chip@32::0-3")'),
    "absent.npz": ("--replay", "absent.npz"),
    "stripes is -1": ("--replay", "{}", "--stripes", -1),
    "leave --stripes out": ("phantom:chip", "--stripes", 9),
    "the budget is 25": ("--replay", "{}", "--budget", 25),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_cannot_be_replayed(call, scan, tmp_path, said):
    words = [str(word).replace("{}", str(scan)) for word in WRONG[said]]
    outcome = call("simulate", *BARE, *words, "--out", tmp_path / "run")
    assert outcome.status == 2 and said in outcome.err, outcome.err
    assert not (tmp_path / "run").exists()
