import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from samples import save_dicom

from tomopilot.disk import TEXT, read_text
from tomopilot.files.images import count_images, labels, read_images
from tomopilot.files.reading import InputFileError

DATA = Path(os.environ.get("TOMOPILOT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WATER, PER_HU = 20 / 81.35858, 0.01998 / 81.35858  # LoDoPaB-CT scaling

UNKNOWN_FILTER = 511  # a number for tests, never given to a filter

rng = np.random.default_rng(0)
STACK = rng.integers(0, 256, (8, 5, 6), dtype=np.uint8)


def save_h5(path: Path, **arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def save_png(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def save_pages(path: Path, array: np.ndarray) -> None:
    """A multi-page TIFF without tifffile's own note of the stack's shape."""
    first, *rest = [Image.fromarray(page) for page in array]
    first.save(path, save_all=True, append_images=rest)


SAVE_STACK = {
    "a.npy": np.save,
    "a.npz": lambda path, array: np.savez_compressed(path, images=array, source=np.arange(8)),
    "lone.npz": lambda path, array: np.savez(path, anything=array),
    "a.tif": lambda path, array: tifffile.imwrite(path, array, photometric="minisblack"),
    "pages.TIFF": save_pages,
    "a.h5": lambda path, array: save_h5(path, **{"deep/down": array, "angles": np.arange(8.0)}),
    "a.nxs": lambda path, array: save_h5(path, images=array),
}


@pytest.fixture(params=SAVE_STACK)
def stack(request, tmp_path) -> Path:
    SAVE_STACK[request.param](tmp_path / request.param, STACK)
    return tmp_path / request.param


def expected(array: np.ndarray) -> torch.Tensor:
    largest = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    return torch.from_numpy((array / np.float64(largest)).astype(np.float32))


def filling(array: np.ndarray, dtype: str) -> np.ndarray:
    """8-bit values as another type, over all of its range where that is integers."""
    kind = np.dtype(dtype)
    return array.astype(kind) * kind.type(np.iinfo(kind).max // 255 if kind.kind in "iu" else 1)


def refusal(spec: object) -> str:
    with pytest.raises(InputFileError) as caught:
        read_images(str(spec))
    return str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [("", range(8)), ("::3", [3]), ("::2-5", range(2, 6)), ("::6,0,2", [6, 0, 2]), ("::0-2,7", [0, 1, 2, 7])],
)
def test_every_selection_of_every_stack(stack, chosen, numbers):
    images = read_images(f"{stack}{chosen}")
    assert [image.name for image in images] == [f"{stack.name}::{i}" for i in numbers]
    torch.testing.assert_close(
        [image.pixels for image in images], [*expected(STACK[numbers])], rtol=0, atol=0
    )


@pytest.mark.parametrize(
    "chosen", ["8", "0-8", "5-2", "x", "", "-1", "1-", "1,,2", "1.5", "9" * 5000, "0-999999999", "²"]
)
def test_bad_selections(stack, chosen):
    assert stack.name in refusal(f"{stack}::{chosen}")


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


def test_palette_png_shows_its_colours(tmp_path):
    Image.fromarray(255 - STACK[0]).convert("P").save(tmp_path / "a.png")
    torch.testing.assert_close(read_images(str(tmp_path / "a.png"))[0].pixels, expected(255 - STACK[0]))


def test_named_data_sets_also_by_soft_link(tmp_path):
    save_h5(tmp_path / "a.h5", one=STACK, two=STACK[::-1], **{"g/link": h5py.SoftLink("../two"), "g/x": 1.0})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["g/near"], file["group"] = h5py.SoftLink("deep"), h5py.SoftLink("/g")
        file["g/deep"] = STACK[:2]
    np.savez(tmp_path / "a.npz", one=STACK, two=STACK[::-1])
    for spec, first in [("a.h5:/two", STACK[7]), ("a.h5:/group/near", STACK[0]), ("a.npz:/two", STACK[7])]:
        image, last = read_images(f"{tmp_path / spec}::0,1")
        assert image.name == f"{spec}::0" and last.name == f"{spec}::1"
        torch.testing.assert_close(image.pixels, expected(first), rtol=0, atol=0)
    for name in ("a.h5", "a.npz"):
        assert name in (message := refusal(tmp_path / name)) and "one" in message and "two" in message
    for path in ("/three", "/g", "/g/x", "/one/below", "/"):
        assert f"a.h5:{path}" in refusal(f"{tmp_path / 'a.h5'}:{path}")
    assert "a.npz:/three" in refusal(f"{tmp_path / 'a.npz'}:/three")


BAD_ARRAYS = {
    "empty": np.zeros((0, 4, 4)),
    "flat": np.zeros((3, 0)),
    "line": np.zeros(9),
    "number": np.float32(3),
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


def test_complex_images_are_kept_and_looked_at_as_magnitudes(tmp_path):
    np.save(tmp_path / "a.npy", np.full((4, 4), 3 - 4j))
    (image,) = read_images(str(tmp_path / "a.npy"))
    assert (
        image.pixels.dtype == torch.complex64 and (image.pixels == 3 - 4j).all() and (image.shown == 5).all()
    )


def head(side: int) -> np.ndarray:
    """A complex image: a bright ellipse of two tissues, with a smooth phase."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    magnitude = 1.0 * (x**2 + 1.5 * y**2 < 0.15) + 0.5 * (x**2 + y**2 < 0.03)
    return magnitude * np.exp(2j * x - 1j * y)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_kspace_is_no_image(tmp_path, name, centred):
    kspace = np.fft.fft2(head(64))[None]
    SAVE_STACK[name](tmp_path / name, np.fft.fftshift(kspace, axes=(1, 2)) if centred else kspace)
    message = refusal(tmp_path / name)
    assert "image 0 looks like k-space" in message and "--operator mri" in message


@pytest.mark.parametrize("side", [1, 2, 16, 64])
def test_complex_images_are_not_taken_for_kspace(tmp_path, side):
    noise = rng.normal(size=(side, side)) + 1j * rng.normal(size=(side, side))
    images = np.stack([head(side), noise, np.ones((side, side)), np.zeros((side, side))]).astype(np.complex64)
    np.save(tmp_path / "a.npy", images)
    found = [image.pixels for image in read_images(str(tmp_path / "a.npy"))]
    torch.testing.assert_close(found, [*torch.from_numpy(images)], rtol=0, atol=0)


def test_pickles_stay_closed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "a.npy", np.full((4, 4), Bomb()))
    np.savez(tmp_path / "a.npz", images=np.full((4, 4), Bomb()))
    assert "a.npy" in refusal(tmp_path / "a.npy") and "a.npz" in refusal(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("ending", ["npy", "npz", "png", "tif", "tiff", "h5", "hdf5", "nxs", "dcm"])
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


def test_small_texts_are_bounded(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(TEXT + 1)
    for name, words in (("pipe", "a pipe"), ("large", "at most"), ("", "a folder"), ("absent", "not exist")):
        with pytest.raises(OSError, match=words):
            read_text(tmp_path / name)


@pytest.mark.parametrize(
    "spec", ["", "::", "::3", "a.jpg", "no-ending", "a.h5:/x", "\0.npy", "x" * 5000 + ".npy", "phantom:"]
)
def test_foreign_words(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(b"not ours")
    assert spec.rpartition("::")[0] in refusal(spec)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.png", "a.tif", "pages.TIFF", "a.h5", "a.dcm"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    save = SAVE_STACK | {"a.png": save_png, "a.dcm": save_dicom}
    save[name](path, STACK[0] if name in ("a.png", "a.dcm") else STACK)
    content, whole = path.read_bytes(), read_images(str(path))
    for length in np.linspace(1, len(content) - 1, 23, dtype=int):
        path.write_bytes(content[:length])
        try:
            images = read_images(str(path))
        except InputFileError as error:
            assert name in str(error)
        else:  # what was cut off held no pixel
            torch.testing.assert_close([i.pixels for i in images], [i.pixels for i in whole], rtol=0, atol=0)


def test_hdf5_that_points_elsewhere(tmp_path):
    save_h5(tmp_path / "secret.h5", images=STACK)
    (tmp_path / "raw").write_bytes(STACK.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "/images")
        file["through"] = h5py.SoftLink("/link")
        file["loop"] = h5py.SoftLink("/loop")
        file.create_dataset("raw", STACK.shape, "u1", external=str(tmp_path / "raw"))
        layout = h5py.VirtualLayout(STACK.shape, "u1")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "images", STACK.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (2**20, 2**8, 2**8), "u1", chunks=(1, 2**8, 2**8))
    for name in ("link", "through", "loop", "raw", "virtual", "huge"):
        assert f"a.h5:/{name}" in refusal(f"{tmp_path / 'a.h5'}:/{name}::0")


def test_no_data_set_is_passed_over(tmp_path):
    """As the MoDL brain set is laid out: complex images and coil maps beside a sampling mask of integers."""
    images = (STACK[:2] + 1j * STACK[2:4]).astype(np.complex64)
    save_h5(tmp_path / "a.h5", trnOrg=images, trnMask=STACK[:2])
    assert "/trnMask (uint8" in (message := refusal(tmp_path / "a.h5")) and "/trnOrg (complex64" in message
    assert read_images(f"{tmp_path / 'a.h5'}:/trnOrg")[1].pixels.is_complex()
    save_h5(tmp_path / "b.h5", maps=np.zeros((2, 3, 5, 6), np.float32), mask=STACK[:2])
    assert "/maps" in (message := refusal(tmp_path / "b.h5")) and "/mask" in message
    save_h5(tmp_path / "c.h5", records=np.zeros((4, 4), [("re", "f4"), ("im", "f4")]), mask=STACK[:2])
    assert "/records" in refusal(tmp_path / "c.h5")
    save_h5(tmp_path / "d.h5", lone=images)
    assert read_images(str(tmp_path / "d.h5"))[0].pixels.is_complex()


def test_links_to_other_files_are_not_passed_over(tmp_path):
    save_h5(tmp_path / "a.h5", mask=STACK, images=h5py.ExternalLink("elsewhere.h5", "/images"))
    assert "/images (in the file elsewhere.h5)" in refusal(tmp_path / "a.h5")
    save_h5(tmp_path / "b.h5", images=h5py.ExternalLink("elsewhere.h5", "/images"))
    assert "/images leads to another file" in refusal(tmp_path / "b.h5")


def save_nxtomo(path: Path) -> None:
    """Two flats, two darks and four projections, in the layout of the library nxtomo."""
    save_h5(path, **{f"entry/detector/{name}": [1, 1, 2, 2, 0, 0, 0, 0] for name in ("image_key", "control")})
    with h5py.File(path, "a") as file:
        file["entry/detector/data"] = STACK.astype(np.uint16) * 257
        file["entry/data/data"] = h5py.SoftLink("/entry/detector/data")
        file["entry/definition"] = "NXtomo"


def save_exchange(path: Path) -> None:
    white = STACK[:2]
    save_h5(path, **{"exchange/data": STACK, "exchange/data_white": white, "exchange/theta": np.arange(8.0)})


@pytest.mark.parametrize(
    ("save", "name"),
    [(save_nxtomo, ""), (save_nxtomo, ":/entry/data/data"), (save_exchange, ":/exchange/data")],
)
def test_radiographs_are_not_slices(tmp_path, save, name):
    save(tmp_path / "a.nxs")
    message = refusal(f"{tmp_path / 'a.nxs'}{name}::0")
    assert "raw scan" in message and "reconstruct it first" in message


def save_linked(path: Path) -> None:
    """As the NeXus library links: a second name of the same frames, in a group that holds nothing else."""
    save_nxtomo(path)
    with h5py.File(path, "a") as file:
        del file["entry/data/data"]
        file["entry/data/data"] = file["entry/detector/data"]


@pytest.mark.parametrize("name", ["", ":/entry/data/data", ":/entry/detector/data"])
def test_radiographs_are_not_slices_by_another_name(tmp_path, name):
    save_linked(tmp_path / "a.nxs")
    message = refusal(f"{tmp_path / 'a.nxs'}{name}::4")
    assert "beside image_key: it is a raw scan" in message


def test_slices_of_two_names_are_read(tmp_path):
    """A volume beside the raw scan that it was made of, linked in the manner of NeXus."""
    save_nxtomo(tmp_path / "a.nxs")
    with h5py.File(tmp_path / "a.nxs", "a") as file:
        file["volume/data"] = STACK
        file["shown/data"] = file["volume/data"]
    images = read_images(f"{tmp_path / 'a.nxs'}:/shown/data")
    torch.testing.assert_close([i.pixels for i in images], [*expected(STACK)], rtol=0, atol=0)


def test_a_detector_is_told_by_its_class(tmp_path):
    save_h5(tmp_path / "a.nxs", **{"entry/detector/data": STACK})
    with h5py.File(tmp_path / "a.nxs", "a") as file:
        file["entry/detector"].attrs["NX_class"] = np.bytes_("NXdetector")
    assert "NXdetector" in refusal(tmp_path / "a.nxs")


def test_a_missing_filter_is_named(tmp_path):
    """Also in our own files: whoever reads a data set learns what to install."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(STACK.shape)
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk(STACK.shape)
        settings.set_filter(UNKNOWN_FILTER, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, settings)
    message = refusal(tmp_path / "a.h5")
    assert f"HDF5 filter {UNKNOWN_FILTER}" in message and "pip install hdf5plugin" in message


def test_npz_that_declares_too_much(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("images.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**30, 2**10, 2**10)}
        np.lib.format.write_array_header_2_0(member, header)
    assert "a.npz" in refusal(tmp_path / "a.npz")


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


def test_png_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(STACK[0]).save(tmp_path / "a.png", exif=exif)
    right = expected(np.rot90(STACK[0], -1).copy())
    torch.testing.assert_close(read_images(str(tmp_path / "a.png"))[0].pixels, right, rtol=0, atol=0)


def test_a_missing_codec_is_named(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    if importlib.util.find_spec("imagecodecs"):
        assert torch.equal(read_images(str(tmp_path / "a.tif"))[0].pixels, expected(STACK[0]))
    else:
        message = refusal(tmp_path / "a.tif")
        assert "compressed by LZW" in message and "pip install imagecodecs" in message


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


def test_twelve_bits_that_a_tif_declares_are_a_range_of_their_own(tmp_path):
    """Tag BitsPerSample; unpacking needs imagecodecs."""
    pytest.importorskip("imagecodecs")
    array = STACK[0].astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", bitspersample=12)
    wanted = torch.from_numpy(array / 4095).float()
    torch.testing.assert_close(read_images(str(tmp_path / "a.tif"))[0].pixels, wanted)


def test_more_than_can_be_meant_is_rejected_before_it_is_read(tmp_path):
    """A sparse file of 17 GB; an image of it is read, all are not."""
    stack = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (2**18, 128, 128))
    stack[5] = 1
    assert read_images(f"{tmp_path / 'a.npy'}::5")[0].pixels.min() == 1
    assert "262144 images were asked for" in refusal(tmp_path / "a.npy")
    assert "declares" in refusal(f"{tmp_path / 'a.npy'}::0-99999")


def test_inverted_tif_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="miniswhite")
    assert "MINISWHITE" in refusal(tmp_path / "a.tif")


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
    assert torch.equal(read_images(str(tmp_path / "a.dcm"))[0].pixels, plain.pixels)


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
    (tmp_path / "a.dcm").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "tomopilot[dicom]" in refusal(tmp_path / "a.dcm")


def test_phantoms_take_a_side():
    from tomopilot.simulate.phantoms import chip

    (image,) = read_images("phantom:chip@48::3")
    assert image.name == "phantom:chip@48::3"
    torch.testing.assert_close(image.pixels, torch.from_numpy(chip(3, 48)), rtol=0, atol=0)
    assert "16 to 2048" in refusal("phantom:chip@8")
    for side in ("", "x", "-64", "9" * 10):
        assert "number of pixels" in refusal(f"phantom:chip@{side}")


def test_phantoms_take_seeds(monkeypatch):
    from tomopilot.simulate import phantoms

    monkeypatch.setitem(phantoms.PHANTOMS, "flat", lambda seed: np.full((3, 4), seed / 8, np.float32))
    for spec, seeds in [
        ("phantom:flat", [0]),
        ("phantom:flat::3", [3]),
        ("phantom:flat::0-2,7", [0, 1, 2, 7]),
    ]:
        images = read_images(spec)
        assert [image.name for image in images] == [f"phantom:flat::{seed}" for seed in seeds]
        torch.testing.assert_close(
            [i.pixels for i in images], [torch.full((3, 4), seed / 8) for seed in seeds]
        )
    assert "phantom:flut" in (message := refusal("phantom:flut")) and "flat" in message
    refusal("phantom:flat::x")
    refusal("phantom:flat::0-999999999")


@pytest.mark.parametrize(("chosen", "count"), [("", 8), ("::3", 1), ("::0-2,7", 4)])
def test_images_are_counted(stack, chosen, count):
    assert count_images(f"{stack}{chosen}") == count
    with pytest.raises(InputFileError, match="there are 8"):
        count_images(f"{stack}::8")


def test_lone_images_and_phantoms_are_counted(tmp_path):
    save_png(tmp_path / "a.png", STACK[0])
    assert count_images(str(tmp_path / "a.png")) == count_images("phantom:chip") == 1
    assert count_images("phantom:chip::5-9") == 5


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the image sets are not at {DATA} (set TOMOPILOT_DATA)")
def test_real_files():
    chip = read_images(f"{DATA / 'chip/validation.npz'}::0-2")
    assert [image.pixels.shape for image in chip] == [(128, 128)] * 3 and chip[0].name == "validation.npz::0"
    assert len(read_images(str(DATA / "native/multipage_uint8_128x128x128.tif"))) == 128
    assert "nxtomo_24888.nxs" in refusal(f"{DATA / 'native/nxtomo_24888.nxs'}:/entry1/tomo_entry/data/data")
    assert "looks like k-space" in refusal(DATA / "native/mri_kspace_8coil_undersampled.npy")
    slices = DATA / "native/dicom_ct"
    pytest.importorskip("pydicom")
    for path in sorted(slices.glob("*.dcm")):
        (image,) = read_images(str(path))
        tissue = image.pixels[(image.pixels > 0.2) & (image.pixels < 0.3)]
        assert abs(float(tissue.median()) - 0.25) < 0.02, "soft tissue is near water, 0.246"


def save_with_fields(path: Path, unit: str = "um", **fields) -> None:
    save_h5(path, **{"entry/images": STACK, **{f"entry/{name}": value for name, value in fields.items()}})
    with h5py.File(path, "a") as file:
        file["entry"].attrs["axes"] = [".", "y", "x"]
        for name in fields:
            file[f"entry/{name}"].attrs["units"] = unit


def save_tif(path: Path, **options) -> None:
    tifffile.imwrite(path, STACK, **options)


def save_spaced(path: Path) -> None:
    save_dicom(path, STACK[0], PixelSpacing=[0.65, 0.65])


GREY, STEPS = {"photometric": "minisblack"}, {"y": 0.65 * np.arange(5), "x": 0.65 * np.arange(6)}
SIZES = {  # of a file's pixels, in metres
    "a.dcm": (save_spaced, 0.65e-3),
    "cm.tif": (lambda path: save_tif(path, resolution=(1e4, 1e4), resolutionunit=3, **GREY), 1e-6),
    "inch.tif": (lambda path: save_tif(path, resolution=(25400, 25400), resolutionunit=2, **GREY), 1e-6),
    "print.tif": (lambda path: save_tif(path, resolution=(72, 72), resolutionunit=2, **GREY), None),
    "no-unit.tif": (lambda path: save_tif(path, resolution=(4, 4), resolutionunit=1, **GREY), None),
    "imagej.tif": (
        lambda path: save_tif(path, imagej=True, resolution=(4, 4), metadata={"unit": "um", "axes": "ZYX"}),
        0.25e-6,
    ),
    "ome.tif": (
        lambda path: save_tif(
            path,
            ome=True,
            metadata={
                "axes": "ZYX",
                "PhysicalSizeX": 3.5,
                "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 3.5,
                "PhysicalSizeYUnit": "nm",
            },
            **GREY,
        ),
        3.5e-9,
    ),
    "fields.h5": (lambda path: save_with_fields(path, x_pixel_size=0.65, y_pixel_size=[0.65]), 0.65e-6),
    "axes.nxs": (lambda path: save_with_fields(path, "mm", **STEPS), 0.65e-3),
    "strange.h5": (lambda path: save_with_fields(path, "furlong", pixel_size=1.0), None),
    "plain.h5": (save_with_fields, None),
    "a.npy": (lambda path: np.save(path, STACK), None),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_pixel_size_is_read(tmp_path, name):
    save, size = SIZES[name]
    save(tmp_path / name)
    found = read_images(str(tmp_path / name))[-1].pixel_size
    assert found == (None if size is None else pytest.approx(size, rel=1e-5))


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "b.h5"])
def test_oblong_pixels_are_rejected(tmp_path, name):
    if name == "a.tif":
        save_tif(tmp_path / name, resolution=(1e4, 2e4), resolutionunit=3, **GREY)
    elif name == "a.h5":
        save_with_fields(tmp_path / name, x_pixel_size=1.0, y_pixel_size=2.0)
    else:
        save_with_fields(tmp_path / name, x=np.arange(6.0), y=2 * np.arange(5.0))
    assert "expected two equal sides: resample" in refusal(tmp_path / name)


def test_labels_beside_images(tmp_path):
    path = tmp_path / "stack.npz"
    np.savez(path, images=np.zeros((4, 8, 8)), source=np.array(["a", "b", "a", "c"]), depth=np.arange(4))
    assert labels(str(path), "source") == ["a", "b", "a", "c"]
    assert labels(f"{path}::1,3", "depth") == ["1", "3"]
    assert labels(f"{path}:/images::0-1", "source") == ["a", "b"]
    with pytest.raises(InputFileError, match="images, source, depth, not patient"):
        labels(str(path), "patient")
    np.savez(path, images=np.zeros((4, 8, 8)), patient=np.array("a"))
    with pytest.raises(InputFileError, match="expected one value an image"):
        labels(str(path), "patient")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(InputFileError, match="is a pipe, not a file; expected an npz file"):
        labels(str(tmp_path / "pipe.npz"), "source")
    with pytest.raises(InputFileError, match="only npz files have an array 'source'"):
        labels("slices.tif", "source")
