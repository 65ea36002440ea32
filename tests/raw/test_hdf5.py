"""Files that try to have others read, or more memory than there is."""

import time

import h5py
import numpy as np
import pytest
from samples import nxtomo_parts, save_nxtomo

from tomopilot.files.reading import InputFileError
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured

DATA = "entry/instrument/detector/data"
FRAMES = nxtomo_parts()["instrument/detector/data"]


@pytest.fixture
def path(tmp_path):
    """A scan without frames, beside a file that holds them."""
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["data"] = FRAMES
    return save_nxtomo(tmp_path / "scan.nxs", **{"instrument/detector/data": None})


def external(file):
    file[DATA] = h5py.ExternalLink("elsewhere.h5", "/data")


def external_group(file):
    del file["entry/instrument"]
    file["entry/instrument"] = h5py.ExternalLink("elsewhere.h5", "/")


def by_a_detour(file):
    file["out"], file[DATA] = h5py.ExternalLink("elsewhere.h5", "/data"), h5py.SoftLink("/out")


def raw_storage(file):
    file["entry/instrument/detector"].create_dataset(
        "data", (100, 2, 64), "u2", external=[("elsewhere.h5", 0, 100 * 2 * 64 * 2)]
    )


def virtual(file):
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", FRAMES.shape)
    file["entry/instrument/detector"].create_virtual_dataset("data", layout)


def huge(file):
    file.create_dataset(DATA, (10**6, 2048, 2048), "u2")


def huge_chunk(file):
    shape = (2, 20_000, 20_000)
    data = file.create_dataset(DATA, shape, "u1", chunks=(1, *shape[1:]), compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), bytes(2**20))


def huge_list(file):
    file[DATA] = FRAMES
    del file["entry/sample/rotation_angle"]
    file["entry/sample"].create_dataset("rotation_angle", (10**12,), "f8")


def link_loop(file):
    file[DATA] = h5py.SoftLink(f"/{DATA}")


def unknown_filter(file):
    plain = file.create_dataset("plain", data=FRAMES, chunks=FRAMES.shape)
    kept = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kept.set_chunk(FRAMES.shape)
    kept.set_filter(32100, h5py.h5z.FLAG_OPTIONAL)
    space, kind = plain.id.get_space(), plain.id.get_type()
    h5py.h5d.create(file["entry/instrument/detector"].id, b"data", kind, space, kept)


HOSTILE = {
    external: "leads to another file",
    external_group: "has no detector data and image_key",
    by_a_detour: "leads to another file",
    raw_storage: "lie in other files",
    virtual: "lie in other files",
    huge: "declares 8388608000000 bytes, but 0 are stored",
    huge_chunk: "a frame or chunk of the data set .* has 400000000 bytes",
    huge_list: "declares 8000000000000 bytes",
    link_loop: "does not exist",
    unknown_filter: "HDF5 filter 32100",
}


@pytest.mark.fault
@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_refused_before_anything_is_read(change, path):
    with h5py.File(path, "a") as file:
        change(file)
    begun = time.monotonic()
    with pytest.raises(InputFileError, match=rf"scan\.nxs: .*({HOSTILE[change]})"):
        read_measured(str(path))
    assert time.monotonic() - begun < 2


@pytest.mark.fault
@pytest.mark.parametrize("count", [1000, pytest.param(10**5, marks=pytest.mark.slow)])
def test_loops_and_many_attributes_do_no_harm(path, count):
    with h5py.File(path, "a", libver="latest") as file:
        file[DATA], file["entry/again"] = FRAMES, file["entry"]
        for i in range(count):
            file["entry"].attrs[f"a{i}"] = i
    assert len(Correction(axis=33.8)(read_measured(str(path))).values) == 90


@pytest.mark.fault
def test_a_file_that_changes_after_it_was_opened(path):
    with h5py.File(path, "a") as file:
        file[DATA] = FRAMES
    raw = read_measured(str(path))
    with h5py.File(path, "a") as file:
        del file[DATA]
        external(file)
    with pytest.raises(InputFileError, match="leads to another file"):
        Correction(axis=33.8)(raw)


def test_frames_in_another_order_than_their_file(path):
    with h5py.File(path, "a") as file:
        file[DATA] = FRAMES
    frames = read_measured(str(path)).projections[np.array([3, 4, 5, 1, 9])]
    np.testing.assert_array_equal(frames.read(), FRAMES[7:][[3, 4, 5, 1, 9]])


@pytest.mark.parametrize("heap", [b"", (10**6).to_bytes(8, "little")], ids=["heap is there", "heap is not"])
def test_a_text_that_says_it_is_longer_than_the_file(tmp_path, heap):
    """Found by fuzzing: HDF5 took 3.4 GB for it, and 4.4 GB where the place of its heap was damaged, too."""
    path = save_nxtomo(tmp_path / "scan.nxs", **nxtomo_parts())
    with h5py.File(path) as file:
        place = file["entry/definition"].id.get_offset()
    with open(path, "r+b") as file:
        file.seek(place)
        file.write((3_306_202_640).to_bytes(4, "little") + heap)
    with pytest.raises(InputFileError, match=r"damaged: .* says it is longer than the file"):
        read_measured(str(path))
