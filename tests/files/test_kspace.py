import h5py
import numpy as np
import pytest

from tomopilot.files.kspace import FORMAT, KspaceFile, read_kspace, write_kspace
from tomopilot.files.nexus import read_scan
from tomopilot.files.reading import InputFileError


def scan(**changes) -> KspaceFile:
    random = np.random.default_rng(0)

    def numbers(*shape):
        return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)

    fields = {
        "values": numbers(3, 6),
        "rows": np.array([4, 3, 5]),
        "reconstruction": numbers(8, 6),
        "uncertainty": random.random((8, 6)).astype(np.float32),
        "samples": numbers(2, 8, 6),
        "scores": random.random((2, 8)).astype(np.float32),
        "name": "slices.npz::3",
        "provenance": {"seed": "1"},
    }
    return KspaceFile(**{**fields, **changes})


def test_round_trip(tmp_path):
    write_kspace(tmp_path / "scan.h5", scan())
    found = read_kspace(tmp_path / "scan.h5")
    for field, value in vars(scan()).items():
        np.testing.assert_array_equal(getattr(found, field), value)
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file.attrs["format"] == FORMAT and "row h // 2" in file["kspace/rows"].attrs["meaning"]
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]


def test_it_does_not_claim_to_be_nxtomo(tmp_path):
    write_kspace(tmp_path / "scan.h5", scan())
    with pytest.raises(InputFileError):
        read_scan(tmp_path / "scan.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputFileError, match="written by tomopilot"):
        read_kspace(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("field", "value"),
    [("values", np.zeros((3, 6))), ("rows", np.zeros(2, int)), ("samples", np.zeros((2, 6, 8), complex))],
)
def test_arrays_that_do_not_belong_together_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        scan(**{field: value})
