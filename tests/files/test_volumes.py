"""Volumes by name: slices in their order, of one size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tomopilot.files.images import NamedImage, read_images, without_folder
from tomopilot.files.reading import InputFileError
from tomopilot.files.volumes import read_volume, volume_spec

STACK = np.random.default_rng(0).random((5, 8, 6), np.float32)


@pytest.fixture
def stack(tmp_path) -> Path:
    np.save(tmp_path / "a.npy", STACK)
    return tmp_path / "a.npy"


@pytest.mark.parametrize(("chosen", "numbers"), [("", range(5)), ("::all", range(5)), ("::4,0-1", [4, 0, 1])])
def test_the_images_of_a_spec_are_its_slices(stack, chosen, numbers):
    volume = read_volume(f"volume:{stack}{chosen}")
    np.testing.assert_array_equal(volume.pixels.numpy(), STACK[list(numbers)])
    assert volume.shown is volume.pixels
    assert volume.name == f"volume:a.npy{chosen}"
    assert volume.slices == tuple(f"a.npy::{number}" for number in numbers)


def test_an_image_is_no_volume(stack):
    assert read_images(f"{stack}::0")[0].slices == ()


def test_it_is_found_again_from_any_folder(stack, monkeypatch):
    monkeypatch.chdir(stack.parent)
    assert volume_spec("volume:a.npy::0-2") == f"volume:{stack}::0-2"
    assert volume_spec("volume:defect:a.npy::0-2") == f"volume:defect:{stack}::0-2"
    assert volume_spec("volume:phantom:chip@16::0-2") == "volume:phantom:chip@16::0-2"
    assert without_folder(f"volume:defect:{stack}::0-2") == "volume:defect:a.npy::0-2"


def test_painted_slices():
    painted = read_volume("volume:defect:phantom:chip@64::0-1").pixels
    plain = read_volume("volume:phantom:chip@64::0-1").pixels
    assert ((painted != plain).flatten(1).any(1)).tolist() == [True, True]


def test_slices_of_two_sizes_are_no_volume(monkeypatch):
    images = [NamedImage(f"a::{wide}", torch.zeros(8, wide)) for wide in (6, 6, 5)]
    monkeypatch.setattr("tomopilot.files.volumes.read_images", lambda spec: images)
    with pytest.raises(InputFileError, match=r"a::5 is 8 x 5 pixels, but a::6 is 8 x 6.*one size"):
        read_volume("volume:a")


def test_complex_slices_are_no_volume(tmp_path):
    np.save(tmp_path / "a.npy", STACK * 1j)
    with pytest.raises(InputFileError, match=r"a.npy::0 is complex.*magnitude"):
        read_volume(f"volume:{tmp_path / 'a.npy'}::0-1")


@pytest.mark.parametrize("spec", ["volume:none.npy::0-3", "volume:volume:a.npy", "volume:"])
def test_what_is_not_there(spec, stack, monkeypatch):
    monkeypatch.chdir(stack.parent)
    with pytest.raises(InputFileError):
        volume_spec(spec)


def test_volumes_are_not_named_where_images_are(stack):
    for spec in (f"volume:{stack}", f"defect:volume:{stack}"):
        with pytest.raises(InputFileError):
            read_images(spec)


def test_pixels_are_float32(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 4, 4), 255, np.uint8))
    assert torch.equal(read_volume(f"volume:{tmp_path / 'a.npy'}").pixels, torch.ones(2, 4, 4))
