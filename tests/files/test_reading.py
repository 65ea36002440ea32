import numpy as np
import pytest
import tifffile
import torch
from samples import SAVE_STACK, STACK, expected, refusal, save_h5, save_png

from tomopilot.files.images import read_images


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_become_grey(tmp_path, name, alpha):
    save = (
        save_png if name == "a.png" else lambda path, array: tifffile.imwrite(path, array, photometric="rgb")
    )
    for colours in (STACK[:1].repeat(3, 0), STACK[:3]):
        channels = np.concatenate([colours, STACK[3:4]]) if alpha else colours
        save(tmp_path / name, np.ascontiguousarray(np.moveaxis(channels, 0, -1)))
        red, green, blue = expected(colours)
        grey = red if torch.equal(red, green) else 0.2126 * red + 0.7152 * green + 0.0722 * blue
        torch.testing.assert_close(read_images(str(tmp_path / name))[0].pixels, grey)


BAD_ARRAYS = {
    "empty": np.zeros((0, 4, 4)),
    "flat": np.zeros((3, 0)),
    "line": np.zeros(9),
    "number": np.full((), 3, np.float32),
    "volume of colours": np.zeros((2, 4, 4, 3)),
    "text": np.full((4, 4), b"abc"),
    "NaN": np.full((4, 4), np.nan),
    "infinite": np.full((2, 4, 4), np.inf, np.float32),
    "beyond float32": np.full((4, 4), 1e300),
    "records": np.zeros((4, 4), [("a", "f4"), ("b", "u1")]),
}


@pytest.mark.parametrize("array", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5:/images"])
def test_bad_arrays(tmp_path, name, array):
    if name.startswith("a.h5"):
        save_h5(tmp_path / "a.h5", images=array)
    else:
        SAVE_STACK[name](tmp_path / name, array)
    assert name in refusal(tmp_path / name)


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tif", "a.h5", "lone.png"])
def test_integers_that_fill_little_of_their_type_are_rejected(tmp_path, name, bits):
    """As cameras of so many bits store them in 16; divided by 65535, nearly all of the range was empty."""
    array = (STACK / 255 * (2**bits - 1)).round().astype(np.uint16)
    (save_png if name.endswith("png") else SAVE_STACK[name])(
        tmp_path / name, array[0] if name.endswith("png") else array
    )
    reached = int(array[0].max() if name.endswith("png") else array.max())
    message = refusal(tmp_path / name)
    assert f"reach {reached} of 65535" in message and "save as floats" in message


def test_hounsfield_units_in_signed_integers_are_rejected(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-1024, 3071, 100).astype(np.int16).reshape(10, 10))
    assert "reach 3071 of 32767" in refusal(tmp_path / "a.npy")


def test_a_dark_slice_of_a_bright_volume_is_read(tmp_path):
    volume = STACK.copy()
    volume[3] //= 16
    SAVE_STACK["a.tif"](tmp_path / "a.tif", volume)
    np.save(tmp_path / "a.npy", volume)
    for name in ("a.tif", "a.npy"):
        assert torch.equal(read_images(f"{tmp_path / name}::3")[0].pixels, expected(volume[3]))


def test_more_than_can_be_meant_is_rejected_before_it_is_read(tmp_path):
    """A sparse file of 17 GB; an image of it is read, all are not."""
    stack = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (2**18, 128, 128))
    stack[5] = 1
    assert read_images(f"{tmp_path / 'a.npy'}::5")[0].pixels.min() == 1
    assert "262144 images were asked for" in refusal(tmp_path / "a.npy")
    assert "declares" in refusal(f"{tmp_path / 'a.npy'}::0-99999")
