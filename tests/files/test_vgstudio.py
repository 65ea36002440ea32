import os

import numpy as np
import pytest
from samples import STACK, assert_read, filling, refusal, save_vgi

from tomopilot.files.images import read_images


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_values_of_every_type(tmp_path, dtype):
    array = filling(STACK, dtype)
    assert_read(save_vgi(tmp_path / "a.vgi", array), array)
    (image,) = read_images(f"{tmp_path / 'a.vgi'}::3")
    assert image.name == "a.vgi::3" and image.pixel_size == pytest.approx(5e-5)


def test_what_lies_before_the_values_is_skipped(tmp_path):
    save_vgi(tmp_path / "a.vgi", STACK, skip=16)
    (tmp_path / "a.vol").write_bytes(bytes(16) + STACK.tobytes())
    assert_read(tmp_path / "a.vgi", STACK)


BAD = {  # what is said in place of the right words, and why it is rejected
    "elsewhere": ({"name": "../a.vol"}, "expected a file in the same folder"),
    "absolute": ({"name": "/etc/passwd"}, "expected a file in the same folder"),
    "of another system": ({"name": "C:\\scans\\a.vol"}, "expected a file in the same folder"),
    "folder": ({"name": ".."}, "expected a file in the same folder"),
    "nothing": ({"name": ""}, "expected a file in the same folder"),
    "link": ({"name": "link.vol"}, "expected a file in the same folder"),
    "pipe": ({"name": "pipe.vol"}, "is a pipe, not a file"),
    "absent": ({"name": "b.vol"}, "does not exist"),
    "short": ({"size": "6 5 9"}, "a.vol has 240 bytes; expected 270"),
    "long": ({"size": "6 5 7"}, "a.vol has 240 bytes; expected 210"),
    "huge": ({"size": "99999999 99999999 99999999"}, "a.vol has 240 bytes; expected 9999"),
    "flat": ({"size": "6 5"}, "its values are unsigned integer of 8 bits, 6 5, raw; expected float of 32"),
    "negative": ({"size": "6 -5 -8"}, "6 -5 -8, raw; expected"),
    "before": ({"skip": -16}, "a.vol has 240 bytes; expected 224"),
    "type": ({"kind": "complex"}, "its values are complex of 8 bits"),
    "bits": ({"bits": 12}, "its values are unsigned integer of 12 bits"),
    "oblong": ({"resolution": "1 2 1"}, "expected two equal sides: resample"),
    "words": ({"size": "six five eight"}, "content is not what was expected"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_rejected(tmp_path, name):
    changes, words = BAD[name]
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.vol").write_bytes(STACK.tobytes())
    (folder / "link.vol").symlink_to(tmp_path / "secret.vol")
    os.mkfifo(folder / "pipe.vol")
    save_vgi(folder / "a.vgi", STACK, **changes)
    assert words in refusal(folder / "a.vgi")


def test_several_volumes_are_rejected(tmp_path):
    save_vgi(tmp_path / "a.vgi", STACK)
    text = (tmp_path / "a.vgi").read_text()
    (tmp_path / "a.vgi").write_text(text + text.replace("volume1", "volume2"))
    assert "several volumes" in refusal(tmp_path / "a.vgi")
    (tmp_path / "a.vgi").write_text(text.replace("[file1]", "[file2]"))
    assert "values are not in one file" in refusal(tmp_path / "a.vgi")


def test_an_unknown_pixel_size(tmp_path):
    for changes in ({"unit": "furlong"}, {"resolution": ""}):
        save_vgi(tmp_path / "a.vgi", STACK, **changes)
        assert read_images(str(tmp_path / "a.vgi"))[0].pixel_size is None


def test_slices_of_a_large_volume_are_read_alone(tmp_path):
    """A sparse file of 17 GB."""
    save_vgi(tmp_path / "a.vgi", STACK.astype("<f4"), size="128 128 262144")
    with (tmp_path / "a.vol").open("wb") as file:
        file.seek(5 * 4 * 128**2)
        file.write(np.ones((128, 128), "<f4").tobytes())
        file.truncate(2**34)
    (image,) = read_images(f"{tmp_path / 'a.vgi'}::5")
    assert (image.pixels == 1).all()
