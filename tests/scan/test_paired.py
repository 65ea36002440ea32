"""Differences on the same images, against numbers worked out by hand."""

import math

import pytest

from tomopilot.scan.paired import contrasts, differences, findings, saving


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


def curve(of, points):
    return {**of, "curve": {str(count): {"psnr_mean": value} for count, value in points.items()}}


SAVINGS = {
    "30 dB where both pass it": ({5: 20, 10: 40}, {5: 20, 15: 40}, (30, 7.5, 10)),
    "what the second has in the end": ({5: 20, 10: 28}, {5: 20, 10: 24}, (24, 7.5, 10)),
    "where it had that already": ({5: 20, 10: 24}, {5: 22, 10: 23, 20: 22}, (22, 7.5, 5)),
    "30 dB at the first look": ({5: 31, 10: 35}, {5: 20, 10: 32}, (32, 6.25, 10)),
    "the first is never as good": ({5: 20, 10: 21}, {5: 20, 10: 24}, (24, None, 10)),
}


@pytest.mark.parametrize("case", SAVINGS)
def test_saving(case):
    first, second, expected = SAVINGS[case]
    found = saving(curve(ADAPTIVE, first), curve(FIXED, second))
    assert found == expected
    assert found.saved == (None if found.first is None else 1 - found.first / found.second)


def test_nothing_is_saved_where_nothing_was_judged():
    assert saving(curve(ADAPTIVE, {}), curve(FIXED, {5: 20})) is None


def test_findings():
    methods = [curve(ADAPTIVE, {5: 20, 10: 40}), curve(FIXED, {5: 20, 15: 40})]
    rows = [row(ADAPTIVE, "a", 5, 21.0), row(FIXED, "a", 5, 20.0)]
    (found,) = findings(methods, rows)
    assert found["first"] == {"posterior": "auto", "policy": "variance", "prior": "chip-128"}
    assert (found["target_db"], found["measurements"], found["saved"]) == (30, [7.5, 10], 0.25)
    assert found["difference_db"] == {"5": [1.0, None, 1]}
