import dataclasses
import json
import os
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import make_scan

from tomopilot.files.nexus import Frames, ScanFile, read_row, read_scan, write_scan
from tomopilot.files.reading import InputFileError


@pytest.fixture
def path(tmp_path) -> Path:
    write_scan(tmp_path / "scan.h5", make_scan())
    return tmp_path / "scan.h5"


@pytest.mark.parametrize(
    "scan", [make_scan(), make_scan(n=0), make_scan(steps=0, samples=0)], ids=["", "new", "plain"]
)
def test_read_back_exactly(tmp_path, scan):
    write_scan(tmp_path / "scan.h5", scan)
    again = read_scan(tmp_path / "scan.h5")
    for field in dataclasses.fields(ScanFile):
        np.testing.assert_equal(getattr(again, field.name), getattr(scan, field.name), strict=False)
        assert getattr(getattr(again, field.name), "dtype", None) == getattr(
            getattr(scan, field.name), "dtype", None
        )
    assert [file.name for file in tmp_path.iterdir()] == ["scan.h5"]


def test_frames_of_a_volume(tmp_path):
    """Written one by one; read back as a whole, or one detector row at a time."""
    frames = np.random.default_rng(0).random((4, 3, 7), np.float32)
    parts = {"reconstruction": None, "uncertainty": None, "samples": None}
    read = lambda: iter(frames)  # noqa: E731
    scan = dataclasses.replace(make_scan(), projections=Frames(frames.shape, frames.dtype, read), **parts)
    write_scan(tmp_path / "scan.h5", scan)
    again = read_scan(tmp_path / "scan.h5")
    np.testing.assert_array_equal(again.projections, frames)
    assert again.reconstruction is again.uncertainty is again.samples is None
    np.testing.assert_array_equal(read_row(tmp_path / "scan.h5", 2), frames[:, 2])
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file["entry/data/data"].shape == (4, 3, 7) and "data" not in file["entry/reconstruction"]


def test_what_nxtomo_requires(path):
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry" and entry["definition"].asstr()[()] == "NXtomo"
        for group in ("instrument", "instrument/detector", "sample", "data"):
            assert entry[group].attrs["NX_class"] == "NX" + group.split("/")[-1]
        detector, sample, data = entry["instrument/detector"], entry["sample"], entry["data"]
        np.testing.assert_array_equal(detector["data"][:, 0], make_scan().projections)
        assert detector["image_key"].shape == (4,) and not detector["image_key"][()].any()
        assert sample["rotation_angle"].attrs["units"] == "degree" and "name" in sample
        assert data[data.attrs["signal"]] == detector["data"] and data["image_key"] == detector["image_key"]
        assert data["rotation_angle"] == sample["rotation_angle"]
        assert detector["data"].attrs["quantity"] == "line integral"
        assert "-log(transmission) already" in detector["data"].attrs["long_name"]
        assert "no flats" in entry["experiment_description"].asstr()[()]
        for name in ("data", "image_key", "rotation_angle"):
            target = data[name].attrs["target"]
            assert target != f"/entry/data/{name}" and file[target] == data[name]


def test_what_nexus_wants_of_processes_and_notes(path):
    with h5py.File(path) as file:
        process = file["entry/reconstruction"]
        assert process.attrs["NX_class"] == "NXprocess" and process["sequence_index"][()] == 1
        assert datetime.fromisoformat(process["date"].asstr()[()]).tzinfo
        assert {"program", "version"} <= set(process)
        note = process["provenance"]
        assert note.attrs["NX_class"] == "NXnote" and note["type"].asstr()[()] == "application/json"
        assert isinstance(note["data"][()], bytes)  # NX_BINARY
        assert json.loads(note["data"][()]) == make_scan().provenance


@pytest.mark.parametrize("size", [None, 3.25e-6])
def test_a_pixel_size_is_real_or_absent(path, size):
    scan = dataclasses.replace(make_scan(), pixel_size=size)
    write_scan(path, scan)
    assert read_scan(path).pixel_size == size
    with h5py.File(path) as file:
        detector = file["entry/instrument/detector"]
        assert ("x_pixel_size" in detector) == (size is not None) and "y_pixel_size" not in detector
        if size:
            assert detector["x_pixel_size"].attrs["units"] == "m"
    with pytest.raises(ValueError, match="pixel size is 0"):
        dataclasses.replace(scan, pixel_size=0.0)


@pytest.mark.parametrize("note", ['{"seed": "0"}', np.frombuffer(b'{"seed": "0"}', np.uint8)], ids=type)
def test_earlier_files_are_read(path, note):
    """They had a text or numbers as note, and pixels of 1 pixel."""
    with h5py.File(path, "a") as file:
        put("entry/reconstruction/provenance/data", note)(file)
        file["entry/instrument/detector/x_pixel_size"] = 1.0
        file["entry/instrument/detector/x_pixel_size"].attrs["units"] = "pixel"
    again = read_scan(path)
    assert again.provenance == {"seed": "0"} and again.pixel_size is None


def test_truncated(path):
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 40, dtype=int):
        path.write_bytes(content[:length])
        with pytest.raises(InputFileError, match=r"scan\.h5"):
            read_scan(path)


def cut_out(place):
    def change(file):
        del file[place]

    return change


def put(place, value):
    def change(file):
        del file[place]
        file[place] = value

    return change


FOREIGN = {
    "no definition": cut_out("entry/definition"),
    "another definition": put("entry/definition", "NXxas"),
    "no provenance": cut_out("entry/reconstruction/provenance"),
    "provenance is no JSON": put("entry/reconstruction/provenance/data", "seed=0"),
    "a number for a name": put("entry/sample/name", 3.0),
    "a group for an array": put("entry/sample/rotation_angle", h5py.SoftLink("/entry/sample")),
    "an angle is missing": put("entry/sample/rotation_angle", np.zeros(3)),
    "complex": put("entry/reconstruction/data", np.zeros((5, 6), complex)),
    "several detector rows": put("entry/instrument/detector/data", np.zeros((4, 2, 7))),
    "flats": put("entry/instrument/detector/image_key", np.ones(4, int)),
    "elsewhere": put("entry/design/scores", h5py.ExternalLink("other.h5", "/scores")),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_foreign(path, change):
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputFileError, match=r"scan\.h5"):
        read_scan(path)


def test_absent_and_folder(tmp_path):
    for path in (tmp_path / "absent.h5", tmp_path):
        with pytest.raises(InputFileError, match=path.name):
            read_scan(path)


@pytest.mark.parametrize("broken", ["a name HDF5 refuses", "fsync", "replace"])
def test_a_failure_leaves_what_was_there(path, monkeypatch, broken):
    def full(*_):
        raise OSError("no space left on device")

    before, scan = path.read_bytes(), make_scan(n=6)
    if broken in ("fsync", "replace"):
        monkeypatch.setattr(os, broken, full)
    else:
        scan = dataclasses.replace(scan, name="\0")
    with pytest.raises((OSError, ValueError)):
        write_scan(path, scan)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["scan.h5"]


def test_no_folder_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        write_scan(tmp_path / "absent" / "scan.h5", make_scan())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("angles_deg", np.zeros(3)),
        ("uncertainty", np.zeros((6, 5))),
        ("samples", np.zeros((5, 6))),
        ("scores", np.zeros((3, 8))),
        ("projections", np.zeros((4, 7), complex)),
    ],
)
def test_arrays_that_disagree(field, value):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(make_scan(), **{field: value})
