"""The samples do not fit the data: the rest of a live scan is uniform."""

from dataclasses import replace

import pytest
from live.conftest import drive, open_beam

from tomopilot.design.policy import Guarded, InOrder, uniform_order
from tomopilot.design.trust import Alarm, Watch
from tomopilot.live.live import hold

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
