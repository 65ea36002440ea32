import json

import pytest

from tomopilot.scan.notices import after, before, stopped
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan

ALARM = {"drift": 1.0, "threshold": 2.0}
STRANGE = {**ALARM, "mean": [0.0], "precision": [[1.0]], "noise": "relative:0.01", "until": 20}
CARD = {"name": "tiny", "network": {}, "prediction": "v", "range": [0, 1], "sha256": 64 * "0"}


def plan(prior, **more) -> Plan:
    return Plan(("a",), (Method("auto", "variance", str(prior)),), **more)


@pytest.mark.parametrize(
    ("trust", "noise", "said"),
    [
        ({}, "relative:0.01", "no alarm was fitted for samples of scout"),
        ({"alarm": {"scout": ALARM}}, "relative:0.01", "that for foreign images was not fitted"),
        ({"alarm": {"scout": ALARM}, "strangeness": {"scout": STRANGE}}, "none", "not fitted for noise none"),
        ({"strangeness": {"scout": STRANGE}}, "relative:0.01", "alarms watch"),
    ],
)
def test_what_watches_over_a_scan_is_said(tmp_path, trust, noise, said):
    (tmp_path / "card.json").write_text(json.dumps(CARD | {"trust": trust}))
    (line,) = before(plan(tmp_path, noise=noise))
    assert "tiny" in line and said in line


def test_alarms_are_said_afterwards_with_what_they_changed():
    quiet = {"image": "a", "alarm": None, "alarm_by": None}
    loud = {"image": "b", "alarm": 7, "alarm_by": "surprise"}
    (line,) = after([quiet, loud], "row")
    assert line.startswith("ALARM in b at measurement 7") and "rows were taken in uniform order" in line


def test_why_a_scan_ended():
    adaptive, ordered = Method("auto", "variance", "p"), Method("tv", "uniform", None)
    assert stopped(plan("p"), adaptive, 20, "angle") == "the budget of 20 was spent"
    assert stopped(plan("p", certain=32.0), adaptive, 9, "angle") == "32 dB were expected"
    assert stopped(plan("p"), adaptive, 9, "angle") == "every angle was measured"
    assert stopped(plan("p"), ordered, 9, "angle") == "the order ended"
