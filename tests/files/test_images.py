import os
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tomopilot.disk import InputFileError
from tomopilot.files.images import labels, read_images

DATA = Path(os.environ.get("TOMOPILOT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WATER, PER_HU = 20 / 81.35858, 0.01998 / 81.35858  # LoDoPaB-CT scaling

rng = np.random.default_rng(0)
STACK = rng.integers(0, 256, (8, 5, 6), dtype=np.uint8)


def whole_range(stack: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers of 8 bits as others: integers stretched over what their type holds."""
    kind = np.dtype(dtype)
    factor = np.iinfo(kind).max // 255 if kind.kind in "iu" else 1
    return (stack.astype(np.int64) * factor).astype(kind) if factor > 1 else stack.astype(kind)


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


def save_dcm(path: Path, stored: np.ndarray, **tags) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "CT", 2, -1024
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *stored.shape, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path, enforce_file_format=True)


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
    array = STACK[:2] % 2 == 1 if dtype == "?" else whole_range(STACK[:2], dtype)
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
    save = SAVE_STACK | {"a.png": save_png, "a.dcm": save_dcm}
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


def test_npz_that_declares_too_much(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("images.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**30, 2**10, 2**10)}
        np.lib.format.write_array_header_2_0(member, header)
    assert "a.npz" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "f2", "f4", "f8"])
def test_value_types_of_tif(tmp_path, dtype):
    stack = whole_range(STACK, dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", byteorder=">")
    images = read_images(f"{tmp_path / 'a.tif'}::0-7")
    torch.testing.assert_close([i.pixels for i in images], [*expected(stack)], rtol=0, atol=0)


@pytest.mark.parametrize("high", [4095, 16383])
@pytest.mark.parametrize("name", ["a.npy", "a.h5", "a.tif"])
def test_integers_that_use_a_small_part_of_their_type_are_rejected(tmp_path, name, high):
    """12 and 14 bits in uint16; of 8 bits, or of a file whose other images are brighter, nothing is said."""
    stack = (STACK.astype(int) * high // 255).astype(np.uint16)
    SAVE_STACK[name](tmp_path / name, stack)
    said = refusal(f"{tmp_path / name}::0-7")
    assert f"{stack.max()}" in said and "uint16" in said and "floats" in said
    stack[0] = 65535
    SAVE_STACK[name](tmp_path / name, stack)
    assert len(read_images(f"{tmp_path / name}::0-7")) == 8


def test_hounsfield_units_in_integers_are_rejected(tmp_path):
    np.save(tmp_path / "hu.npy", np.array([[-1000, 0], [40, 3000]], np.int16))
    assert "-1000 to 3000" in refusal(tmp_path / "hu.npy")


def test_many_images_under_one_tiff_directory(tmp_path):
    tifffile.imwrite(tmp_path / "shaped.tif", STACK, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", STACK, imagej=True)
    for name in ("shaped.tif", "imagej.tif"):
        images = read_images(str(tmp_path / name))
        torch.testing.assert_close([i.pixels for i in images], [*expected(STACK)], rtol=0, atol=0)


UPRIGHT = {  # as Pillow turns pictures with this tag
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_tiff_is_laid_as_its_orientation_says(tmp_path, tag):
    extra = [(274, "H", 1, tag, True)]
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack", extratags=extra)
    picture = Image.fromarray(STACK[0])
    upright = np.asarray(picture.transpose(UPRIGHT[tag]) if tag > 1 else picture)
    (image,) = read_images(str(tmp_path / "a.tif"))
    torch.testing.assert_close(image.pixels, *expected(upright[None]), rtol=0, atol=0)


def test_a_missing_codec_is_named(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    if find_spec("imagecodecs"):
        pytest.skip("imagecodecs is installed")
    said = refusal(tmp_path / "a.tif")
    assert "LZW" in said and "imagecodecs" in said and "complete" not in said


def test_a_missing_hdf5_filter_is_named():
    path = DATA.parent / "cases" / "13-unreadable-compression" / "bitshuffle.h5"
    if find_spec("hdf5plugin") or not path.is_file():
        pytest.skip("hdf5plugin is installed, or the case is not there")
    said = refusal(path)
    assert "32008" in said and "hdf5plugin" in said


def test_complex_images_are_not_passed_over_for_a_mask(tmp_path):
    mask, coils = np.ones((4, 8, 8), np.int8), np.ones((4, 2, 8, 8), np.complex64)
    save_h5(tmp_path / "a.h5", mask=mask, images=coils[:, 0], coils=coils)
    said = refusal(tmp_path / "a.h5")
    assert all(name in said for name in ("/mask", "/images", "/coils"))
    save_h5(tmp_path / "b.h5", mask=mask[0, 0], images=coils[:, 0])
    assert read_images(str(tmp_path / "b.h5"))[0].pixels.is_complex()


def test_a_raw_scan_is_not_a_stack_of_slices(tmp_path):
    """Projections, flats and darks, whether the file or their data set was named."""
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/definition"] = "NXtomo"
        file["entry/instrument/detector/data"] = STACK
        file["entry/instrument/detector/image_key"] = [1, 2, 0, 0, 0, 0, 0, 0]
        file["entry/reconstruction"] = STACK
    assert "NXtomo" in refusal(tmp_path / "a.nxs")
    assert "NXtomo" in refusal(f"{tmp_path / 'a.nxs'}:/entry/instrument/detector/data")
    assert len(read_images(f"{tmp_path / 'a.nxs'}:/entry/reconstruction")) == len(STACK)


def test_links_that_lead_elsewhere_are_rejected_where_nothing_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = STACK
        file["others"] = h5py.ExternalLink("secret.h5", "/images")
    assert "/others leads to another file" in refusal(tmp_path / "a.h5")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_only_regular_files_are_opened(tmp_path, make):
    make(tmp_path / "a.npy")
    assert "expected a regular file" in refusal(tmp_path / "a.npy")


DICOM = {
    "LOCALIZER": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "PixelSpacing (0028,0030) is 1 x 0.5": {"PixelSpacing": [1.0, 0.5]},
    "RescaleType (0028,1054) is US": {"RescaleType": "US"},
    "RescaleIntercept (0028,1052) is missing or empty": {"RescaleIntercept": None},
    "RescaleSlope (0028,1053) is missing or empty": {"RescaleSlope": None},
}


@pytest.mark.parametrize("said", DICOM)
def test_dicom_that_is_no_slice_of_hounsfield_units_is_rejected(tmp_path, said):
    save_dcm(tmp_path / "a.dcm", np.full((4, 4), 1000, np.uint16), **DICOM[said])
    assert said in refusal(tmp_path / "a.dcm")


def test_inverted_tif_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="miniswhite")
    assert "MINISWHITE" in refusal(tmp_path / "a.tif")


def test_dicom_becomes_attenuation(tmp_path):
    stored = np.array([[0, 12, 512], [1000, 2000, 60000]], np.uint16)
    save_dcm(tmp_path / "a.dcm", stored)
    (image,) = read_images(str(tmp_path / "a.dcm"))
    wanted = np.clip(WATER + PER_HU * (2.0 * stored - 1024), 0, 1)
    torch.testing.assert_close(image.pixels, torch.from_numpy(wanted).float())
    assert image.pixels[0, 2] == np.float32(WATER)
    save_dcm(tmp_path / "mr.dcm", stored, Modality="MR")
    assert "mr.dcm" in refusal(tmp_path / "mr.dcm")


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


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the image sets are not at {DATA} (set TOMOPILOT_DATA)")
def test_real_files():
    chip = read_images(f"{DATA / 'chip/validation.npz'}::0-2")
    assert [image.pixels.shape for image in chip] == [(128, 128)] * 3 and chip[0].name == "validation.npz::0"
    assert len(read_images(str(DATA / "native/multipage_uint8_128x128x128.tif"))) == 128
    assert "nxtomo_24888.nxs" in refusal(f"{DATA / 'native/nxtomo_24888.nxs'}:/entry1/tomo_entry/data/data")
    coils = read_images(str(DATA / "native/mri_kspace_8coil_undersampled.npy"))
    assert len(coils) == 8 and coils[0].pixels.is_complex()
    slices = DATA / "native/dicom_ct"
    pytest.importorskip("pydicom")
    for path in sorted(slices.glob("*.dcm")):
        (image,) = read_images(str(path))
        tissue = image.pixels[(image.pixels > 0.2) & (image.pixels < 0.3)]
        assert abs(float(tissue.median()) - 0.25) < 0.02, "soft tissue is near water, 0.246"


def test_labels_beside_images(tmp_path):
    path = tmp_path / "stack.npz"
    np.savez(path, images=np.zeros((4, 8, 8)), source=np.array(["a", "b", "a", "c"]), depth=np.arange(4))
    assert labels(str(path), "source") == ["a", "b", "a", "c"]
    assert labels(f"{path}::1,3", "depth") == ["1", "3"]
    assert labels(f"{path}:/images::0-1", "source") == ["a", "b"]
    with pytest.raises(InputFileError, match="images, source, depth, not patient"):
        labels(str(path), "patient")
    with pytest.raises(InputFileError, match="only npz files have an array 'source'"):
        labels("slices.tif", "source")
