import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from samples import SAVE_STACK, STACK, expected, filling, refusal, save_png

from tomopilot.files.images import read_images


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i2", "u4", "f2", "f4", ">f8", "?"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_value_types(tmp_path, name, dtype):
    array = STACK[:2] > 99 if dtype == "?" else filling(STACK[:2], dtype)
    SAVE_STACK[name](tmp_path / name, array)
    images = read_images(f"{tmp_path / name}::0-1")
    torch.testing.assert_close([image.pixels for image in images], [*expected(array)], rtol=0, atol=0)


@pytest.mark.parametrize(
    "array", [STACK[0], STACK[0].astype(np.uint16) * 257, STACK[0] > 99], ids=["8", "16", "1"]
)
def test_png(tmp_path, array):
    save_png(tmp_path / "a.png", array)
    (image,) = read_images(str(tmp_path / "a.png"))
    assert image.name == "a.png" and read_images(f"{tmp_path / 'a.png'}::0")[0].name == "a.png::0"
    torch.testing.assert_close(image.pixels, expected(array), rtol=0, atol=0)


def test_palette_png_shows_its_colours(tmp_path):
    Image.fromarray(255 - STACK[0]).convert("P").save(tmp_path / "a.png")
    torch.testing.assert_close(read_images(str(tmp_path / "a.png"))[0].pixels, expected(255 - STACK[0]))


def test_png_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(STACK[0]).save(tmp_path / "a.png", exif=exif)
    right = expected(np.rot90(STACK[0], -1).copy())
    torch.testing.assert_close(read_images(str(tmp_path / "a.png"))[0].pixels, right, rtol=0, atol=0)


def test_pickles_stay_closed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "a.npy", np.full((4, 4), Bomb()))
    np.savez(tmp_path / "a.npz", images=np.full((4, 4), Bomb()))
    assert "a.npy" in refusal(tmp_path / "a.npy") and "a.npz" in refusal(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


def test_npz_that_declares_too_much(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("images.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**30, 2**10, 2**10)}
        np.lib.format.write_array_header_2_0(member, header)
    assert "a.npz" in refusal(tmp_path / "a.npz")
