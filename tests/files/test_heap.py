import h5py
import numpy as np
import pytest
from samples import make_scan, save_nxtomo

from tomopilot.files.heap import has_damaged_texts
from tomopilot.files.images import read_images
from tomopilot.files.nexus import read_scan, write_scan
from tomopilot.files.reading import InputFileError
from tomopilot.raw.door import read_measured


def damage(path, size: int) -> None:
    """Says another size of the last text in the heap."""
    content = bytearray(path.read_bytes())
    heap, index = content.index(b"GCOL"), 1
    place = heap + 16
    while content[place] == index:
        last, index = place, index + 1
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    content[last + 8 : last + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("size", [18, 2**64 - 16, 2**64 - 40])  # the last leads back
def test_a_heap_that_leads_to_itself(tmp_path, size):
    """HDF5 itself would never return."""
    path = save_nxtomo(tmp_path / "scan.nxs")
    assert not has_damaged_texts(path)
    damage(path, size)
    assert has_damaged_texts(path)
    with pytest.raises(InputFileError, match=r"scan\.nxs: its texts are damaged"):
        read_measured(str(path))


def test_at_every_door(tmp_path):
    write_scan(tmp_path / "scan.h5", make_scan())
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"], file["unit"] = np.ones((2, 4, 4)), "metal"
    for name, read in (("scan.h5", read_scan), ("images.h5", read_images)):
        path = tmp_path / name
        damage(path, 2**64 - 16)
        with pytest.raises(InputFileError, match="its texts are damaged"):
            read(path if read is read_scan else str(path))


def test_files_without_texts_and_short_ones(tmp_path):
    for content in (b"", b"GCOL\1\0\0\0", b"GCOL\1\0\0\0" + bytes([255] * 8)):
        (tmp_path / "a").write_bytes(content)
        assert not has_damaged_texts(tmp_path / "a")


def said(path, length: int) -> bytes:
    """The same file, where a text that an attribute names has another length."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL\1\0\0\0")
    place = content.index((3).to_bytes(4, "little") + heap.to_bytes(8, "little"))
    content[place : place + 4] = length.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("length", [10**6, 2**31, 2**32 - 1])
def test_a_text_of_an_attribute_that_is_longer_than_the_file(tmp_path, length):
    """HDF5 itself would take so much memory first."""
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.ones((2, 4, 4))
        file.attrs["names"] = ["a", "bb", "ccc"]
    assert not has_damaged_texts(path) and len(read_images(str(path))) == 2
    path.write_bytes(said(path, length))
    with pytest.raises(InputFileError, match="one says it is longer than the file"):
        read_images(str(path))


@pytest.mark.parametrize("texts", [1, 2000])
def test_sound_files_with_many_texts_are_read(tmp_path, texts):
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 65536, (64, 64, 64)).astype(np.uint16)
        file["notes"] = [str(number) * 20 for number in range(texts)]
        file.attrs["names"] = ["a", "bb"]
    assert not has_damaged_texts(path) and len(read_images(f"{path}:/images")) == 64
