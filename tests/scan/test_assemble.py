"""Names become parts; what was recorded is replayed by its setting."""

import json

import pytest

from tomopilot.measure.fourier import Fourier
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.scan.assemble import replay


def test_angles_are_replayed_not_numbers():
    """Recorded with 90 candidates, replayed with 180; half a turn on, an angle reads the same."""
    recorded = Radon(8, half_turn(90)).shown[[0, 45, 89]].tolist()
    assert list(replay(recorded, Radon(8, half_turn(180))).order) == [0, 90, 178]
    assert list(replay([180.0, 271.0], Radon(8, half_turn(180))).order) == [0, 91]
    assert list(replay([3.0, 0.0], Fourier((8, 8))).order) == [3, 0]


@pytest.mark.parametrize("operator", [Radon(8, half_turn(90)), Fourier((4, 4))], ids=repr)
def test_a_setting_that_is_no_candidate_is_rejected(operator):
    with pytest.raises(ValueError, match=r"recorded (angle|row) 5 .* is none of the \d+ candidates"):
        replay([0.0, 5.0], operator)


def test_an_order_that_ends_early_ends_the_scan_with_a_report(tmp_path):
    from typer.testing import CliRunner

    from tomopilot.cli import app

    scan = {"image": "phantom:chip@16::0", "posterior": "tv", "policy": "uniform", "settings": [0.0, 90.0]}
    (tmp_path / "summary.json").write_text(json.dumps({"images": [scan]}))
    words = ["simulate", "phantom:chip@16", "--posterior", "tv", "--policy", f"replay:{tmp_path}"]
    outcome = CliRunner().invoke(app, [*words, "--budget", "5", "--out", str(tmp_path / "run")])
    assert outcome.exit_code == 0, outcome.output
    (found,) = json.loads((tmp_path / "run" / "summary.json").read_text())["images"]
    assert found["settings"] == [0.0, 90.0] and (tmp_path / "run" / "report.html").is_file()
