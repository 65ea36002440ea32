import gzip
import itertools
import sys

import numpy as np
import pytest
import torch
from samples import PER_HU, STACK, WATER, assert_read, expected, refusal, save_nifti

from tomopilot.files.images import count_images, read_images
from tomopilot.files.reading import LARGEST

VOLUME = STACK.transpose(2, 1, 0)  # (x, y, z): to the left, to the back, to the head
FLOATS = VOLUME.astype(np.float32) / 255
pytest.importorskip("nibabel")


def rewritten(path, **fields) -> None:
    """The header of a plain file, with fields that nibabel itself would not write."""
    from nibabel.nifti1 import Nifti1Header

    content = path.read_bytes()
    header = Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))), ids=str)
def test_volumes_are_turned_as_dicom_is(tmp_path, axes, ending):
    """Stored along any axes, in any direction."""
    from nibabel.affines import from_matvec

    turned = VOLUME.transpose(axes)
    matrix = (np.diag([-2.0, -2.0, 3.0])).T[:, axes]
    for signs in ((1, 1, 1), (-1, 1, -1), (1, -1, 1)):
        stored = turned[tuple(slice(None, None, sign) for sign in signs)]
        save_nifti(tmp_path / f"a.{ending}", stored, from_matvec(matrix * signs))
        assert_read(tmp_path / f"a.{ending}", STACK)
        (image,) = read_images(f"{tmp_path / f'a.{ending}'}::6")
        assert torch.equal(image.pixels, expected(STACK[6])) and image.pixel_size == 2e-3


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_and_byte_orders(tmp_path, version):
    import nibabel

    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    wide = VOLUME.astype(np.uint16) * 257
    image = kind(wide.astype(">u2"), np.diag([-1.0, -1.0, 1.0, 1.0]))
    nibabel.save(image, tmp_path / "little.nii")
    nibabel.save(kind(wide, image.affine, image.header.as_byteswapped(">")), tmp_path / "big.nii")
    for name in ("little.nii", "big.nii"):
        assert_read(tmp_path / name, STACK)


def test_scaling_of_the_header(tmp_path):
    save_nifti(tmp_path / "a.nii", VOLUME)
    rewritten(tmp_path / "a.nii", scl_slope=0.5, scl_inter=3)
    assert_read(tmp_path / "a.nii", 0.5 * STACK + 3)
    for slope in (0, np.nan):
        rewritten(tmp_path / "a.nii", scl_slope=slope)
        assert_read(tmp_path / "a.nii", STACK)


def test_volumes_without_orientation_are_taken_as_stored(tmp_path):
    save_nifti(tmp_path / "a.nii", VOLUME)
    rewritten(tmp_path / "a.nii", sform_code=0, qform_code=0)
    images = read_images(str(tmp_path / "a.nii"))
    assert torch.equal(images[1].pixels, expected(STACK[1]))
    assert images[0].notes == (
        "its orientation is unknown: slices, rows and columns are its axes 3, 2 and 1",
    )


def test_an_unknown_unit_of_length_is_said(tmp_path):
    save_nifti(tmp_path / "a.nii", VOLUME)
    rewritten(tmp_path / "a.nii", xyzt_units=0)
    image = read_images(str(tmp_path / "a.nii"))[0]
    assert image.pixel_size is None and image.notes == ("its pixels are 2 in a unit that it does not say",)
    rewritten(tmp_path / "a.nii", xyzt_units=3)
    assert read_images(str(tmp_path / "a.nii"))[0].pixel_size == 2e-6
    rewritten(tmp_path / "a.nii", pixdim=[1, 2, 5, 1, 1, 1, 1, 1])
    assert "expected two equal sides: resample" in refusal(tmp_path / "a.nii")


CT = {  # how a volume with air is stored
    "int16": lambda hounsfield: (hounsfield.astype(np.int16), {}),
    "float32": lambda hounsfield: (hounsfield.astype(np.float32), {}),
    "uint16": lambda hounsfield: (
        (hounsfield + 1024).astype(np.uint16),
        {"scl_slope": 1, "scl_inter": -1024},
    ),
}


@pytest.mark.parametrize("kind", CT)
def test_ct_numbers_become_attenuation(tmp_path, kind):
    """Known by the air in the volume, whichever slices are picked; it is said."""
    hounsfield = 8.0 * VOLUME - 1024
    hounsfield[..., 5] = 40
    stored, fields = CT[kind](hounsfield)
    save_nifti(tmp_path / "a.nii", stored)
    rewritten(tmp_path / "a.nii", **fields)
    wanted = np.clip(WATER + PER_HU * hounsfield, 0, 1).transpose(2, 1, 0)
    low, soft = read_images(f"{tmp_path / 'a.nii'}::0,5")
    torch.testing.assert_close([low.pixels, soft.pixels], [*torch.from_numpy(wanted[[0, 5]]).float()])
    (said,) = low.notes
    assert (
        said
        == f"values go down to {hounsfield.min():g}, so they are Hounsfield units, and became attenuation"
    )


