"""Differences on the same images, against numbers worked out by hand."""

import math

import pytest

from tomopilot.scan.paired import contrasts, differences


def method(posterior, policy, prior="chip-128"):
    return {"posterior": posterior, "policy": policy, "prior": prior, "adaptive": policy == "variance"}


def row(of, image, count, psnr, seed=0):
    return {**of, "image": image, "seed": seed, "count": count, "psnr": psnr}


ADAPTIVE, FIXED, BARE = method("auto", "variance"), method("auto", "uniform"), method("tv", "uniform", None)


def test_only_what_both_judged_is_subtracted():
    rows = [
        row(ADAPTIVE, "a", 5, 22.0), row(FIXED, "a", 5, 20.0),
        row(ADAPTIVE, "b", 5, 31.0), row(FIXED, "b", 5, 27.0),
        row(ADAPTIVE, "c", 5, 50.0), row(FIXED, "c", 5, None),
        row(ADAPTIVE, "a", 10, 30.0), row(FIXED, "a", 10, 31.0),
        row(FIXED, "b", 10, 31.0), row(FIXED, "a", 10, 0.0, seed=1),
    ]  # fmt: skip
    found = differences(rows, ADAPTIVE, FIXED)
    assert found.keys() == {5, 10}
    assert found[5] == pytest.approx((3.0, 2 * math.sqrt(2) / math.sqrt(2), 2))  # differences 2 and 4
    assert found[10] == (-1.0, None, 1)
    assert differences(rows, ADAPTIVE, BARE) == {}


def test_rows_of_a_file_are_text():
    rows = [row(BARE, "a", "5", "20.5") | {"prior": ""}, row(FIXED, "a", "5", "21"), row(FIXED, "b", "5", "")]
    assert differences(rows, FIXED, BARE) == {5: (0.5, None, 1)}


def test_contrasts():
    assert [*contrasts([ADAPTIVE, FIXED, BARE])] == [(ADAPTIVE, FIXED), (FIXED, BARE)]
    other = method("auto", "uniform", "lung-128")
    assert [*contrasts([ADAPTIVE, FIXED, other])] == [(ADAPTIVE, FIXED), (FIXED, other)]
    assert not [*contrasts([BARE])]
