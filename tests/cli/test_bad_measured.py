"""Measured scans, stacks and layouts that cannot be used: one sentence on the command line, and no folder."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from samples import STACK, disc_projections, save_dataexchange, save_nxtomo, save_tifs

from tomopilot.files.nexus import AXIS

ANGLES = np.linspace(0, 180, 24, endpoint=False)
SKY = Path(__file__).parents[2] / "recipes" / "stacks" / "sky130.toml"
LINES = disc_projections(np.deg2rad(ANGLES), 32)
PLACE = "instrument/detector/x_rotation_axis_pixel_position"


def arrays(path, **angles):
    np.savez(path / "scan.npz", sinogram=LINES, **angles)
    return path / "scan.npz"


def axis_outside(path):
    with h5py.File(save_nxtomo(path / "scan.nxs", **{PLACE: 99.0}), "a") as file:
        file[f"entry/{PLACE}"].attrs["meaning"] = AXIS
    return path / "scan.nxs"


def uneven(path):
    tifffile.imwrite(save_tifs(path / "slices", STACK) / "slice99.tif", STACK[0, 1:])
    return path / "slices"


SCANS = {  # what writes it, and what is said
    "no flats": (
        lambda path: save_dataexchange(path / "scan.h5", **{"exchange/data_white": None}),
        "has counts but no flat fields, and without the open beam they are no line integrals; add its flats",
    ),
    "no unit": (
        lambda path: arrays(path, theta=ANGLES),
        "the angles go from 0 to 172.5, in the unit theta; expected degrees or radians: say which with",
    ),
    "radians called degrees": (
        lambda path: arrays(path, angles_deg=np.deg2rad(ANGLES)),
        "are said to be degrees, but cover what a turn has in radians; say which with --angles-in",
    ),
    "degrees called radians": (
        lambda path: arrays(path, angles_rad=ANGLES),
        "are said to be radians, which are 29 turns; say which with --angles-in",
    ),
    "angles too few": (
        lambda path: arrays(path, angles_deg=ANGLES[1:]),
        "it has 23 angles for 24 projections; expected one angle each: leave out",
    ),
    "axis outside": (
        axis_outside,
        "is at column 99, as the file says; expected 0 to 63, inside the detector: columns count from 0",
    ),
    "no table": (uneven, "no table of angles is beside it; expected a table beside the images, angles.csv"),
}


def one_sentence(outcome, said: str) -> None:
    assert outcome.status == 2 and outcome.out == "", outcome
    (sentence,) = outcome.err.strip().splitlines()
    assert sentence.startswith("tomopilot: ") and said in sentence, sentence


@pytest.mark.parametrize("name", SCANS)
def test_scans(call, tmp_path, name):
    save, said = SCANS[name]
    words = ("--posterior", "fbp", "--out", tmp_path / "run")
    one_sentence(call("reconstruct", save(tmp_path), *words), said)
    assert not (tmp_path / "run").exists()


def test_a_stack_with_a_slice_of_another_size(call, tmp_path):
    outcome = call("simulate", f"volume:{uneven(tmp_path)}", "--out", tmp_path / "run")
    one_sentence(outcome, "slice99.tif")
    assert not (tmp_path / "run").exists()


def test_a_layout_without_the_named_cell(call, tmp_path):
    db = pytest.importorskip("klayout.db")
    layout = db.Layout()
    layout.create_cell("CHIP").shapes(layout.layer(1, 0)).insert(db.Box(0, 0, 9000, 9000))
    layout.write(str(tmp_path / "chip.gds"))
    words = ("--stack", SKY, "--top", "CHOP", "--out", tmp_path / "set")
    outcome = call("prepare", tmp_path / "chip.gds", *words)
    one_sentence(outcome, "chip.gds: it has no cell 'CHOP'; its cells are CHIP: give one with --top")
    assert not (tmp_path / "set").exists()
