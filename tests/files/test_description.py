import numpy as np
import pytest
from samples import STACK, save_nifti, save_tifs

from tomopilot.files.description import described
from tomopilot.files.reading import InputFileError


def test_a_file_in_numbers(tmp_path):
    np.save(tmp_path / "a.npy", STACK)
    assert described(str(tmp_path / "a.npy")) == {
        "name": "a.npy",
        "format": "NumPy",
        "images": 8,
        "height": 5,
        "width": 6,
        "type": "uint8",
        "low": pytest.approx(STACK.min() / 255),
        "high": pytest.approx(STACK.max() / 255),
        "looked_at": 8,
        "pixel_size": None,
        "unit": "",
        "notes": [],
    }


def test_images_that_were_chosen_of_a_folder(tmp_path):
    save_tifs(tmp_path / "scan", STACK, resolution=(1e4, 1e4), resolutionunit=3)
    found = described(f"{tmp_path / 'scan'}::2,5")
    assert (found["format"], found["images"], found["pixel_size"]) == ("TIFF series", 2, pytest.approx(1e-6))
    assert found["high"] == pytest.approx(STACK[[2, 5]].max() / 255)


def test_many_images_are_looked_at_here_and_there(tmp_path):
    stack = np.zeros((100, 4, 4), np.float32)
    stack[7:14] = 1
    np.save(tmp_path / "a.npy", stack)
    found = described(str(tmp_path / "a.npy"))
    assert (found["images"], found["looked_at"], found["low"], found["high"]) == (100, 15, 0, 1)


def test_what_was_decided_is_told(tmp_path):
    pytest.importorskip("nibabel")
    save_nifti(tmp_path / "a.nii", (8.0 * STACK.T - 1024).astype(np.int16))
    found = described(str(tmp_path / "a.nii"))
    assert (
        found["type"] == "int16"
        and found["unit"].startswith("linear attenuation")
        and "Hounsfield units" in found["notes"][0]
    )


def test_complex_images_and_phantoms(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 4, 4), 3 - 4j))
    found = described(str(tmp_path / "a.npy"))
    assert (found["type"], found["low"], found["high"]) == ("complex128", 5, 5)
    assert described("phantom:chip::0-2")["format"] == "phantom"


def test_what_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(InputFileError, match="does not exist"):
        described(str(tmp_path / "a.npy"))
