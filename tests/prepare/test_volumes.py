"""Slices of files: their sources and order, which are held back, and that few are read at once."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from tomopilot.prepare import volumes
from tomopilot.prepare.crops import Cut
from tomopilot.prepare.volumes import Division, Volumes, find_slices

DEEP = np.random.default_rng(0).random((24, 32, 40), np.float32)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two volumes, and one whose slices are files of their own."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", DEEP)
    tifffile.imwrite("b.tif", DEEP[:10], photometric="minisblack", resolution=(1e4, 1e4), resolutionunit=3)
    (tmp_path / "c").mkdir()
    for number in range(12):
        Image.fromarray(np.full((32, 32), 200 + number, np.uint8)).save(f"c/slice_{number}.png")
    return tmp_path


def test_a_file_is_a_source_and_so_is_a_folder_of_single_slices(files):
    slices = find_slices(["b.tif", "a.npy::3-5", *(f"c/slice_{n}.png" for n in range(12))])
    assert {one.source for one in slices} == {"a.npy", "b.tif", "c"}
    assert [one.depth for one in slices if one.source == "a.npy"] == [3, 4, 5]


def test_slices_are_in_the_order_of_the_numbers_in_their_names(files):
    slices = find_slices([f"c/slice_{n}.png" for n in (10, 9, 1, 11, 0)])
    assert [one.file for one in slices] == [f"c/slice_{n}.png" for n in (0, 1, 9, 10, 11)]
    assert [(one.place, one.depth, one.number) for one in slices] == [(n, n, 0) for n in range(5)]


@pytest.mark.parametrize("by, expected", [("file", {"one/ct", "two/ct"}), ("folder", {"one", "two"})])
def test_files_of_one_name_in_several_folders(tmp_path, by, expected):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "ct.npy", DEEP[:3])
    slices = find_slices([str(tmp_path / name / "ct.npy") for name in ("one", "two")], by=by)
    assert {one.source.removesuffix(".npy") for one in slices} == expected


def test_an_array_names_the_sources(tmp_path):
    np.savez(tmp_path / "many.npz", images=DEEP, patient=np.arange(24) // 8)
    slices = find_slices([str(tmp_path / "many.npz")], by="patient")
    assert [one.source for one in slices] == [str(n // 8) for n in range(24)]
    assert [one.place for one in slices] == list(range(8)) * 3


def test_a_source_in_both_parts_is_rejected(files):
    assert {one.held for one in find_slices(["a.npy"], ["b.tif"])} == {False, True}
    with pytest.raises(ValueError, match=r"a\.npy is named for training and with --validation"):
        find_slices(["a.npy::0-3"], ["a.npy::20-23"])
    with pytest.raises(ValueError, match=r"b\.tif is named for training"):
        find_slices(["b.tif", "a.npy"], ["b.tif"])


def test_several_sources_are_divided_as_wholes(files):
    division = Division()
    slices = find_slices(["a.npy", "b.tif"])
    held = {one.source for one in division(slices) if one.held}
    assert division.kind(slices) == "source" and len(held) == 1
    assert all(one.held == (one.source in held) for one in division(slices))


def test_one_source_is_divided_by_depth_with_a_gap(files):
    division = Division(share=0.1, gap=4)
    slices = find_slices(["a.npy"])
    divided = division(slices)
    held = [one.depth for one in divided if one.held]
    kept = [one.depth for one in divided if not one.held]
    assert division.kind(slices) == "depth" and held == [11, 12]
    assert kept == [*range(7), *range(17, 24)]


def test_what_was_named_for_validation_stays_it(files):
    slices = find_slices(["a.npy"], ["b.tif"])
    assert Division().kind(slices) == "named" and Division()(slices) == slices


def test_crops_know_where_they_come_from(files):
    crops = list(Volumes(find_slices(["b.tif::2"]), Cut(32, 16)))
    (crop,) = crops
    assert (crop.source, crop.depth, crop.y, crop.x) == ("b.tif", 2, 0, 4)
    assert crop.pixel == pytest.approx(2e-6)  # 10,000 pixels a cm, halved
    np.testing.assert_allclose(crop.pixels, DEEP[2, :, 4:36].reshape(16, 2, 16, 2).mean((1, 3)), rtol=1e-6)


def test_a_pixel_size_that_was_said_counts(files):
    (crop,) = Volumes(find_slices(["b.tif::2"]), Cut(32, 16), pixel=3e-6)
    assert crop.pixel == pytest.approx(6e-6)


def test_every_so_many_th_slice_of_a_source(files):
    crops = list(Volumes(find_slices(["a.npy", "b.tif"]), Cut(None, 32), every=6))
    assert [(crop.source, crop.depth) for crop in crops] == [
        *(("a.npy", n) for n in (0, 6, 12, 18)), ("b.tif", 0), ("b.tif", 6)
    ]  # fmt: skip


def test_few_slices_are_read_at_once_and_each_iteration_reads_anew(files, monkeypatch):
    """Three of 5,120 bytes fit into 16,000; the first one is read alone, to see how large it is."""
    asked = []

    def read(spec):
        asked.append(spec)
        return reader(spec)

    reader = volumes.read_images
    monkeypatch.setattr(volumes, "read_images", read)
    monkeypatch.setattr(volumes, "AT_ONCE", 16_000)
    crops = Volumes(find_slices(["a.npy::0-5"]), Cut(32, 32))
    for _ in range(2):
        assert [crop.depth for crop in crops] == list(range(6))
    assert asked == ["a.npy::0", "a.npy::1,2,3", "a.npy::4,5"] * 2


def test_a_stack_with_a_slice_too_small_names_it(files):
    Image.fromarray(np.full((20, 32), 200, np.uint8)).save("c/slice_12.png")
    slices = find_slices([f"c/slice_{n}.png" for n in (11, 12)])
    with pytest.raises(ValueError, match=r"slice_12\.png.*20 x 32 pixels, too small for crops of 32"):
        list(Volumes(slices, Cut(32, 32)))


@pytest.mark.parametrize("words", [{"split": "half"}, {"share": 1.0}, {"gap": -1}], ids=str)
def test_a_wrong_division(words):
    with pytest.raises(ValueError, match="expected auto, source or depth"):
        Division(**words)
