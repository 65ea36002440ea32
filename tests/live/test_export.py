"""The file of a live scan that was cut at any step: valid, and reconstructed by another library."""

import os
import signal
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import h5py
import numpy as np
import pytest
import torch
from live.conftest import CAMERA, SETUP, expose, open_beam
from processes import server
from skimage.transform import iradon

from tomopilot.live.export import export
from tomopilot.live.held import Refused
from tomopilot.live.live import hold
from tomopilot.live.record import KEY
from tomopilot.measure.backprojection import filtered_backprojection
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured

pytestmark = pytest.mark.fault
FLATS, DARKS = 10, 5
DENSE = replace(SETUP, policy="uniform", flats_every=3, budget=24)


def one_step(folder, setup):
    """Measures one projection, asks for the next one, and is killed."""
    torch.set_num_threads(1)
    with hold(folder, setup) as live:
        if setup:
            open_beam(live)
        waiting = [live.held.known(one["id"]) for one in live.state()["outstanding"]]
        one = waiting[0] if waiting else live.suggest()
        if one.flats:
            open_beam(live)
        expose(live, one)
        if live.state()["measured"] < DENSE.budget:
            live.suggest()
        os.kill(os.getpid(), signal.SIGKILL)


def check(path, count):
    """As other programs see the file: keys, angles, and an image by scikit-image."""
    with h5py.File(path) as file:
        keys = file["entry/instrument/detector/image_key"][:]
        frames = file["entry/instrument/detector/data"][:].astype(float)
        degrees = file["entry/sample/rotation_angle"][:]
    times = 1 + (count - 1) // 3  # that flats and darks were taken
    assert Counter(keys.tolist()) == {0: count, 1: FLATS * times, 2: DARKS * times}
    if find_spec("nxtomo"):
        from nxtomo.application.nxtomo import NXtomo

        scan = NXtomo().load(str(path), "entry", detector_data_as="as_numpy_array")
        NXtomo.check_consistency(scan, raises_error=True)
        assert [int(key.value) for key in scan.instrument.detector.image_key] == keys.tolist()
    flat, dark = frames[keys == 1].mean(0), frames[keys == 2].mean(0)
    lines = -np.log((frames[keys == 0] - dark) / (flat - dark))[:, 0]
    bins = lines.shape[1]
    place = np.arange(bins) - bins // 2 + (bins - 1) / 2  # scikit-image turns about bin n // 2
    centred = np.stack([np.interp(place, np.arange(bins), row) for row in lines])
    image = iradon(centred.T, theta=degrees[keys == 0])
    return np.corrcoef(image.ravel(), CAMERA.volume[0].numpy().ravel())[0, 1]


@pytest.mark.parametrize("steps", [4, pytest.param(24, marks=pytest.mark.slow)])
def test_a_scan_that_is_killed_at_every_step_leaves_a_valid_file(tmp_path, steps):
    """F22."""
    likeness = []
    for count in range(1, steps + 1):
        process = server().Process(target=one_step, args=(tmp_path, DENSE if count == 1 else None))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert export(tmp_path, tmp_path / "scan.nxs") == count
        likeness.append(check(tmp_path / "scan.nxs", count))
    print(f"{steps} kills: correlation with the truth {likeness[0]:.2f} to {likeness[-1]:.2f}")
    assert likeness[-1] > likeness[0] + 0.1 and likeness[-1] > (0.5 if steps < 24 else 0.7)


def test_frames_are_exported_as_they_came(tmp_path, setup):
    """With the angles that were reached, and flats in their places; it reconstructs to the same image."""
    with hold(tmp_path, replace(setup, flats_every=3)) as live:
        with pytest.raises(Refused, match="nothing is measured yet"):
            export(tmp_path, tmp_path / "scan.nxs")
        open_beam(live)
        for count in range(1, setup.budget + 1):
            one = live.suggest()
            if one.flats:
                open_beam(live)
            expose(live, one, off=0.1)
            assert export(tmp_path, tmp_path / "scan.nxs") == count
            raw = read_measured(str(tmp_path / "scan.nxs"))
            np.testing.assert_array_equal(raw.projections.read()[-1], CAMERA.frame(one.angle + 0.1))
            assert np.rad2deg(raw.angles[-1]) == pytest.approx(one.angle + 0.1)
        lines = Correction()(raw)
        for values, block in zip(lines.values, live.held.book.blocks(KEY), strict=True):
            np.testing.assert_allclose(values, block.values.numpy() * setup.scale, atol=0.03)
    assert sorted(set(raw.flats_after)) == [0, 3, 6]
    image = filtered_backprojection(lines.operator(), torch.from_numpy(lines.values[:, 0])[None])[0]
    truth = CAMERA.volume[0] * setup.scale
    assert np.corrcoef(image.flatten(), truth.flatten())[0, 1] > 0.8
