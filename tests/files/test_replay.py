"""An earlier run's settings in their order: read back exactly, rejected where it is not one order."""

import json
import os

import pytest

from tomopilot.files.replay import recorded_settings


@pytest.fixture
def summary(tmp_path):
    scans = [
        {"image": image, "posterior": posterior, "policy": "variance", "settings": settings}
        for image, posterior, settings in [
            ("a::0", "soft", [0, 9, 4]),
            ("a::0", "auto", [0, 3]),
            ("b", "auto", [7]),
        ]
    ]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"images": scans}))
    return path


def test_settings_are_read_back(summary):
    assert recorded_settings(f"{summary}::soft+variance", "a::0") == [0, 9, 4]
    assert recorded_settings(f"{summary.parent}::auto+variance", "a::0") == [0, 3]
    assert recorded_settings(str(summary), "b") == [7]


@pytest.mark.parametrize(
    ("method", "image", "said"),
    [("", "a::0", "2 scans"), ("", "c", "0 scans"), ("::tv+uniform", "b", "tv\\+uniform")],
)
def test_other_than_one_scan_is_refused(summary, method, image, said):
    with pytest.raises(ValueError, match=said):
        recorded_settings(f"{summary}{method}", image)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [1]}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_settings(str(path), "a")
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_settings(str(tmp_path / "missing"), "a")


@pytest.mark.parametrize("settings", [[True], [None], ["1"], [[1]], 3, [float("nan")]], ids=str)
def test_settings_that_are_no_numbers_are_rejected(tmp_path, settings):
    scan = {"image": "a", "posterior": "soft", "policy": "variance", "settings": settings}
    (tmp_path / "summary.json").write_text(json.dumps({"images": [scan]}))
    with pytest.raises(ValueError, match=r"no summary of a run to replay .*settings"):
        recorded_settings(str(tmp_path), "a")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "summary.json")
    with pytest.raises(ValueError, match="expected a regular file"):
        recorded_settings(str(tmp_path / "summary.json"), "a")
