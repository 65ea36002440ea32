"""All slices of a measured volume: the same bits whoever reconstructs them, and none of them twice."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tomopilot.files.nexus import Frames, ScanFile, write_scan
from tomopilot.files.voxels import create_store, done, read_slice
from tomopilot.measure.noise import Gaussian, Masked
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack
from tomopilot.posterior.classical import TotalVariation
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.schedule import logarithmic
from tomopilot.randomness import stream
from tomopilot.records import Data
from tomopilot.scan.executors import executor
from tomopilot.scan.parts import POSTERIORS, Entry, Method
from tomopilot.scan.volume import Volume, reconstruct
from tomopilot.testing import smooth_prior

SIZE, SLICES, TAKEN = 16, 5, [3, 0, 5, 3]
RADON = Radon(SIZE, half_turn(6))
NOISES = [Gaussian(0.1), Gaussian(0.1), Masked(Gaussian(0.2), (4,)), Gaussian(0.1)]
SMOOTH = DiffusionPosterior(smooth_prior((SIZE, SIZE)), Prox(), logarithmic(2.5, 0.02, 5))


@pytest.fixture
def frames(rng) -> torch.Tensor:
    """What four exposures of a volume measured, in the order taken; the third with another noise."""
    volume = torch.rand(1, SLICES, SIZE, SIZE, generator=rng)
    return Stack(RADON, SLICES).forward(volume)[0, TAKEN]


@pytest.fixture
def volume(tmp_path, frames, monkeypatch) -> Volume:
    monkeypatch.setitem(POSTERIORS, "smooth", Entry(lambda: SMOOTH, needs_prior=False))
    angles, none = RADON.shown.numpy(), np.empty((0, len(RADON)))
    whole = Frames(tuple(frames.shape), np.dtype("float32"), lambda: iter(frames.numpy()))
    write_scan(tmp_path / "scan.h5", ScanFile(whole, angles[TAKEN], none, angles, "a", {}))
    order = sorted(range(4), key=TAKEN.__getitem__)
    return Volume(
        tmp_path / "scan.h5",
        stored(tmp_path / "volume.zarr"),
        SLICES,
        RADON[torch.tensor([TAKEN[place] for place in order])],
        tuple(NOISES[place] for place in order),
        tuple(order),
        Method("smooth", "uniform", None),
        count=3,
        seed=2,
        device="cpu",
    )


def stored(path: Path) -> Path:
    create_store(path, (SLICES, SIZE, SIZE), {})
    return path


def images(volume: Volume) -> np.ndarray:
    found = [read_slice(volume.store, number) for number in range(SLICES)]
    return np.stack([[one.estimate, one.uncertainty] for one in found])


def test_every_slice_is_the_posterior_of_its_rows(volume, frames):
    """With the settings, noise and random streams of the scan itself."""
    assert [*reconstruct(volume)] == [1, 2, 3, 4, 5]
    stack = Stack(RADON, SLICES)
    data = Data(stack.image_shape)
    for design, frame, noise in zip(TAKEN, frames, NOISES, strict=True):
        data = data.add(stack, design, frame, noise)
    draws = Slicewise(SMOOTH).sample(data, 3, rng=stream(2, "draws", 4))
    expected = torch.stack([draws.guess, draws.images.std(0)], 1).numpy()
    np.testing.assert_array_equal(images(volume), expected)


def test_two_workers_make_the_same_bits_as_one(volume, tmp_path):
    volume = replace(volume, method=Method("tv(steps=20)", "uniform", None))  # that other processes know, too
    other = replace(volume, store=stored(tmp_path / "other.zarr"))
    list(reconstruct(volume))
    with executor("local:2", tmp_path) as pool:
        list(reconstruct(other, pool))
    np.testing.assert_array_equal(images(other), images(volume))
    assert np.isnan(images(volume)[:, 1]).all()  # of one image


class Counted(TotalVariation):
    """Notes how often it is asked, and fails at times."""

    asked, fails = 0, ()

    def sample(self, data, count, *, rng, previous=None):
        Counted.asked += 1
        if Counted.asked in Counted.fails:
            raise MemoryError("too large")
        return super().sample(data, count, rng=rng, previous=previous)


@pytest.fixture
def counted(volume, monkeypatch) -> Volume:
    monkeypatch.setitem(POSTERIORS, "counted", Entry(lambda: Counted(0.1, 3), needs_prior=False))
    monkeypatch.setattr(Counted, "asked", 0)
    return replace(volume, method=Method("counted", "uniform", None))


def test_what_is_done_is_not_done_again(counted, monkeypatch):
    monkeypatch.setattr(Counted, "fails", (3,))
    with pytest.raises(MemoryError, match="too large"):
        list(reconstruct(counted))
    assert done(counted.store) == {0, 1}
    assert [*reconstruct(counted)] == [3, 4, 5] and Counted.asked == 3 + 3
    assert [*reconstruct(counted)] == [] and Counted.asked == 6


def test_a_slice_that_fails_leaves_the_others(counted, monkeypatch):
    monkeypatch.setattr(Counted, "fails", (2,))
    with ThreadPoolExecutor(1) as pool, pytest.raises(MemoryError, match=r"slice 1: too large. .*resume"):
        list(reconstruct(counted, pool))
    assert done(counted.store) == {0, 2, 3, 4}


def test_many_slices_are_handed_out_together(volume, monkeypatch):
    monkeypatch.setattr("tomopilot.scan.volume.PARTS", 2)
    assert [*reconstruct(volume)] == [3, 5]


ALL = """
import resource, sys
from pathlib import Path
import numpy as np
from tomopilot.files.nexus import Frames, ScanFile, write_scan
from tomopilot.files.voxels import create_store
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.scan.parts import Method
from tomopilot.scan.volume import Volume, reconstruct

folder, slices, size, taken = Path(sys.argv[1]), int(sys.argv[2]), 256, 40
radon, image = Radon(size, half_turn(taken)), np.random.default_rng(0).random((slices, size), np.float32)
frames = Frames((taken, slices, size), np.dtype("float32"), lambda: (image for _ in range(taken)))
angles = radon.shown.numpy()
write_scan(folder / "scan.h5", ScanFile(frames, angles, np.empty((0, taken)), angles, "a", {}))
create_store(folder / "volume.zarr", (slices, size, size), {})
volume = Volume(
    folder / "scan.h5", folder / "volume.zarr", slices, radon, taken * (Gaussian(0.1),), tuple(range(taken)),
    Method("fbp", "uniform", None), count=1, seed=0, device="cpu",
)
*_, ready = reconstruct(volume)
assert ready == slices
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    """Peak of a process that reconstructs slices of 256 x 256 from 40 frames on disk; 512 are 270 MB."""
    peaks = {}
    for slices in (8, 32, 128, 512):
        (folder := tmp_path / str(slices)).mkdir()
        said = subprocess.check_output([sys.executable, "-c", ALL, str(folder), str(slices)])
        peaks[slices] = int(said)
    print("peak MB by slices:", peaks)
    assert max(peaks.values()) - peaks[8] < 40
