import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from samples import STACK
from skimage import io

from tomopilot.files.description import described
from tomopilot.files.images import read_images
from tomopilot.files.writer import VolumeWriter

VOLUME = np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
ABOUT = {"unit": "1/m", "pixel_size": 0.65e-6, "prior": "chip-128"}
ENDINGS = [".tif", ".tiff", ".zarr"]


def write(path: Path, volume: np.ndarray = VOLUME, dtype="float32", **about) -> Path:
    """Slices in an order of their own, one of them twice."""
    with VolumeWriter(path, volume.shape, dtype, {**ABOUT, **about}) as writer:
        for i in (3, 0, 1, *range(4, len(volume)), 2, 3):
            writer[i] = volume[i]
    return path


def independent(path: Path) -> np.ndarray:
    """As other programs read it."""
    if path.suffix == ".zarr":
        return np.asarray(pytest.importorskip("zarr").open(path, mode="r")[:])
    stack = io.imread(path)
    np.testing.assert_array_equal(stack, tifffile.imread(path))
    return stack


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16"])
def test_what_is_written_is_read(tmp_path, ending, dtype):
    volume = STACK.astype(dtype) if dtype[0] == "u" else VOLUME.astype(dtype)
    path = write(tmp_path / f"a{ending}", volume, dtype)
    np.testing.assert_array_equal(independent(path), volume)
    assert independent(path).dtype == volume.dtype
    if dtype == "float32":
        images = read_images(str(path))
        assert torch.equal(torch.stack([image.pixels for image in images]), torch.from_numpy(volume))
        assert images[0].pixel_size == pytest.approx(0.65e-6) and described(str(path))["unit"] == "1/m"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_a_tif_says_of_itself(tmp_path):
    with tifffile.TiffFile(write(tmp_path / "a.tif")) as tiff:
        said, page = json.loads(tiff.pages.first.description), tiff.pages.first
        assert len(tiff.pages) == 5 and said.items() >= {**ABOUT, "pixel_size_unit": "m"}.items()
        assert page.resolutionunit == 3 and page.get_resolution("MICROMETER") == pytest.approx(
            (1 / 0.65,) * 2
        )


def test_what_a_zarr_says_of_itself(tmp_path):
    array = pytest.importorskip("zarr").open(write(tmp_path / "a.zarr", pixel_size=None), mode="r")
    assert dict(array.attrs) == {
        "unit": "1/m",
        "pixel_size": None,
        "prior": "chip-128",
        "axes": ["z", "y", "x"],
    }
    assert array.chunks == (1, 7, 6) and array.metadata.dimension_names == ("z", "y", "x")
    assert read_images(str(tmp_path / "a.zarr"))[0].pixel_size is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_there_before_it_is_whole(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    writer = VolumeWriter(path, VOLUME.shape, "float32", ABOUT)
    for i in (0, 1, 3, 4):
        writer[i] = VOLUME[i]
    assert not path.exists() and writer.missing == {2}
    with pytest.raises(ValueError, match=r"1 of 5 slices were not written to .*, the first is 2"):
        writer.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError), VolumeWriter(path, VOLUME.shape, "float32", ABOUT):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_killed_process_left_is_replaced(tmp_path, ending):
    killed = VolumeWriter(tmp_path / f"a{ending}", (9, 7, 6), "uint8", ABOUT)
    killed[8] = np.ones((7, 6), np.uint8)
    np.testing.assert_array_equal(independent(write(tmp_path / f"a{ending}")), VOLUME)


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_overwritten(tmp_path, ending):
    write(tmp_path / f"a{ending}")
    with pytest.raises(ValueError, match="there already"):
        write(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(independent(tmp_path / f"a{ending}"), VOLUME)


BAD = {  # what is put where, and why it cannot be
    "slice 5 is (7, 6); expected (7, 6), and 0 to 4": (5, VOLUME[0]),
    "slice -1 is (7, 6)": (-1, VOLUME[0]),
    "slice 0 is (6, 7); expected (7, 6)": (0, VOLUME[0].T),
    "slice 0 is complex64; expected float32": (0, VOLUME[0] * 1j),
    "slice 0 has values that are NaN or infinite": (0, VOLUME[0] * np.nan),
    "infinite in float32": (0, VOLUME[0].astype(float) * 1e300),
}


@pytest.mark.parametrize("said", BAD)
def test_slices_that_do_not_fit(tmp_path, said):
    number, image = BAD[said]
    writer = VolumeWriter(tmp_path / "a.tif", VOLUME.shape, "float32", ABOUT)
    with pytest.raises(ValueError) as caught:
        writer[number] = image
    assert said in str(caught.value) and len(writer.missing) == 5


VOLUMES = {  # what cannot be begun, and why
    "ends with '.png'": ("a.png", (5, 7, 6), "float32", ABOUT),
    "expected numbers (slices, h, w)": ("a.tif", (5, 7), "float32", ABOUT),
    "is complex64": ("a.tif", (5, 7, 6), "complex64", ABOUT),
    "expected the unit": ("a.tif", (5, 7, 6), "float32", {"pixel_size": 1e-6}),
    "a pixel_size in metres above 0": ("a.tif", (5, 7, 6), "float32", {"unit": "1/m", "pixel_size": 0}),
}


@pytest.mark.parametrize("said", VOLUMES)
def test_volumes_that_cannot_be_begun(tmp_path, said):
    name, shape, dtype, about = VOLUMES[said]
    with pytest.raises(ValueError) as caught:
        VolumeWriter(tmp_path / name, shape, dtype, about)
    assert said in str(caught.value) and not list(tmp_path.iterdir())


def test_zarr_without_zarr_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ValueError, match=r"tomopilot\[volumes\]"):
        VolumeWriter(tmp_path / "a.zarr", VOLUME.shape, "float32", ABOUT)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_memory_does_not_grow_with_slices(tmp_path, ending):
    """Peak of a process that writes 40 and 400 slices of 1 MB."""
    import subprocess

    code = (
        "import resource, sys, numpy as np; from tomopilot.files.writer import VolumeWriter\n"
        "count = int(sys.argv[2]); image = np.random.default_rng(0).random((512, 512), np.float32)\n"
        "with VolumeWriter(sys.argv[1], (count, 512, 512), 'float32', {'unit': '1'}) as volume:\n"
        "    for i in range(count): volume[i] = image\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = [
        int(
            subprocess.check_output(
                [sys.executable, "-c", code, str(tmp_path / f"{count}{ending}"), str(count)]
            )
        )
        for count in (40, 400)
    ]
    assert peaks[1] - peaks[0] < 50 * 1024
