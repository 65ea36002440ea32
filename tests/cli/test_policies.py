"""Policies with options, by the command line: kept in the record, refused before a scan starts, resumed."""

import json

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("few_steps")
SHORT = ("--angles", 20, "--count", 3, "--start", 1, "--at", 2, "--device", "cpu")


@pytest.fixture
def scan(call, tiny, pictures, tmp_path):
    """Image 0 by one policy; the scan's entry of the summary."""

    def scan(policy, *words, posterior="soft", budget=3, out="run"):
        shared = ("--prior", tiny, "--out", tmp_path / out, "--budget", budget, *SHORT, "--json")
        words = ("--policy", policy, "--posterior", posterior, *words)
        outcome = call("simulate", f"{pictures}::0", *shared, *words)
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)["images"][0]

    return scan


@pytest.fixture
def refused(call, tiny, pictures, tmp_path):
    """What is said of a policy, in one line, before the folder holds a run."""

    def refused(policy, *words):
        out = tmp_path / "run"
        shared = ("--prior", tiny, "--out", out, "--budget", 4, *SHORT)
        outcome = call("simulate", f"{pictures}::0", *shared, "--policy", policy, *words)
        assert outcome.status == 2 and outcome.out == "" and not (out / "run.db").exists()
        assert "Traceback" not in outcome.err and len(outcome.err.strip().splitlines()) == 1, outcome.err
        return outcome.err

    return refused


def test_compare_keeps_the_options(call, tiny, pictures, tmp_path):
    policies = "variance,logdet(noise=0.05),committee,carried,aoptimal(left_out=0.2, noise=0.1),oracle,golden"
    words = ("--posteriors", "soft", "--policies", policies, "--budget", 2, "--prior", tiny)
    outcome = call("compare", f"{pictures}::0", *words, "--out", tmp_path / "run", *SHORT, "--json")
    assert outcome.status == 0, outcome.err
    methods = json.loads((tmp_path / "run" / "summary.json").read_text())["methods"]
    named = ["variance", "logdet(noise=0.05)", "committee", "carried", "aoptimal(left_out=0.2, noise=0.1)"]
    assert [method["policy"] for method in methods] == [*named, "oracle", "golden"]
    assert [method["adaptive"] for method in methods] == [True] * 6 + [False]
    scans = json.loads(outcome.out)["images"]
    assert scans[-1]["designs"] == [0, 12]
    assert all(len(set(one["designs"])) == 2 for one in scans)


def test_a_batch_draws_once(scan):
    found = scan("variance(batch=3)", posterior="scout:tv", budget=7)
    assert [bool(count) for count in found["choose_evaluations"]] == [True, False, False] * 2 + [False]
    assert len(set(found["designs"])) == 7


def test_a_region_of_interest_is_an_image(scan, tmp_path):
    near = np.zeros((32, 32), np.float32)
    near[12:20, 12:20] = 1
    np.save(tmp_path / "near.npy", near)
    np.save(tmp_path / "all.npy", np.ones((32, 32), np.float32))
    seen = {}
    for out, policy in (("plain", "aoptimal"), ("all", "all.npy"), ("near", "near.npy")):
        scan(policy if out == "plain" else f'aoptimal(roi="{tmp_path}/{policy}")', out=out, budget=2)
        seen[out] = scores_of(tmp_path / out / "scan.h5")
    np.testing.assert_allclose(seen["all"], seen["plain"], rtol=1e-6)
    shares = seen["near"] / seen["plain"]
    low, high = np.nanmin(shares), np.nanmax(shares)
    assert 0.05 < low < high / 1.001 < 0.08  # of 64 in 1024 pixels, by samples of a prior that knows nothing


def scores_of(path):
    """The only data set of that name, wherever it is."""
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.append(node[()]) if name.endswith("/scores") else None)
    (scores,) = found
    return scores


def test_an_order_learned_on_slices(scan, pictures):
    """Bars along rows and columns: their fixed order begins with one of the two."""
    policy = f'population(slices="{pictures}::1-5")'
    found = scan(policy, budget=2)
    assert found["policy"] == policy and found["designs"][0] in (0, 10)


def test_rows_of_kspace(call, pictures, tmp_path):
    words = ("--operator", "mri", "--posterior", "zero-filled", "--budget", 3, "--count", 2)
    policy = f'population(slices="{pictures}::1-5")'
    outcome = call(
        "simulate", f"{pictures}::0", *words, "--policy", policy, "--out", tmp_path / "run", "--json"
    )
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["images"][0]["designs"][0] == 16


BAD = [
    ("variance(noise=0.1)", "noise", "variance takes no options"),
    ("logdet(nois=0.1)", "nois", "logdet takes noise"),
    ("logdet(noise=-0.5)", "noise is -0.5", "above 0", "0.01"),
    ("logdet(0.1)", "logdet(0.1)", "name(option=value)"),
    ("nonsense(noise=1)", "nonsense", "variance"),
    ("variance(batch=0)", "batch is 0", "1 to 32"),
    ("oracle(truth=1)", "oracle", "no options"),
    ("oracle(batch=2)", "batch", "oracle takes no options"),
    ("uniform(step=2)", "step"),
    ("expert(step=-1.0)", "step is -1.0", "above 0"),
    ("population", "slices"),
    ("population(slices=3)", "slices is 3", "FILE"),
    ('population(slices="nowhere.npy")', "nowhere.npy"),
    ('aoptimal(roi="nowhere.npy")', "nowhere.npy"),
    ('aoptimal(roi="phantom:chip@16")', "16 x 16", "32 x 32"),
    ('aoptimal(roi="phantom:chip@32::0-1")', "names 2 images", "at most 1"),
]


@pytest.mark.parametrize(("policy", "names"), [(policy, names) for policy, *names in BAD], ids=str)
def test_options_that_cannot_be_used(policy, names, refused):
    said = refused(policy)
    assert all(name in said for name in names), said
