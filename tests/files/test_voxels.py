"""The store of a reconstructed volume: what was written, what was not, and what it all is."""

import numpy as np
import pytest

from tomopilot.files.voxels import Voxels, check_zarr, create_store, done, read_slice, write_slice

zarr = pytest.importorskip("zarr")
SHAPE = (5, 4, 3)


def found(number: int) -> Voxels:
    return Voxels(np.full(SHAPE[1:], number, np.float32), np.full(SHAPE[1:], 0.1, np.float32), 2.5)


@pytest.fixture
def store(tmp_path):
    create_store(tmp_path / "a.zarr", SHAPE, {"provenance": {"seed": "3"}}, unit="1/m", pixel_size=2e-6)
    for number in (3, 0):
        write_slice(tmp_path / "a.zarr", number, found(number))
    return tmp_path / "a.zarr"


def test_slices_come_back_as_they_were_written(store):
    assert done(store) == {0, 3}
    for number in (0, 3):
        for ours, theirs in zip(read_slice(store, number), found(number), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_was_not_written_is_nan(store):
    assert all(np.isnan(part).all() for part in read_slice(store, 1))


def test_what_is_there_is_kept(store):
    create_store(store, SHAPE, {"provenance": {"seed": "3"}}, unit="1/m")
    assert done(store) == {0, 3} and read_slice(store, 3).estimate.mean() == 3


def test_a_slice_of_one_image_is_done_without_uncertainty(store):
    write_slice(store, 4, found(4)._replace(uncertainty=np.full(SHAPE[1:], np.nan, np.float32)))
    assert 4 in done(store)


def test_a_slice_that_was_being_written_is_not_done(store, monkeypatch):
    """Its time comes last."""
    kept = zarr.Array.__setitem__

    def dying(array, *rest):
        if array.name == "/seconds":
            raise KeyboardInterrupt
        kept(array, *rest)

    monkeypatch.setattr(zarr.Array, "__setitem__", dying)
    with pytest.raises(KeyboardInterrupt):
        write_slice(store, 2, found(2))
    assert done(store) == {0, 3}


def test_a_chunk_is_a_slice(store):
    """So that any number of processes may write, and a viewer reads what it shows."""
    group = zarr.open_group(store, mode="r")
    for name in ("estimate", "uncertainty"):
        assert group[name].chunks == (1, 4, 3) and group[name].dtype == "float32"
        assert (store / name / "c" / "3" / "0" / "0").is_file()
        assert not (store / name / "c" / "1").exists()


def test_what_the_numbers_are(store):
    group = zarr.open_group(store, mode="r")
    assert group.attrs["provenance"] == {"seed": "3"}
    for name in ("estimate", "uncertainty"):
        about = group[name].attrs
        assert (about["units"], about["pixel_size"], about["pixel_size_unit"]) == ("1/m", 2e-6, "m")
        assert list(about["axes"]) == list(group[name].metadata.dimension_names) == ["z", "y", "x"]


def test_viewers_find_axes_and_scale(store, tmp_path):
    """As OME-Zarr 0.5 wants them."""
    ome = zarr.open_group(store, mode="r").attrs["ome"]
    assert ome["version"] == "0.5"
    for shown in ome["multiscales"]:
        assert shown["axes"] == [{"name": n, "type": "space", "unit": "meter"} for n in "zyx"]
        ((dataset,),) = (shown["datasets"],)
        assert dataset["path"] in zarr.open_group(store, mode="r")
        assert dataset["coordinateTransformations"] == [{"type": "scale", "scale": [2e-6] * 3}]
    create_store(tmp_path / "b.zarr", SHAPE, {})
    (first, _) = zarr.open_group(tmp_path / "b.zarr", mode="r").attrs["ome"]["multiscales"]
    assert "unit" not in first["axes"][0]


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("tomopilot.files.voxels.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"zarr: pip install 'tomopilot\[zarr\]'"):
        check_zarr()
