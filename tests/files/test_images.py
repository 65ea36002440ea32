import os
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import SAVE_STACK, STACK, assert_read, expected, refusal, save_png, save_zarr

from tomopilot.files.images import count_images, labels, read_images, single_specs, split, without_folder
from tomopilot.files.reading import InputFileError


@pytest.fixture(params=SAVE_STACK)
def stack(request, tmp_path) -> Path:
    SAVE_STACK[request.param](tmp_path / request.param, STACK)
    return tmp_path / request.param


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ("", range(8)), ("::3", [3]), ("::2-5", range(2, 6)), ("::6,0,2", [6, 0, 2]),
        ("::0-2,7", [0, 1, 2, 7]), ("::1-7:3", [1, 4, 7]), ("::0-7:3,1", [0, 3, 6, 1]),
    ],
)  # fmt: skip
def test_every_selection_of_every_stack(stack, chosen, numbers):
    images = read_images(f"{stack}{chosen}")
    assert [image.name for image in images] == [f"{stack.name}::{i}" for i in numbers]
    torch.testing.assert_close(
        [image.pixels for image in images], [*expected(STACK[numbers])], rtol=0, atol=0
    )


@pytest.mark.parametrize(
    "chosen",
    [
        "8",
        "0-8",
        "5-2",
        "x",
        "",
        "-1",
        "1-",
        "1,,2",
        "1.5",
        "9" * 5000,
        "0-999999999",
        "²",
        "0-6:0",
        "0-6:-1",
        "3:2",
    ],
)
def test_bad_selections(stack, chosen):
    assert stack.name in refusal(f"{stack}::{chosen}")


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
    chance = np.random.default_rng(0)
    noise = chance.normal(size=(side, side)) + 1j * chance.normal(size=(side, side))
    images = np.stack([head(side), noise, np.ones((side, side)), np.zeros((side, side))]).astype(np.complex64)
    np.save(tmp_path / "a.npy", images)
    found = [image.pixels for image in read_images(str(tmp_path / "a.npy"))]
    torch.testing.assert_close(found, [*torch.from_numpy(images)], rtol=0, atol=0)


@pytest.mark.parametrize(
    "spec", ["", "::", "::3", "a.jpg", "no-ending", "a.h5:/x", "\0.npy", "x" * 5000 + ".npy", "phantom:"]
)
def test_foreign_words(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(b"not ours")
    assert spec.rpartition("::")[0] in refusal(spec)


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
    with pytest.raises(InputFileError, match="is a pipe, not a file"):
        labels(str(tmp_path / "pipe.npz"), "source")
    np.save(tmp_path / "slices.npy", STACK)
    with pytest.raises(InputFileError, match="only npz files have an array 'source'"):
        labels(str(tmp_path / "slices.npy"), "source")


def test_real_files(data_folder):
    chip = read_images(f"{data_folder / 'chip/validation.npz'}::0-2")
    assert [image.pixels.shape for image in chip] == [(128, 128)] * 3 and chip[0].name == "validation.npz::0"
    assert len(read_images(str(data_folder / "native/multipage_uint8_128x128x128.tif"))) == 128
    frames = data_folder / "native/nxtomo_24888.nxs"
    assert "nxtomo_24888.nxs" in refusal(f"{frames}:/entry1/tomo_entry/data/data")
    assert "looks like k-space" in refusal(data_folder / "native/mri_kspace_8coil_undersampled.npy")


def test_single_images_of_folders_are_found_again(tmp_path, monkeypatch):
    save_zarr(tmp_path / "a.zarr", STACK)
    monkeypatch.chdir(tmp_path / "a.zarr")
    assert single_specs(".::2,3") == [f"{tmp_path / 'a.zarr'}::2", f"{tmp_path / 'a.zarr'}::3"]
    assert [image.name for image in read_images(".::2,3")] == ["a.zarr::2", "a.zarr::3"]
    for spec, image in zip(single_specs("."), STACK, strict=True):
        assert_read(spec, [image])


def test_a_path_and_what_is_inside_of_it(tmp_path):
    (tmp_path / "a:").mkdir()
    np.savez(tmp_path / "a:/b.npz", one=STACK, two=STACK[:2])
    assert split(f"{tmp_path}/a:/b.npz:/two") == (tmp_path / "a:/b.npz", "/two")
    assert split("absent.h5:/x") == (Path("absent.h5:/x"), "")
    assert without_folder(f"defect:{tmp_path}/a:/b.npz:/two::3") == "defect:b.npz:/two::3"
    assert_read(f"{tmp_path}/a:/b.npz:/two", STACK[:2])
