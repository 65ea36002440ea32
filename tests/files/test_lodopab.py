import numpy as np
import pytest
import torch
from samples import STACK, expected, refusal, save_h5

from tomopilot.files.images import read_images
from tomopilot.files.lodopab import attenuation

GROUND_TRUTH = np.random.default_rng(0).random((3, 362, 362), np.float32)


def test_attenuation_of_water_and_air():
    """20 and 0.02 per metre; bone beyond the scaling is cut off."""
    found = 81.35858 * attenuation(np.array([0.0, -1000.0, -3000.0, 9000.0]))
    np.testing.assert_allclose(found, [20, 0.02, 0, 81.35858])


def test_ground_truth_is_turned_back(tmp_path):
    """Its images are stored transposed with respect to the rows of DICOM."""
    save_h5(tmp_path / "ground_truth_train_000.hdf5", data=GROUND_TRUTH)
    images = read_images(f"{tmp_path / 'ground_truth_train_000.hdf5'}::2,0")
    for image, i in zip(images, (2, 0), strict=True):
        assert torch.equal(image.pixels, torch.from_numpy(GROUND_TRUTH[i].T))
        assert image.pixel_size == pytest.approx(0.26 / 362)
        assert image.notes == ("LoDoPaB-CT images, stored transposed with respect to DICOM, are turned back",)


def test_sinograms_are_not_images(tmp_path):
    save_h5(tmp_path / "observation_train_000.hdf5", data=np.zeros((2, 1000, 513), np.float32))
    assert "2 sinograms of LoDoPaB-CT" in refusal(tmp_path / "observation_train_000.hdf5")


def test_other_files_are_not_turned(tmp_path):
    save_h5(tmp_path / "a.h5", data=GROUND_TRUTH, more=STACK)
    save_h5(tmp_path / "b.h5", images=GROUND_TRUTH)
    save_h5(tmp_path / "c.h5", data=STACK)
    for spec, image in (("a.h5:/data", GROUND_TRUTH[0]), ("b.h5", GROUND_TRUTH[0]), ("c.h5", STACK[0])):
        found = read_images(f"{tmp_path / spec}::0")[0]
        assert torch.equal(found.pixels, expected(image)) and not found.notes
