import numpy as np
import pytest
import torch
from samples import PER_HU, STACK, WATER, refusal, save_dicom, save_dicoms

from tomopilot.files.description import described
from tomopilot.files.images import count_images, read_images

ATTENUATION = torch.from_numpy(np.clip(WATER + PER_HU * (8.0 * STACK - 1024), 0, 1)).float()
pytest.importorskip("pydicom")


def save(folder, stack=STACK, **tags):
    return save_dicoms(folder, stack, RescaleSlope=8, PixelSpacing=[0.5, 0.5], **tags)


def replace(path, image=STACK[0], **tags) -> None:
    """Another slice instead of one of a series."""
    place = {"ImagePositionPatient": [-10, -10, 99], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    save_dicom(path, image, **{"SeriesInstanceUID": "1.2.4", "PixelSpacing": [0.5, 0.5], **place, **tags})


def test_slices_are_ordered_from_foot_to_head(tmp_path):
    """Not by name, nor by number."""
    images = read_images(str(save(tmp_path / "scan")))
    torch.testing.assert_close([image.pixels for image in images], [*ATTENUATION])
    assert [image.name for image in images] == [f"scan::{i}" for i in range(8)]
    assert {image.pixel_size for image in images} == {0.5e-3} and images[0].notes == ()
    assert described(str(tmp_path / "scan"))["type"] == "uint16"
    assert count_images(str(tmp_path / "scan")) == 8
    (image,) = read_images(f"{tmp_path / 'scan'}::6")
    torch.testing.assert_close(image.pixels, ATTENUATION[6])


def test_the_normal_of_tilted_slices_is_what_counts(tmp_path):
    """Sagittal slices: columns run to the feet, so that the normal points to the left."""
    (tmp_path / "scan").mkdir()
    for i, image in enumerate(STACK):
        place = {
            "ImagePositionPatient": [50 - 2 * i, 3 * (i % 2), -i],
            "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        }
        replace(tmp_path / f"scan/{i}.dcm", image, RescaleSlope=8, **place)
    images = read_images(str(tmp_path / "scan"))
    torch.testing.assert_close([image.pixels for image in images], [*ATTENUATION])


def test_one_series_of_several_is_asked_for(tmp_path):
    save(tmp_path / "scan")
    replace(tmp_path / "scan/another.dcm", SeriesInstanceUID="1.2.5")
    replace(tmp_path / "scan/scout.dcm", SeriesInstanceUID="1.2.6", ImageType="LOCALIZER")
    message = refusal(tmp_path / "scan")
    assert (
        "3 series of slices: :/1 (8 from 0.dcm), :/2 (1 from another.dcm), :/3 (1 from scout.dcm)" in message
    )
    assert "1.2." not in message
    images = read_images(f"{tmp_path / 'scan'}:/1")
    assert len(images) == 8 and images[0].name == "scan:/1::0"
    assert len(read_images(f"{tmp_path / 'scan'}:/2")) == 1
    for wrong in ("0", "4", "x", "9" * 5000, "²"):
        assert "3 series of slices" in refusal(f"{tmp_path / 'scan'}:/{wrong}")
    assert "scout.dcm: the tag ImageType" in refusal(f"{tmp_path / 'scan'}:/3")


def test_a_directory_of_files_is_no_slice(tmp_path):
    save(tmp_path / "scan")
    pydicom = pytest.importorskip("pydicom")
    listing = pydicom.dcmread(tmp_path / "scan/0.dcm")
    listing.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    listing.save_as(tmp_path / "scan/DICOMDIR")
    assert count_images(str(tmp_path / "scan")) == 8


ODD = {  # a slice that does not fit, and why
    "3.dcm has the shape (5, 5), but 0.dcm has (5, 6)": {"image": STACK[0, :, :5]},
    "3.dcm has the pixel size 0.0006, but 0.dcm has 0.0005": {"PixelSpacing": [0.6, 0.6]},
    "3.dcm has the orientation (0.0, 1.0, 0.0": {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]},
    "3.dcm: it holds 2 images; expected one": {"NumberOfFrames": 2},
    "3.dcm has no ImagePositionPatient (0020,0032)": {"ImagePositionPatient": None},
    "and 3.dcm are at one position": {"ImagePositionPatient": [0, 0, -40]},
    "3.dcm: the tag Modality (0008,0060) is MR": {"Modality": "MR"},
    "3.dcm: the tag RescaleSlope (0028,1053) is empty": {"RescaleSlope": None},
    "3.dcm has the shape (65535, 65535)": {"Rows": 65535, "Columns": 65535},
}


@pytest.mark.parametrize("said", ODD)
def test_a_slice_that_does_not_fit_is_named(tmp_path, said):
    save(tmp_path / "scan")
    replace(tmp_path / "scan/3.dcm", **ODD[said])
    assert said in refusal(tmp_path / "scan")


def test_gaps_are_said(tmp_path):
    save(tmp_path / "scan")
    (tmp_path / "scan/7.dcm").unlink()  # the fourth from the feet
    (image, *_) = read_images(str(tmp_path / "scan"))
    assert image.notes == ("slices are 2.5 to 5 mm apart; the widest gap is after image 2",)


def test_real_series(data_folder):
    images = read_images(f"{data_folder / 'native/dicom_ct'}:/2")
    assert [tuple(image.pixels.shape) for image in images] == [(512, 512)] * 3
    alone = read_images(str(data_folder / "native/dicom_ct/LungDx-A0001_1-32.dcm"))
    assert torch.equal(images[0].pixels, alone[0].pixels), "slice 32 is nearest to the feet"
