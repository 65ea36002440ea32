"""Frames that say nothing of the sample, and stages that stop elsewhere."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from live.conftest import CAMERA, Deaf, drive, expose, open_beam

from tomopilot.live.live import hold
from tomopilot.simulate.camera import Camera

pytestmark = pytest.mark.fault


def spoiled(name):
    frame = CAMERA.frame(0.0).astype(float)
    monitor, rng = None, np.random.default_rng(0)
    if name == "no numbers":
        frame[0, 3:9] = np.nan
    elif name == "black":
        frame[:] = 0
    elif name == "saturated":
        frame = CAMERA.frame(0.0)
        frame[:, 2:8] = 65535
    elif name == "below dark":
        frame[:] = rng.uniform(20, 90, frame.shape)
    elif name == "beam lost":
        frame = CAMERA.frame(0.0, beam=0.5)
    elif name == "monitor":
        monitor = 0.5
    elif name == "narrow":
        frame = frame[:, :-1]
    elif name == "complex":
        frame = frame.astype(complex)
    return frame, monitor


FAULTS = {
    "no numbers": "not finite",
    "black": "not above the dark field",
    "saturated": "saturated",
    "below dark": "not above the dark field",
    "beam lost": "beam is .* weaker",
    "monitor": "beam monitor reads 0.5",
    "narrow": "shape \\(2, 15\\); expected \\(2, 16\\)",
    "complex": "holds complex128",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_says_nothing_of_the_sample_is_quarantined(tmp_path, setup, name):
    """F7: with a reason, kept as it came; what is known stays as it was, bit for bit."""
    with hold(tmp_path, replace(setup, policy="uniform"), Deaf) as live:
        open_beam(live)
        drive(live, 4)
        before, draws = live.held.experiment.data, live.held.experiment.snapshot
        first = live.suggest()
        frame, monitor = spoiled(name)
        for attempt in range(setup.retries + 1):
            one = live.suggest() if attempt else first
            assert one.design == first.design
            answer = live.tell(one.id, frame, one.angle, monitor)
            assert not answer["accepted"] and live.tell(one.id, frame, one.angle, monitor) == answer
            assert re.search(FAULTS[name], answer["reason"]), answer["reason"]
            np.testing.assert_array_equal(live.held.book.frames(answer["event"]), frame)
        assert live.held.experiment.data is before and live.held.experiment.snapshot is draws
        assert live.state()["unusable"] == {str(first.design): "failed 3 times"}
        assert first.design not in {one.design for one in drive(live)}


def test_a_long_sample_that_turns_is_no_loss_of_the_beam(tmp_path, setup):
    """Bins that saw air at other angles see the sample; a beam of half the intensity is still noticed."""
    x = torch.linspace(-1, 1, 64)
    camera = Camera(((x[:, None] / 0.25) ** 2 + (x / 0.85) ** 2 < 1).float().repeat(2, 1, 1), scale=0.05)
    setup = replace(setup, columns=64, angles=180, policy="random", budget=40)
    with hold(tmp_path, setup, Deaf) as live:
        open_beam(live, camera)
        assert len(drive(live, 39, camera=camera)) == 39
        one = live.suggest()
        assert "weaker" in live.tell(one.id, camera.frame(one.angle, beam=0.5), one.angle)["reason"]
        assert len(live.held.ledger.told) == 39


def test_a_sample_that_fills_the_view_is_no_loss_of_the_beam(tmp_path, setup):
    """Where nothing sees air, projections differ as a whole from angle to angle."""
    stripes = (torch.arange(16) < 5).float().expand(2, 16, 16).contiguous()
    camera = Camera(stripes + 0.2, scale=0.2)
    with hold(tmp_path, replace(setup, scale=0.2, policy="uniform"), Deaf) as live:
        open_beam(live, camera)
        assert len(drive(live, camera=camera)) == setup.budget


def test_a_stage_that_stops_elsewhere_is_noticed(tmp_path, setup):
    """F8: the angle is measured again; within the tolerance, the angle that was reached is used."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        one = live.suggest()
        answer = expose(live, one, off=0.7)
        assert "read back 0.7 degrees, 0.7 from 0" in answer["reason"]
        again = live.suggest()
        assert again.design == one.design and expose(live, again, off=-0.2)["accepted"]
        assert live.state()["angles"] == [pytest.approx(-0.2)]


def test_rows_in_another_order_are_a_surprise(tmp_path, setup):
    """F7: such a frame holds numbers as good as any other; the samples know that it is another sample."""
    with hold(tmp_path, setup) as live:
        open_beam(live)
        drive(live, 6)
        one = live.suggest()
        shuffled = np.random.default_rng(0).permutation(CAMERA.frame(one.angle), axis=1)
        assert live.tell(one.id, shuffled, one.angle)["accepted"]
        *usual, latest = (told["surprise"] for told in live.held.ledger.told[2:])
    print(f"surprise {latest:.1f} where columns are shuffled, {max(usual):.1f} at most before")
    assert latest > 2 * max(usual)
