import json

import pytest

from tomopilot.measure.kind import ROW
from tomopilot.scan.notices import Look, after, before, doubts, stopped, usual_prior
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan

ALARM = {"drift": 1.0, "threshold": 2.0}
STRANGE = {
    **ALARM, "mean": [0.0], "slopes": [[0.0, 0.0]], "precision": [[1.0]], "noise": [0.01, 0.02], "until": 20
}  # fmt: skip
CARD = {"name": "tiny", "network": {}, "prediction": "v", "range": [0, 1], "sha256": 64 * "0"}


def plan(prior, **more) -> Plan:
    method = Method("auto", "variance", str(prior)) if prior else Method("fbp", "uniform", None)
    return Plan(("a",), (method,), **more)


def look(name="a", width=32, pixel_size=None, signal_to_noise=100.0, notes=()) -> Look:
    return Look(name, width, pixel_size, signal_to_noise, notes)


@pytest.mark.parametrize(
    ("said", "size", "foreign"),
    [
        ("0.04 to 0.15 um", 1e-7, False),
        ("0.04 to 0.15 um", 0.16e-6, False),  # within a tenth
        ("0.04 to 0.15 um", 1e-6, True),
        ("0.04 to 0.15 um", 1e-8, True),
        ("2 mm (26 cm across)", 2e-3, False),
        ("2 mm (26 cm across)", 0.7e-3, True),
        ("2 mm (26 cm across)", None, False),
        (None, 1e-6, False),
    ],
)
def test_pixels_of_another_size_than_the_priors(tmp_path, said, size, foreign):
    (tmp_path / "card.json").write_text(json.dumps(CARD | ({"pixel_size": said} if said else {})))
    lines = doubts(plan(tmp_path), [look(pixel_size=size), look("b", pixel_size=size), look("c")])
    assert len(lines) == foreign
    if foreign:
        assert lines[0].startswith("a and 1 more: the pixel size is") and said in lines[0]


def test_noise_and_a_narrow_detector_are_doubted():
    (line,) = doubts(plan(None, noise="gaussian:9"), [look(), look("b", signal_to_noise=0.12)])
    assert "noise gaussian:9 exceeds the signal: signal to noise is 0.12 in b" in line
    (line,) = doubts(plan(None, bins=31), [look()])
    assert "31 bins, but a is 32 pixels wide" in line and "truncated" in line
    assert doubts(plan(None, bins=32), [look()]) == []


def test_what_was_decided_in_reading_is_said_once_a_file():
    looks = [
        look("a.nii::0", notes=("they became attenuation",)),
        look("a.nii::1", notes=("they became attenuation",)),
    ]
    assert doubts(plan(None), [*looks, look("b.npy")]) == ["a.nii: they became attenuation"]


def test_the_number_of_scans_is_said():
    one = Method("fbp", "uniform", None)
    assert before(Plan(("a",), (one,))) == []
    many = Plan(("a", "b"), (one, Method("tv", "uniform", None), Method("tv", "random", None)))
    assert before(many) == ["2 images by 3 methods: 6 scans of up to 20 measurements each"]


def test_the_usual_prior_is_named(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD | {"data": "six bars"}))
    (line,) = usual_prior(plan(tmp_path))
    assert str(tmp_path) in line and "six bars" in line


@pytest.mark.parametrize(
    ("trust", "said"),
    [
        ({}, "no alarm was fitted for samples of scout"),
        ({"alarm": {"scout": ALARM}}, "surprising measurements, none for strange samples"),
        ({"alarm": {"scout": ALARM}, "strangeness": {"scout": STRANGE}}, "relative noise of 0.01 to 0.02"),
        ({"strangeness": {"scout": STRANGE | {"noise": [0.01, 0.01]}}}, "at relative noise of 0.01"),
    ],
)
def test_what_watches_over_a_scan_is_said(tmp_path, trust, said):
    (tmp_path / "card.json").write_text(json.dumps(CARD | {"trust": trust}))
    (line,) = before(plan(tmp_path))
    assert "tiny" in line and said in line


def test_alarms_are_said_afterwards_with_what_they_changed():
    quiet = {"image": "a", "alarm": None, "alarm_by": None, "without_prior": None}
    loud = quiet | {"image": "b", "alarm": 7, "alarm_by": "surprise", "designs": [*range(9)]}
    (line,) = after([quiet, loud | {"policy": "variance(batch=2)", "without_prior": 8}], ROW.words)
    assert line.startswith("ALARM in b at measurement 7") and "rows were taken from low to high" in line
    assert line.endswith("8 on rows were taken from low to high and the estimate is without it")
    (line,) = after([loud | {"policy": "variance"}], ROW.words)
    assert (
        "rows no worse than a reconstruction without it, so the scan went on with it" in line
        and "were taken" not in line
    )
    loud |= {"without_prior": 7}
    for nothing in ({"designs": [*range(7)], "policy": "variance"}, {"policy": "low-to-high"}):
        (line,) = after([loud | nothing], ROW.words)
        assert line.startswith("ALARM in b at measurement 7") and "were taken" not in line


def test_why_a_scan_ended():
    adaptive, ordered = Method("auto", "variance", "p"), Method("tv", "uniform", None)
    assert stopped(plan("p"), adaptive, 20, "angle") == "the budget of 20 was spent"
    assert stopped(plan("p", certain=32.0), adaptive, 9, "angle") == "32 dB were expected"
    assert stopped(plan("p"), adaptive, 9, "angle") == "every angle was measured"
    assert stopped(plan("p"), ordered, 9, "angle") == "the order ended"
