import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from samples import GREY, STACK, assert_read, expected, filling, refusal, save_tifs

from tomopilot.files.images import read_images


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "f2", "f4", "f8"])
def test_value_types_of_tif(tmp_path, dtype):
    array = filling(STACK, dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", byteorder=">")
    images = read_images(f"{tmp_path / 'a.tif'}::0-7")
    torch.testing.assert_close([i.pixels for i in images], [*expected(array)], rtol=0, atol=0)


@pytest.mark.parametrize("imagej", [False, True])
def test_many_images_under_one_page(tmp_path, imagej):
    """Stacks that ImageJ and tifffile describe once, although they hold several images."""
    path = tmp_path / "a.tif"
    options = {"imagej": True} if imagej else {"photometric": "minisblack", "truncate": True}
    tifffile.imwrite(path, STACK, **options)
    content = path.read_bytes()
    if imagej:
        with tifffile.TiffFile(path) as tiff:  # beyond 4 GB, ImageJ writes no other page: cut the chain
            at = tiff.pages[1].offset
        content = content.replace(at.to_bytes(4, sys.byteorder), bytes(4))
        path.write_bytes(content)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1 and tiff.series[0].shape == STACK.shape
    images = read_images(f"{path}::0-7")
    torch.testing.assert_close([i.pixels for i in images], [*expected(STACK)], rtol=0, atol=0)
    assert torch.equal(read_images(f"{path}::6")[0].pixels, expected(STACK[6]))
    assert "there are 8" in refusal(f"{path}::8")


def test_pages_written_one_by_one_are_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in STACK:
            file.write(page, photometric="minisblack")
    images = read_images(str(tmp_path / "a.tif"))
    torch.testing.assert_close([i.pixels for i in images], [*expected(STACK)], rtol=0, atol=0)


def test_images_of_several_sizes_are_rejected(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0], photometric="minisblack")
        file.write(STACK[0, ::2, ::2], photometric="minisblack")
    assert "images of (3, 3), (5, 6); expected one size" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tif_is_turned_upright(tmp_path, orientation):
    """As Pillow turns it."""
    path = tmp_path / "a.tif"
    image = Image.fromarray(STACK[0])
    image.save(path, tiffinfo={274: orientation})
    image.getexif()[274] = orientation
    right = np.asarray(ImageOps.exif_transpose(image))
    assert (right.shape == (6, 5)) == (orientation > 4)
    torch.testing.assert_close(read_images(str(path))[0].pixels, expected(right), rtol=0, atol=0)


def test_unknown_orientation_is_rejected(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.tif", tiffinfo={274: 9})
    assert "Orientation (274) is 9" in refusal(tmp_path / "a.tif")


def test_a_missing_codec_is_named(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    if importlib.util.find_spec("imagecodecs"):
        assert torch.equal(read_images(str(tmp_path / "a.tif"))[0].pixels, expected(STACK[0]))
    else:
        message = refusal(tmp_path / "a.tif")
        assert "compressed by LZW" in message and "pip install imagecodecs" in message


def test_twelve_bits_that_a_tif_declares_are_a_range_of_their_own(tmp_path):
    """Tag BitsPerSample; unpacking needs imagecodecs."""
    pytest.importorskip("imagecodecs")
    array = STACK[0].astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", bitspersample=12)
    wanted = torch.from_numpy(array / 4095).float()
    torch.testing.assert_close(read_images(str(tmp_path / "a.tif"))[0].pixels, wanted)


def test_inverted_tif_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="miniswhite")
    assert "MINISWHITE" in refusal(tmp_path / "a.tif")


def save_tif(path: Path, **options) -> None:
    tifffile.imwrite(path, STACK, **options)


NANOMETRES = {
    "PhysicalSizeX": 3.5,
    "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 3.5,
    "PhysicalSizeYUnit": "nm",
}
SIZES = {  # options of tifffile, and the side of a pixel in metres
    "cm": ({"resolution": (1e4, 1e4), "resolutionunit": 3, **GREY}, 1e-6),
    "inch": ({"resolution": (25400, 25400), "resolutionunit": 2, **GREY}, 1e-6),
    "print": ({"resolution": (72, 72), "resolutionunit": 2, **GREY}, None),
    "no unit": ({"resolution": (4, 4), "resolutionunit": 1, **GREY}, None),
    "imagej": ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um", "axes": "ZYX"}}, 0.25e-6),
    "ome": ({"ome": True, "metadata": {"axes": "ZYX", **NANOMETRES}, **GREY}, 3.5e-9),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_pixel_size_is_read(tmp_path, name):
    options, size = SIZES[name]
    tifffile.imwrite(tmp_path / "a.tif", STACK, **options)
    found = read_images(str(tmp_path / "a.tif"))[-1].pixel_size
    assert found == (None if size is None else pytest.approx(size, rel=1e-5))


def test_oblong_pixels_are_rejected(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, resolution=(1e4, 2e4), resolutionunit=3, **GREY)
    assert "expected two equal sides: resample" in refusal(tmp_path / "a.tif")


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    save_tifs(tmp_path / "scan", STACK, resolution=(1e4, 1e4), resolutionunit=3)
    assert_read(tmp_path / "scan", STACK)
    images = read_images(f"{tmp_path / 'scan'}::6,2")
    assert [image.name for image in images] == ["scan::6", "scan::2"]
    assert images[0].pixel_size == pytest.approx(1e-6)
    assert torch.equal(images[1].pixels, expected(STACK[2]))


def test_a_folder_of_colours(tmp_path):
    (tmp_path / "scan").mkdir()
    for i, image in enumerate(STACK):
        tifffile.imwrite(tmp_path / f"scan/{i}.tif", np.stack([image] * 3, -1), photometric="rgb")
    assert_read(tmp_path / "scan", STACK)


def test_a_dark_slice_of_a_bright_folder_is_read(tmp_path):
    volume = STACK.copy()
    volume[3] //= 16
    save_tifs(tmp_path / "scan", volume)
    assert_read(f"{tmp_path / 'scan'}::3", volume[3:4])
    save_tifs(tmp_path / "dark", volume // 16)
    assert "of 255, the largest of their type" in refusal(f"{tmp_path / 'dark'}::0")


ODD = {  # a slice that belongs to another volume, and why
    "5 x 5 uint8": (STACK[0, :, :5], {}),
    "5 x 6 uint16": (STACK[0].astype(np.uint16) * 257, {}),
    "1 um": (STACK[0], {"resolution": (1e4, 1e4), "resolutionunit": 3}),
    "it holds 8 images": (STACK, {}),
}


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize("chosen", ["", "::0"])
def test_an_odd_slice_of_a_folder_is_named(tmp_path, said, chosen):
    save_tifs(tmp_path / "scan", STACK)
    image, options = ODD[said]
    tifffile.imwrite(tmp_path / "scan/slice9.tif", image, **GREY, **options)
    message = refusal(f"{tmp_path / 'scan'}{chosen}")
    assert said in message and "slice9.tif" in message


@pytest.mark.parametrize(
    ("tag", "value", "there"), [("RowsPerStrip", 4, "8 of 16"), ("StripByteCounts", (0, *[9] * 7), "7 of 8")]
)
def test_a_page_without_all_of_its_strips_is_rejected(tmp_path, tag, value, there):
    """Found by fuzzing: three million strips that were not there were read as 0, for 13 s."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((64, 8), np.float32), rowsperstrip=8, compression="zlib", **GREY)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[tag].overwrite(value)
    assert f"{there} strips or tiles" in refusal(path)
