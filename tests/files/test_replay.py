"""An earlier run's order of settings: read back exactly, refused where it is not one order."""

import json

import pytest

from tomopilot.files.replay import recorded_settings
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.scan.assemble import replayed


@pytest.fixture
def summary(tmp_path):
    scans = [
        {"image": image, "posterior": posterior, "policy": "variance", "designs": designs}
        | {"settings": [2.0 * design for design in designs], "setting_unit": "degrees"}
        for image, posterior, designs in [
            ("a::0", "soft", [0, 9, 4]),
            ("a::0", "auto", [0, 3]),
            ("b", "auto", [7]),
        ]
    ]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"images": scans}))
    return path


def test_settings_are_read_back(summary):
    assert recorded_settings(f"{summary}::soft+variance", "a::0") == ([0.0, 18.0, 8.0], "degrees")
    assert recorded_settings(f"{summary.parent}::auto+variance", "a::0") == ([0.0, 6.0], "degrees")
    assert recorded_settings(str(summary), "b") == ([14.0], "degrees")


@pytest.mark.parametrize(
    ("method", "image", "said"),
    [("", "a::0", "2 scans"), ("", "c", "0 scans"), ("::tv+uniform", "b", "tv\\+uniform")],
)
def test_other_than_one_scan_is_refused(summary, method, image, said):
    with pytest.raises(ValueError, match=said):
        recorded_settings(f"{summary}{method}", image)


BAD = [[0.5], [True], [None], [[1, 2]], ["1"], [float("nan")], [10**400], [], None, 3, {"a": 1}]


@pytest.mark.parametrize("values", BAD, ids=str)
@pytest.mark.parametrize("key", ["designs", "settings"])
def test_what_is_no_list_of_numbers_is_rejected(summary, key, values):
    if key == "settings" and values == [0.5]:
        return
    content = json.loads(summary.read_text())
    content["images"][2][key] = values
    summary.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"summary.json is no summary of a run .*images.2.{key}"):
        recorded_settings(str(summary), "b")


def test_as_many_settings_as_designs(summary):
    content = json.loads(summary.read_text())
    content["images"][2]["settings"] = [1.0, 2.0]
    summary.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1 designs, but 2 settings"):
        recorded_settings(str(summary), "b")


def replay(summary, angles: int) -> list[int]:
    return replayed(f"{summary}::soft+variance", "a::0", Radon(8, half_turn(angles)))


def test_angles_are_replayed_not_their_numbers(summary):
    """Recorded with 90 angles; the same angles have other numbers among 180."""
    assert replay(summary, 90) == [0, 9, 4]
    assert replay(summary, 180) == [0, 18, 8]
    with pytest.raises(ValueError, match="measured at 8 degrees, none of the 10 candidates"):
        replay(summary, 10)


def test_half_a_turn_on_is_the_same_projection(summary):
    content = json.loads(summary.read_text())
    content["images"][0]["settings"] = [0.0, 180.0, 359.0001]
    summary.write_text(json.dumps(content))
    assert replay(summary, 180) == [0, 179]


def test_other_measurements_are_not_replayed(summary):
    with pytest.raises(ValueError, match="recorded in degrees, but k-space"):
        replayed(f"{summary}::soft+variance", "a::0", Fourier((16, 16)))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [1]}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_settings(str(path), "a")
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_settings(str(tmp_path / "missing"), "a")
