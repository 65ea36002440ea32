"""`tomopilot inspect` says what a scan holds."""

import json

import h5py
import numpy as np
import pytest
from samples import STACK, nxtomo_parts, save_dataexchange, save_h5, save_nxtomo, save_tifs

PARTS = nxtomo_parts()


def inspected(call, *words) -> dict:
    outcome = call("inspect", *words, "--json")
    assert outcome.status == 0, outcome
    return json.loads(outcome.out)


def test_a_sound_scan(call, tmp_path):
    facts = inspected(call, save_nxtomo(tmp_path / "scan.nxs"))
    assert facts["format"] == "NXtomo (/entry)" and facts["values"] == "counts, uint16"
    assert facts["projections"] == "90 of 2 x 64 (rows x bins)" and (facts["flats"], facts["darks"]) == (8, 2)
    assert facts["angles"] == "0 to 178 degrees, in order" and facts["bin"] == "2.5 um"
    assert facts["beam"] == "parallel" and "found" in facts["axis"]
    assert abs(float(facts["axis"].split()[1].rstrip(",")) - 33.8) < 0.1
    assert facts["masked values"] == facts["quarantined"] == facts["repeated angles"] == "none"
    assert "photons" in facts["noise"] and "problem" not in facts


def test_the_table(call, tmp_path):
    outcome = call("inspect", save_nxtomo(tmp_path / "scan.nxs"))
    assert outcome.status == 0 and "90 of 2 x 64" in outcome.out and "degrees" in outcome.out


def test_what_is_wrong_is_said(call, tmp_path):
    frames, angles = PARTS["instrument/detector/data"].copy(), PARTS["sample/rotation_angle"].copy()
    frames[:, :, 30], frames[7 + 4], frames[7 + 9, 1, 12] = 100, 0, 65535
    angles[7 + 20] = 360
    changes = {"instrument/detector/data": frames, "sample/rotation_angle": angles}
    facts = inspected(call, save_nxtomo(tmp_path / "scan.nxs", **changes))
    assert facts["masked values"] == "1 dead, 1 saturated" and facts["quarantined"].startswith(
        "4: 63 of its 63"
    )
    assert facts["repeated angles"] == "20 as 0" and facts["angles"] == "0 to 360 degrees, not in order"


def test_a_scan_without_flats_is_shown_with_its_problem(call, tmp_path):
    path = save_dataexchange(tmp_path / "scan.h5", **{"exchange/data_white": None})
    facts = inspected(call, path)
    assert facts["flats"] == 0 and "no flat fields" in facts["problem"] and "axis" not in facts
    assert "problem" not in inspected(call, path, "--values", "line-integrals", "--axis", 33.8)


def test_an_axis_that_cannot_be_found(call, tmp_path):
    keys = PARTS["instrument/detector/image_key"].copy()
    keys[10:97] = 3
    facts = inspected(call, save_nxtomo(tmp_path / "scan.nxs", **{"instrument/detector/image_key": keys}))
    assert "cannot be found from 3 projections" in facts["problem"]
    assert facts["axis"] == "column 31.50, not found: the middle was taken"


def test_an_axis_of_ones_own(call, tmp_path):
    path = save_nxtomo(tmp_path / "scan.nxs")
    assert inspected(call, path, "--axis", 30)["axis"] == "column 30.00, as stated"
    assert "column 99" in inspected(call, path, "--axis", 99)["problem"]


def test_the_unit_of_angles_is_asked_for(call, tmp_path):
    path = save_nxtomo(tmp_path / "scan.nxs")
    with h5py.File(path, "a") as file:
        del file["entry/sample/rotation_angle"].attrs["units"]
    outcome = call("inspect", path)
    assert outcome.status == 2 and outcome.out == "" and "--angles-in degrees" in outcome.err
    assert inspected(call, path, "--angles-in", "degrees")["angles"].startswith("0 to 178")


def test_a_row_that_is_not_there(call, tmp_path):
    facts = inspected(call, save_nxtomo(tmp_path / "scan.nxs"), "--row", 2)
    assert "rows 0 to 1" in facts["problem"]


