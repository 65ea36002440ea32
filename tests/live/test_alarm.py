"""The samples do not fit the data: the rest of a live scan is uniform."""

from dataclasses import replace

import pytest
import torch
from live.conftest import drive, open_beam

from tomopilot.design.policy import Guarded, InOrder, uniform_order
from tomopilot.design.trust import Alarm, Watch
from tomopilot.files.images import read_images
from tomopilot.live.live import hold
from tomopilot.live.setup import Setup
from tomopilot.simulate.camera import Camera

pytestmark = pytest.mark.fault


def test_an_alarm_makes_the_rest_uniform(tmp_path, setup):
    """F21: raised by surprises, kept in the record, and obeyed by the scan that goes on."""
    alarm = Watch(Alarm(drift=-3.0, threshold=5.0))  # two measurements of any surprise

    def watched(live):
        held = live.held
        uniform = InOrder(uniform_order(held.experiment.operator))
        held.experiment.policy = Guarded(held.experiment.policy, uniform, alarm)
        held.parts = replace(held.parts, alarm=alarm)
        return live

    with hold(tmp_path, setup) as live:
        open_beam(watched(live))
        found = drive(live, 5)
        state = live.state()
    assert state["alarm"]["by"] == "surprise" and state["alarm"]["at"] == 4
    assert [one.by for one in found] == [*["variance"] * 4, "uniform"] and found[-1].why == "alarm"
    with hold(tmp_path) as live:
        assert live.state()["alarm"] == state["alarm"]
        assert {one.by for one in drive(watched(live))} == {"uniform"}


@pytest.mark.slow
@pytest.mark.parametrize(("file", "foreign"), [("lung", True), ("composite", True), ("chip", False)])
def test_slices_of_another_material_ring(tmp_path, data_folder, file, foreign):
    """F21 with a shipped prior: within three predicted projections, and uniform angles from there on."""
    slices = read_images(f"{data_folder}/{file}/validation.npz::0,5")
    camera = Camera(torch.stack([one.pixels for one in slices]), scale=0.05, photons=60_000)
    setup = Setup(columns=128, rows=2, scale=0.05, prior="chip-128", posterior="scout", count=3, budget=10)
    with hold(tmp_path, setup) as live:
        live.darks(camera.darks())
        live.flats(camera.flats())
        by = []
        while live.state()["mode"] == "running":
            one = live.suggest()
            by.append(one.by)
            live.tell(one.id, camera.frame(one.angle), one.angle)
        alarm, start = live.state()["alarm"], live.held.ledger.setup.start
    print(f"{file}: {alarm}; {by}")
    assert (alarm is not None) is foreign
    if alarm is not None:
        assert alarm["at"] <= start + 3 and set(by[alarm["at"] :]) == {"uniform"}
