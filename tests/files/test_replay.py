"""An earlier run's order of designs: read back exactly, refused where it is not one order."""

import json

import pytest

from tomopilot.files.replay import recorded_designs


@pytest.fixture
def summary(tmp_path):
    scans = [
        {"image": image, "posterior": posterior, "policy": "variance", "designs": designs}
        for image, posterior, designs in [
            ("a::0", "soft", [0, 9, 4]),
            ("a::0", "auto", [0, 3]),
            ("b", "auto", [7]),
        ]
    ]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"images": scans}))
    return path


def test_designs_are_read_back(summary):
    assert recorded_designs(f"{summary}::soft+variance", "a::0") == [0, 9, 4]
    assert recorded_designs(f"{summary.parent}::auto+variance", "a::0") == [0, 3]
    assert recorded_designs(str(summary), "b") == [7]


@pytest.mark.parametrize(
    ("method", "image", "said"),
    [("", "a::0", "2 scans"), ("", "c", "0 scans"), ("::tv+uniform", "b", "tv\\+uniform")],
)
def test_other_than_one_scan_is_refused(summary, method, image, said):
    with pytest.raises(ValueError, match=said):
        recorded_designs(f"{summary}{method}", image)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [1]}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_designs(str(path), "a")
    with pytest.raises(ValueError, match="summary of a run"):
        recorded_designs(str(tmp_path / "missing"), "a")