def test_our_own_line_integrals(call, tmp_path):
    from tomopilot.raw.correction import Correction
    from tomopilot.raw.door import read_measured
    from tomopilot.raw.export import write_line_integrals

    lines = Correction()(read_measured(str(save_nxtomo(tmp_path / "scan.nxs"))))
    write_line_integrals(tmp_path / "lines.nxs", lines)
    facts = inspected(call, tmp_path / "lines.nxs")
    assert facts["values"] == "line integrals, float32" and "as the file says" in facts["axis"]


FOUND = {  # of the measured files: format, projections, angles, beam
    "tooth.h5": ("Data Exchange", "181 of 2 x 640", "0 to 179.006 degrees", "parallel"),
    "tooth_sinograms.npz": ("npz (sinogram)", "181 of 2 x 640", "0 to 179.006 degrees", "parallel"),
    "htc2022_ta.npz": ("npz (fan_sinogram)", "721 of 1 x 560", "0 to 360 degrees", "fan, source to axis 41"),
    "htc2022_tb.npz:/parallel_sinogram": (
        "npz (parallel_sinogram)", "360 of 1 x 560", "0 to 179.5 degrees", "parallel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_measured_files(call, data_folder, name):
    facts = inspected(call, f"{data_folder / 'measured'}/{name}")
    told = zip(("format", "projections", "angles", "beam"), FOUND[name], strict=True)
    assert all(facts[key].startswith(value) for key, value in told), facts
    assert "problem" not in facts and facts["quarantined"] == "none"


def test_a_link_to_a_file_that_is_absent(call, data_folder):
    outcome = call("inspect", data_folder / "native" / "nxtomo_24888.nxs")
    assert outcome.status == 2 and outcome.out == ""
    assert "leads to another file; expected one whose values lie in this file" in outcome.err


def test_numbers_are_those_of_the_file(call, tmp_path):
    """Not of the row above or below."""
    frames = PARTS["instrument/detector/data"].copy()
    frames[7:97, 0] = np.clip(frames[7:97, 0] - 1000, 101, None)
    path = save_nxtomo(tmp_path / "scan.nxs", **{"instrument/detector/data": frames})
    rows = [inspected(call, path, "--row", row, "--axis", 33.8)["line integrals"] for row in (0, 1)]
    assert rows[0] != rows[1]


def test_images_are_described(call, tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    facts = inspected(call, tmp_path / "a.npy")
    assert facts["format"] == "NumPy" and facts["images"] == "8 of 5 x 6 pixels" and facts["type"] == "uint8"
    assert facts["values"].startswith(f"{STACK.min() / 255:.4g} to {STACK.max() / 255:.4g}")
    assert facts["pixel"] == "not known"
    save_tifs(tmp_path / "slices", STACK, resolution=(1e4, 1e4), resolutionunit=3)
    facts = inspected(call, tmp_path / "slices")
    assert facts["format"] == "TIFF series" and facts["pixel"] == "1 um"


NEITHER = {  # what it is, and all that is said of it
    "b.h5": "expected one data set of images, found /one (uint8 (8, 5, 6)), /two (uint8 (8, 5, 6)); name",
    "a.txt": "begins with b'hello', as no format does that is known here; expected NumPy, npz, PNG, TIFF,",
    "folder": "the folder holds no slices; expected those of one stack, in DICOM or TIFF",
}


@pytest.mark.parametrize("name", NEITHER)
def test_neither_scan_nor_images(call, tmp_path, name):
    """One refusal is told, not that of every reader."""
    save_h5(tmp_path / "b.h5", one=STACK, two=STACK)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    outcome = call("inspect", path)
    said = f"{path}: no measured scan, nor images that can be read: {NEITHER[name]}"
    assert outcome.status == 2 and outcome.err.count("; expected") <= 1
    assert said in outcome.err, outcome.err


def test_a_scan_with_a_fault_is_not_told_to_be_no_images(call, tmp_path):
    path = save_nxtomo(tmp_path / "scan.nxs", **{"sample/rotation_angle": None})
    outcome = call("inspect", path)
    assert outcome.status == 2 and outcome.err.endswith("expected all three: copy it again\n")
    assert call("inspect", tmp_path / "absent.npy").err.count("; expected") == 1
