"""Whatever file of images is damaged: the same images or a sentence, in little memory, never a traceback."""

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import samples
import tifffile
import torch
from damage import FLIPS, MEMORY, SHORT, TRUNCATIONS, damages, needs_proc, resident, summary, tried
from PIL import Image

from tomopilot.files.images import read_images
from tomopilot.files.reading import InputFileError
from tomopilot.files.writer import VolumeWriter

pytestmark = [needs_proc, pytest.mark.fault]
STACK = np.random.default_rng(0).integers(0, 256, (4, 24, 32), dtype=np.uint8)
VOLUME = STACK.transpose(2, 1, 0)


@dataclass(frozen=True)
class Kind:
    """A kind of file, and which parts of it are damaged."""

    save: Callable[[Path], object]
    parts: str = ""  # pattern of the files in a folder
    checked: bool = False  # whether checksums cover all values, so that a turned bit in them is found


def packed_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=STACK, compression="gzip", fletcher32=True)


def ours(path: Path) -> None:
    with VolumeWriter(path, STACK.shape, "uint8", {"unit": "1"}) as volume:
        for i, image in enumerate(STACK):
            volume[i] = image


KINDS = {
    "a.npy": Kind(lambda path: np.save(path, STACK)),
    "a.npz": Kind(lambda path: np.savez_compressed(path, images=STACK), checked=True),
    "a.png": Kind(lambda path: Image.fromarray(STACK[0]).save(path)),
    "a.tif": Kind(lambda path: tifffile.imwrite(path, STACK, **samples.GREY)),
    "packed.tif": Kind(lambda path: tifffile.imwrite(path, STACK, compression="zlib", **samples.GREY)),
    "tif": Kind(lambda path: samples.save_tifs(path, STACK), "*"),
    "a.h5": Kind(lambda path: samples.save_h5(path, images=STACK)),
    "packed.h5": Kind(packed_h5),
    "mri.h5": Kind(samples.save_fastmri),
    "a.dcm": Kind(lambda path: samples.save_dicom(path, STACK[0])),
    "dicom": Kind(lambda path: samples.save_dicoms(path, STACK), "*"),
    "a.nii": Kind(lambda path: samples.save_nifti(path, VOLUME)),
    "a.nii.gz": Kind(lambda path: samples.save_nifti(path, VOLUME), checked=True),
    "a.vgi": Kind(lambda path: samples.save_vgi(path, STACK)),
    "two.zarr": Kind(lambda path: samples.save_zarr(path, STACK, version=2), "**/*"),
    "three.zarr": Kind(ours, "**/*"),
    "chunks.zarr": Kind(ours, "c/**/*", checked=True),
    "ome.zarr": Kind(lambda path: samples.save_ome(path, STACK), "**/*"),
}


def read(path: Path, whole: list[torch.Tensor] | None) -> tuple[int, str]:
    """0 or 2, and what was said; images that are read must be those of the `whole` file, if it is given."""
    try:
        images = [image.pixels for image in read_images(str(path))]
    except InputFileError as error:
        return 2, str(error)
    assert whole is None or all(torch.equal(*pair) for pair in zip(images, whole, strict=True)), (
        "other images were read"
    )
    return 0, ""


def damaged(name: str, tmp_path: Path, cuts: int, flips: int) -> Iterator[Callable[[], tuple[int, str]]]:
    """What reads a file in each of many damaged states."""
    kind, chance, path = KINDS[name], random.Random(0), tmp_path / name
    (tmp_path / "sound").mkdir()
    kind.save(sound := tmp_path / "sound" / name)
    whole = [image.pixels for image in read_images(str(sound))]
    for number in range(cuts + flips):
        shutil.copytree(tmp_path / "sound", tmp_path, dirs_exist_ok=True)
        parts = sorted(one for one in path.glob(kind.parts) if one.is_file()) if kind.parts else [path]
        part, cut = chance.choice(parts), number < cuts
        (content,) = damages(part.read_bytes(), cut, not cut, chance)
        part.write_bytes(content)
        yield partial(read, path, whole if cut or kind.checked else None)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", KINDS)
def test_damage(name, tmp_path):
    for action in damaged(name, tmp_path, 3 * SHORT, SHORT):
        status, said = action()
        assert status == 0 or said.startswith(str(tmp_path / name))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_much_damage(name, tmp_path, capsys):
    """Each in a process of its own, whose memory is known."""
    trials = []
    for action in damaged(name, tmp_path, TRUNCATIONS, FLIPS):
        trials.append(trial := tried(action, tmp_path / "said"))
        assert trial.status in (0, 2), trial
        assert trial.status == 0 or trial.err.startswith(str(tmp_path / name)), trial
    assert max(trial.memory for trial in trials) < MEMORY + resident()
    with capsys.disabled():
        print(summary(name, trials))


def test_a_process_that_waits_for_a_lock_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr("damage.STILL", 0.3)
    held = threading.Lock()
    held.acquire()
    assert tried(lambda: (int(held.acquire()), ""), tmp_path / "said").err == "hangs"
    assert tried(lambda: (3, "an end"), tmp_path / "said").status == 3