@pytest.mark.parametrize("low", [-4096.0, -800.0, -160.0, -11.0])
def test_what_may_be_ct_numbers_is_rejected(tmp_path, low):
    """A part of a body without air, phases of MRI, or anything else."""
    save_nifti(tmp_path / "a.nii", FLOATS * 100 + low)
    message = refusal(f"{tmp_path / 'a.nii'}::0")
    assert (
        f"go down to {(FLOATS * 100 + np.float32(low)).min():g}" in message and "save attenuation" in message
    )


def test_other_floats_are_taken_as_they_are(tmp_path):
    for values in (FLOATS, FLOATS * 4000, FLOATS - 0.1):
        save_nifti(tmp_path / "a.nii", values)
        assert_read(tmp_path / "a.nii", values.transpose(2, 1, 0))


BAD = {  # fields of a header, and why it is rejected
    "negative": ({"dim": [3, -6, 5, 8, 1, 1, 1, 1]}, "its sides are (-6, 5, 8)"),
    "empty": ({"dim": [3, 0, 5, 8, 1, 1, 1, 1]}, "its sides are (0, 5, 8)"),
    "line": ({"dim": [1, 6, 1, 1, 1, 1, 1, 1]}, "its sides are (6,)"),
    "series": ({"dim": [4, 6, 5, 4, 2, 1, 1, 1]}, "its sides are (6, 5, 4, 2)"),
    "huge": ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "declares"),
    "more than there is": ({"dim": [3, 6, 5, 9, 1, 1, 1, 1]}, "content is not what was expected"),
    "less than there is": ({"dim": [3, 6, 5, 7, 1, 1, 1, 1]}, "fewer or more values"),
    "colours": ({"datatype": 128, "bitpix": 24}, "expected numbers"),
    "far away": ({"vox_offset": 1e12}, "its values begin at byte"),
    "before": ({"vox_offset": -400}, "its values begin at byte"),
    "turned nowhere": ({"srow_x": [0, 0, 0, 0]}, "its affine"),
    "turned by NaN": ({"srow_x": [np.nan, 0, 0, 0]}, "its affine"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_absurd_headers_are_rejected(tmp_path, name, ending):
    fields, words = BAD[name]
    save_nifti(tmp_path / "a.nii", VOLUME)
    rewritten(tmp_path / "a.nii", sform_code=1, **fields)
    if ending == "nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    assert words in refusal(tmp_path / f"a.{ending}")


def test_bombs_are_not_inflated(tmp_path):
    """What is declared beyond the limit is not begun; what inflates to more than declared is left."""
    save_nifti(tmp_path / "a.nii", VOLUME)
    rewritten(tmp_path / "a.nii", dim=[3, 2048, 2048, 2048, 1, 1, 1, 1])
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    assert f"the inflated file declares {352 + 2048**3} bytes; at most {LARGEST}" in refusal(
        tmp_path / "a.nii.gz"
    )
    save_nifti(tmp_path / "a.nii", VOLUME)
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content) + gzip.compress(bytes(2**26)))
    assert "fewer or more values" in refusal(f"{tmp_path / 'a.nii.gz'}::0")


def test_a_damaged_end_is_found_whatever_was_picked(tmp_path):
    """The checksum of a compressed file lies behind its last value."""
    save_nifti(tmp_path / "a.nii.gz", VOLUME)
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert "CRC" in refusal(f"{tmp_path / 'a.nii.gz'}::0")


def test_only_the_header_is_read_to_count(tmp_path):
    save_nifti(tmp_path / "a.nii.gz", VOLUME)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[:-20])
    assert count_images(str(tmp_path / "a.nii.gz")) == 8


def test_nifti_without_nibabel_names_the_extra(tmp_path, monkeypatch):
    save_nifti(tmp_path / "a.nii", VOLUME)
    monkeypatch.setitem(sys.modules, "nibabel.nifti1", None)
    assert "tomopilot[volumes]" in refusal(tmp_path / "a.nii")


def test_a_real_volume(data_folder):
    images = read_images(str(data_folder / "native/ct_small.nii.gz"))
    assert [tuple(image.pixels.shape) for image in images] == [(101, 122)] * 30
    tissue = torch.stack([image.pixels for image in images])
    tissue = tissue[(tissue > 0.2) & (tissue < 0.3)]
    assert abs(float(tissue.median()) - 0.25) < 0.02, "soft tissue is near water, 0.246"
