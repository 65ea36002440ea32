import json

import numpy as np
from samples import STACK, save_h5, save_tifs


def test_files_in_a_table(call, tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    save_tifs(tmp_path / "scan", STACK, resolution=(1e4, 1e4), resolutionunit=3)
    save_h5(tmp_path / "b.h5", one=STACK, two=STACK)
    outcome = call("inspect", tmp_path / "a.npy", tmp_path / "scan", tmp_path / "b.h5")
    lines = outcome.out.splitlines()
    assert outcome.status == 0
    (line,) = [line for line in lines if "a.npy" in line]
    assert [word.strip() for word in line.split("│")[1:-1]] == [
        *("a.npy", "NumPy", "8", "5 x 6", "uint8"),
        f"{STACK.min() / 255:.4g} to {STACK.max() / 255:.4g}",
        *("unknown", ""),
    ]
    assert any("TIFF series" in line and "1 um" in line for line in lines)
    assert "expected one data set of images" in outcome.out


def test_files_as_json(call, tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    outcome = call("inspect", tmp_path / "a.npy", tmp_path / "absent.npy", "--json")
    first, second = json.loads(outcome.out)
    assert outcome.status == 0 and first["images"] == 8 and "does not exist" in second["rejected"]


def test_files_in_markdown(call, tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    head, _, row, rejected = call(
        "inspect", tmp_path / "a.npy", tmp_path / "absent.npy", "--markdown"
    ).out.splitlines()
    assert head.startswith("| file | format | images | pixels |") and row.startswith(
        "| a.npy | NumPy | 8 | 5 x 6 |"
    )
    assert rejected.startswith("| absent.npy |") and "does not exist" in rejected


def test_nothing_that_can_be_read(call, tmp_path):
    outcome = call("inspect", tmp_path / "absent.npy")
    assert outcome.status == 2 and "does not exist" in outcome.out
