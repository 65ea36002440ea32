"""The samples do not fit the data: the rest of a live scan is uniform."""

import pytest
import torch
from live.conftest import drive, open_beam

from tomopilot.design.policy import InOrder, uniform_order
from tomopilot.design.trust import Alarm, Watch
from tomopilot.experiment import Guard
from tomopilot.files.images import read_images
from tomopilot.live.live import hold
from tomopilot.live.setup import Setup
from tomopilot.posterior.classical import TotalVariation
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.simulate.camera import Camera

pytestmark = pytest.mark.fault
SINGLE = Setup(columns=128, rows=1, scale=0.05, prior="chip-128", posterior="scout", count=3, budget=10)


def test_after_an_alarm_of_a_prior_that_predicts_worse_the_rest_is_uniform(tmp_path, setup, monkeypatch):
    """F21: raised by surprises, kept in the record, and obeyed by the scan that goes on, without a prior."""
    monkeypatch.setattr("tomopilot.design.trust.TOO_BAD", 1e-9)  # as any prediction is
    alarm = Watch(Alarm(drift=-3.0, threshold=5.0))  # two measurements of any surprise

    def watched(live):
        experiment = live.held.experiment
        uniform = InOrder(uniform_order(experiment.operator))
        experiment.guard = Guard(alarm, uniform, Slicewise(TotalVariation()))
        return live

    with hold(tmp_path, setup) as live:
        open_beam(watched(live))
        found = drive(live, 5)
        state = live.state()
    assert state["alarm"]["by"] == "surprise" and state["alarm"]["at"] == state["without_prior"] == 4
    assert [one.by for one in found] == [*["variance"] * 4, "uniform"] and found[-1].why == "alarm"
    with hold(tmp_path) as live:
        assert live.state()["alarm"] == state["alarm"] and live.state()["without_prior"] == 4
        assert {one.by for one in drive(watched(live))} == {"uniform"}
        snapshot = live.held.experiment.snapshot
        bare = Slicewise(TotalVariation()).sample(snapshot.data, 1, rng=torch.Generator())
        assert torch.equal(snapshot.draws().guess, bare.guess)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "least", "most"), [("lung", 2, 4), ("composite", 3, 4), ("chip", 0, 1)])
def test_slices_of_another_material_ring(tmp_path, data_folder, file, least, most):
    """F21 with a shipped prior: soon after the opening, and uniform angles once the prior is left."""
    rung = []
    for number in range(4):
        (slice_,) = read_images(f"{data_folder}/{file}/validation.npz::{number}")
        camera = Camera(slice_.pixels[None], scale=0.05, photons=60_000)
        setup = Setup(
            columns=128, rows=1, scale=0.05, prior="chip-128", posterior="scout", count=3, budget=10
        )
        with hold(tmp_path / str(number), setup) as live:
            live.darks(camera.darks())
            live.flats(camera.flats())
            by = []
            while live.state()["mode"] == "running":
                one = live.suggest()
                by.append(one.by)
                live.tell(one.id, camera.frame(one.angle), one.angle)
            alarm, left = live.state()["alarm"], live.state()["without_prior"]
        if alarm is not None:
            rung.append(alarm["at"])
        if left is not None:
            assert set(by[left:]) <= {"uniform"}
    print(f"{file}: {len(rung)} of 4 scans rang, at projection {rung}")
    assert least <= len(rung) <= most
