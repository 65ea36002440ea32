"""Fan beam, wedges, lists of angles and the cost of motion, by the command line."""

import json
from itertools import pairwise

import h5py
import pytest

pytestmark = pytest.mark.usefixtures("few_steps")
SHORT = ("--count", 3, "--start", 1, "--at", 2, "--device", "cpu")


@pytest.fixture
def scan(call, tiny, pictures, tmp_path):
    """Scans of image 0 into a new folder; the summary."""

    def scan(*words, kind="simulate", out="run"):
        shared = ("--prior", tiny, "--out", tmp_path / out, *SHORT, "--json")
        outcome = call(kind, f"{pictures}::0", *shared, *words)
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)

    return scan


def test_a_fan_is_chosen_recorded_and_replayed(scan, tmp_path):
    operator = "fan(source=2.5, detector=4, curved=True, offset=0.5)"
    words = ("--operator", operator, "--angles", 24, "--budget", 4)
    first = scan(*words, "--posterior", "soft:tv", "--policy", "variance", "--finer", 2)
    assert first["operator"] == operator and first["kind"]["period"] == 360 and first["angles"] == 24
    (image,) = first["images"]
    assert len(set(image["designs"])) == 4
    assert image["settings"] == pytest.approx([15.0 * design for design in image["designs"]], abs=1e-3)
    with h5py.File(tmp_path / "run" / "scan.h5") as file:
        note = json.loads(file["entry/reconstruction/provenance/data"][()].tobytes())
        assert note["operator"] == operator
        assert file["entry/design/settings"][-1] == pytest.approx(345)
    replay = ("--policy", f"replay:{tmp_path / 'run'}", "--posterior", "fbp")
    again = scan(*words, *replay, out="again")["images"][0]
    assert again["designs"] == image["designs"]


def test_compare_knows_all_policies_of_a_fan(scan, pictures):
    policies = f'variance(move=0.1),uniform,random,golden,expert,population(slices="{pictures}::1-5")'
    words = ("--operator", "fan", "--angles", 12, "--budget", 2)
    found = scan(*words, "--posteriors", "soft:tv", "--policies", policies, kind="compare")
    assert {method["policy"] for method in found["methods"]} >= {"variance(move=0.1)", "golden"}
    chosen = {image["policy"]: image["designs"] for image in found["images"]}
    assert chosen["uniform"] == chosen["expert"] == [0, 3]  # not the opposite one


def test_a_stage_that_costs_much_stays_near(scan):
    words = ("--posterior", "soft", "--angles", 18, "--budget", 5, "--policy", "variance(move=1e6)")
    settings = scan(*words)["images"][0]["settings"]
    assert all(min(abs(a - b), 360 - abs(a - b)) < 10.1 for a, b in pairwise(settings))


def test_only_what_can_be_reached(scan, tmp_path):
    words = ("--posterior", "tv", "--policy", "uniform", "--budget", 13, "--angles", 18)
    found = scan(*words, "--wedge", "-60:60")
    assert found["wedge"] == [[-60, 60]]
    assert sorted(found["images"][0]["settings"]) == pytest.approx(range(-60, 61, 10), abs=1e-3)
    assert "Reachable (degrees)</dt><dd>-60 to 60" in (tmp_path / "run" / "report.html").read_text()


def test_angles_of_a_file(scan, tmp_path):
    (tmp_path / "angles.txt").write_text("0\n3\n50.5\n90\n120\n170\n")
    words = ("--posterior", "tv", "--policy", "golden", "--budget", 3, "--angles", tmp_path / "angles.txt")
    found = scan(*words, "--wedge", "100:60")
    assert found["angles"] == [0, 3, 50.5, 90, 120, 170]
    assert {round(angle, 4) for angle in found["images"][0]["settings"]} <= {0, 3, 50.5, 120, 170}
    assert "6 of a list" in (tmp_path / "run" / "report.html").read_text()


def test_a_study_of_a_fan(call, tiny, pictures, tmp_path):
    words = ("--operator", "fan(source=3)", "--prior", tiny, "--count", 3, "--at", 2, "--posteriors", "soft")
    outcome = call("bench", "calibration", f"{pictures}::0", *words, "--out", tmp_path / "run", "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["operator"] == "fan(source=3)"


BAD = [
    (("--operator", "fan(source=0.5)"), "source is 16 pixels from the rotation axis", "larger distance"),
    (("--operator", "fan(detector=3)"), "were they exchanged"),
    (("--operator", "fan(sauce=4)"), "sauce", "fan takes source, detector"),
    (("--operator", "fan(bins=4)"), "bins", "fan takes source, detector"),
    (("--operator", "radon(source=4)"), "source", "radon takes no options"),
    (("--operator", "fan("), "fan(", "name(option=value)"),
    (("--wedge", "60"), "'60'", "FROM:TO in degrees"),
    (("--wedge", "1:2", "--angles", 18), "none of the candidate angles is in the wedge 1:2"),
    (("--angles", "nowhere.txt"), "nowhere.txt", "does not exist"),
    (("--policy", "variance(move=-1.0)"), "move is -1.0", "above 0"),
    (("--operator", "mri", "--wedge", "0:60"), "leave --wedge out"),
    (("--operator", "mri", "--posterior", "swag", "--policy", "variance(move=0.1)"), "no stage turns"),
]


@pytest.mark.parametrize(("words", "said"), [(words, said) for words, *said in BAD], ids=str)
def test_what_cannot_be_meant(words, said, call, tiny, pictures, tmp_path):
    out = tmp_path / "run"
    prior = () if "mri" in words else ("--prior", tiny)
    outcome = call("simulate", f"{pictures}::0", *prior, "--out", out, "--budget", 3, *SHORT, *words)
    assert outcome.status == 2 and not (out / "run.db").exists()
    assert "Traceback" not in outcome.err and len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert all(word in outcome.err for word in said), outcome.err
