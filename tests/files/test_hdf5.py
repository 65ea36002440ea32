from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from samples import STACK, expected, refusal, save_h5

from tomopilot.files.images import read_images

UNKNOWN_FILTER = 511  # a number for tests, never given to a filter


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


@pytest.mark.fault
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


@pytest.mark.fault
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


@pytest.mark.fault
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


def save_with_fields(path: Path, unit: str = "um", **fields) -> None:
    save_h5(path, **{"entry/images": STACK, **{f"entry/{name}": value for name, value in fields.items()}})
    with h5py.File(path, "a") as file:
        file["entry"].attrs["axes"] = [".", "y", "x"]
        for name in fields:
            file[f"entry/{name}"].attrs["units"] = unit


SIZES = {  # unit and fields beside the images, and the side of a pixel in metres
    "fields": ("um", {"x_pixel_size": 0.65, "y_pixel_size": [0.65]}, 0.65e-6),
    "axes": ("mm", {"y": 0.65 * np.arange(5), "x": 0.65 * np.arange(6)}, 0.65e-3),
    "strange": ("furlong", {"pixel_size": 1.0}, None),
    "plain": ("um", {}, None),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_pixel_size_is_read(tmp_path, name):
    unit, fields, size = SIZES[name]
    save_with_fields(tmp_path / "a.h5", unit, **fields)
    found = read_images(str(tmp_path / "a.h5"))[-1].pixel_size
    assert found == (None if size is None else pytest.approx(size, rel=1e-5))


OBLONG = {
    "fields": {"x_pixel_size": 1.0, "y_pixel_size": 2.0},
    "axes": {"x": np.arange(6.0), "y": 2 * np.arange(5.0)},
}


@pytest.mark.parametrize("fields", OBLONG.values(), ids=OBLONG)
def test_oblong_pixels_are_rejected(tmp_path, fields):
    save_with_fields(tmp_path / "a.h5", **fields)
    assert "expected two equal sides: resample" in refusal(tmp_path / "a.h5")
