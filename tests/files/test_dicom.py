import sys

import numpy as np
import pytest
import torch
from samples import PER_HU, STACK, WATER, refusal, save_dicom

from tomopilot.files.dicom import read
from tomopilot.files.images import read_images


def test_dicom_becomes_attenuation(tmp_path):
    stored = np.array([[0, 12, 512], [1000, 2000, 60000]], np.uint16)
    save_dicom(tmp_path / "a.dcm", stored)
    (image,) = read_images(str(tmp_path / "a.dcm"))
    wanted = np.clip(WATER + PER_HU * (2.0 * stored - 1024), 0, 1)
    torch.testing.assert_close(image.pixels, torch.from_numpy(wanted).float())
    assert image.pixels[0, 2] == np.float32(WATER)
    save_dicom(tmp_path / "mr.dcm", stored, Modality="MR")
    assert "mr.dcm" in refusal(tmp_path / "mr.dcm")


REJECTED_DICOM = {
    "ImageType (0008,0008)": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "PixelSpacing (0028,0030) is [1.0, 0.5]": {"PixelSpacing": [1.0, 0.5]},
    "PixelSpacing (0028,0030) is [0.0, 0.0]": {"PixelSpacing": [0.0, 0.0]},
    "PixelAspectRatio (0028,0034)": {"PixelAspectRatio": ["2", "1"]},
    "PixelSpacing (0028,0030) is 1.0": {"PixelSpacing": 1.0},
    "ImageType (0008,0008) is LOCALIZER": {"ImageType": "LOCALIZER"},
    "RescaleType (0028,1054) is Z_EFF": {"RescaleType": "Z_EFF"},
    "RescaleSlope (0028,1053) is empty": {"RescaleSlope": None},
    "RescaleIntercept (0028,1052) is empty": {"RescaleIntercept": None},
    "RescaleSlope (0028,1053) is 0": {"RescaleSlope": 0},
    "Modality (0008,0060) is MR": {"Modality": "MR"},
}


@pytest.mark.parametrize("said", REJECTED_DICOM)
def test_other_dicom_is_rejected_naming_the_tag(tmp_path, said):
    save_dicom(tmp_path / "a.dcm", STACK[0], **REJECTED_DICOM[said])
    assert said in refusal(tmp_path / "a.dcm")


@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
def test_dicom_that_lacks_a_tag(tmp_path, tag):
    save_dicom(tmp_path / "a.dcm", STACK[0])
    dataset = pytest.importorskip("pydicom").dcmread(tmp_path / "a.dcm")
    del dataset[tag]
    dataset.save_as(tmp_path / "a.dcm")
    assert f"the tag {tag} (0028,105{'3' if tag == 'RescaleSlope' else '2'}) is missing" in refusal(
        tmp_path / "a.dcm"
    )


def test_dicom_of_square_pixels_and_empty_tags(tmp_path):
    save_dicom(tmp_path / "a.dcm", STACK[0])
    (plain,) = read_images(str(tmp_path / "a.dcm"))
    tags = {"PixelSpacing": [0.703125, 0.703125], "RescaleType": "HU", "PixelAspectRatio": None}
    save_dicom(tmp_path / "a.dcm", STACK[0], ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], **tags)
    (image,) = read_images(str(tmp_path / "a.dcm"))
    assert torch.equal(image.pixels, plain.pixels) and plain.pixel_size is None
    assert image.pixel_size == pytest.approx(0.703125e-3)


def test_dicom_without_preamble(tmp_path):
    """Old exports begin with the first tag; with and without the group that names the encoding."""
    save_dicom(tmp_path / "a.dcm", STACK[0])
    (whole,) = read_images(str(tmp_path / "a.dcm"))
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[132:])
    dataset = pytest.importorskip("pydicom").dcmread(tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID, dataset.preamble = "1.2.840.10008.1.2", None
    dataset.save_as(tmp_path / "c.dcm", implicit_vr=True, little_endian=True)
    content = (tmp_path / "c.dcm").read_bytes()
    (tmp_path / "c.dcm").write_bytes(content[content.index(b"\x08\0\x60\0") :])  # from the modality on
    for name in ("b.dcm", "c.dcm"):
        assert torch.equal(read_images(str(tmp_path / name))[0].pixels, whole.pixels)


def test_dicom_without_pydicom_names_the_extra(tmp_path, monkeypatch):
    save_dicom(tmp_path / "a.dcm", STACK[0])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "tomopilot[dicom]" in refusal(tmp_path / "a.dcm")


def test_absurd_sizes_are_rejected_before_they_are_read(tmp_path):
    for tags, words in (
        ({"Rows": 65535, "Columns": 65535}, "an image declares"),
        ({"NumberOfFrames": 2**31 - 1}, "its images declares"),
    ):
        save_dicom(tmp_path / "a.dcm", STACK[0], **tags)
        assert words in refusal(tmp_path / "a.dcm")


def test_nothing_of_the_patient_is_read(tmp_path):
    """Not even into the message of an error: a name that cannot be decoded stays unread."""
    tags = {
        "PatientName": "Doe^Jane",
        "PatientID": "7",
        "PatientBirthDate": "19700101",
        "StudyDate": "20200101",
    }
    save_dicom(tmp_path / "a.dcm", STACK[0], **tags)
    assert not {"PatientName", "PatientID", "PatientBirthDate", "StudyDate"} & set(
        read(tmp_path / "a.dcm").dir()
    )
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content.replace(b"19700101", b"Jane\xff\xffx7"))
    (image,) = read_images(str(tmp_path / "a.dcm"))
    assert "Jane" not in repr(image)


def test_real_slices(data_folder):
    for path in sorted((data_folder / "native/dicom_ct").glob("*.dcm")):
        (image,) = read_images(str(path))
        tissue = image.pixels[(image.pixels > 0.2) & (image.pixels < 0.3)]
        assert abs(float(tissue.median()) - 0.25) < 0.02, "soft tissue is near water, 0.246"
