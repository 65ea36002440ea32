import gzip
import os
import shutil

import numpy as np
import pytest
from samples import (
    SAVE_STACK,
    STACK,
    assert_read,
    refusal,
    save_dicom,
    save_dicoms,
    save_nifti,
    save_png,
    save_tifs,
    save_vgi,
)

from tomopilot.files.formats import format_of, natural, series_in
from tomopilot.files.reading import InputFileError

ENDINGS = ["npy", "npz", "png", "tif", "tiff", "h5", "hdf5", "nxs", "dcm", "nii", "nii.gz", "vgi", "zarr"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_absent_foreign_and_empty_files(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    assert path.name in refusal(path) and path.name in refusal(f"{path}::0")
    for content in (b"", b"\0" * 4096, b"<html>404 not found</html>" * 99):
        path.write_bytes(content)
        assert path.name in refusal(path)
    path.unlink()
    path.mkdir()
    assert path.name in refusal(path)


@pytest.mark.parametrize("ending", ["npy", "npz", "png", "tif", "h5", "dcm"])
def test_pipes_devices_and_sizes_are_rejected(tmp_path, ending):
    """At once: nothing is opened, so nothing waits or fills the memory."""
    os.mkfifo(pipe := tmp_path / f"pipe.{ending}")
    assert "is a pipe, not a file; expected" in refusal(pipe)
    (tmp_path / f"device.{ending}").symlink_to("/dev/zero")
    assert "is a device, not a file; expected" in refusal(tmp_path / f"device.{ending}")
    with (tmp_path / f"large.{ending}").open("wb") as file:
        file.truncate(2**33)
    refusal(tmp_path / f"large.{ending}")


@pytest.mark.parametrize("name", SAVE_STACK)
@pytest.mark.parametrize("ending", ["", ".png", ".dcm", ".nii.gz", ".vol"])
def test_a_wrong_ending_changes_nothing(tmp_path, name, ending):
    """The content tells what a file is."""
    SAVE_STACK[name](tmp_path / name, STACK)
    shutil.move(tmp_path / name, tmp_path / f"other{ending}")
    assert_read(tmp_path / f"other{ending}", STACK)


def test_other_formats_by_other_endings(tmp_path):
    save_png(tmp_path / "a.png", STACK[0])
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert_read(tmp_path / "a.tif", STACK[:1])
    save_nifti(tmp_path / "a.nii.gz", STACK.T)
    (tmp_path / "a.nii.gz").rename(tmp_path / "a.dcm")
    save_vgi(tmp_path / "b.vgi", STACK)
    (tmp_path / "b.vgi").rename(tmp_path / "b.txt")
    assert format_of(tmp_path / "a.dcm") == "NIfTI" and format_of(tmp_path / "b.txt") == "VGStudio"
    assert_read(tmp_path / "b.txt", STACK)
    save_dicom(tmp_path / "a.png", STACK[0])
    assert format_of(tmp_path / "a.png") == "DICOM"


def test_what_is_rejected_says_why(tmp_path):
    for name, content, words in (
        ("a.jpg", b"\xff\xd8\xff\xe0 and more", "begins with"),
        ("a.vol", b"\1\2\3", "name the .vgi file beside it"),
        ("a.gz", gzip.compress(b"some text"), "unpack it first"),
        ("b.gz", b"\x1f\x8b\x08 and no more", "unpack it first"),
        ("a.tif", b"", "is empty"),
    ):
        (tmp_path / name).write_bytes(content)
        assert words in refusal(tmp_path / name)
    save_nifti(tmp_path / "pair.nii", STACK.T)
    content = (tmp_path / "pair.nii").read_bytes().replace(b"n+1", b"ni1")
    (tmp_path / "pair.hdr").write_bytes(content)
    assert "one of a pair of NIfTI files" in refusal(tmp_path / "pair.hdr")


def test_parts_are_named_only_where_there_are_some(tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    assert "a NumPy file has no parts such as /images" in refusal(f"{tmp_path / 'a.npy'}:/images")


def test_a_folder_is_a_series_of_one_format(tmp_path):
    save_tifs(tmp_path / "tif", STACK)
    (tmp_path / "tif/scan.log").write_text("100 kV")
    (tmp_path / "tif/.hidden.tif").write_bytes(b"")
    assert format_of(tmp_path / "tif") == "TIFF series"
    assert [path.name for path in series_in(tmp_path / "tif")[1]] == [f"slice{i}.tif" for i in range(7, 15)]
    save_dicoms(tmp_path / "dicom", STACK)
    assert format_of(tmp_path / "dicom") == "DICOM series"
    shutil.copy(tmp_path / "tif/slice7.tif", tmp_path / "dicom")
    with pytest.raises(InputFileError, match="8 DICOM files and 1 TIFF files; expected those of one stack"):
        format_of(tmp_path / "dicom")
    (tmp_path / "none").mkdir()
    assert "the folder holds no slices" in refusal(tmp_path / "none")


def test_a_damaged_slice_is_not_passed_over(tmp_path):
    save_tifs(tmp_path / "tif", STACK)
    (tmp_path / "tif/slice9.tif").write_bytes(b"")
    assert "slice9.tif" in refusal(f"{tmp_path / 'tif'}::0")


def test_numbers_in_names_count(tmp_path):
    names = ["a2b10", "a10b1", "a2b9", "A1", "a02b9", "b", "3"]
    ordered = sorted((tmp_path / name for name in names), key=natural)
    assert [path.name for path in ordered] == ["3", "A1", "a02b9", "a2b9", "a2b10", "a10b1", "b"]
