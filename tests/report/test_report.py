"""Reports stand alone, escape what they are given, and show the numbers of the summary."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from tomopilot.measure.kind import PROJECTION, ROW
from tomopilot.report import plots
from tomopilot.report.comparison_page import compare_report
from tomopilot.report.plots import Pictures
from tomopilot.report.scan_page import simulate_report
from tomopilot.report.side_by_side import Estimate, SideBySide
from tomopilot.scan.paired import findings

SETTINGS = {
    "version": "0.1.0",
    "command": "tomopilot simulate chip.npz::0 --budget 3",
    "seed": 0,
    "device": "cpu",
    "prior": "chip-128",
    "operator": "radon",
    "posterior": "soft",
    "policy": "variance",
    "noise": "relative:0.01",
    "count": 10,
    "range": [0.0, 1.0],
    "kind": PROJECTION.words,
}


class Page(HTMLParser):
    """The text of a page, its tags, and what its attributes load."""

    def __init__(self, text: str):
        super().__init__()
        self.raw, self.words, self.tags, self.loads = text, [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "srcset", "href", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def read(out) -> Page:
    return Page((out / "report.html").read_text(encoding="utf-8"))


def one_image(rng, name="chip::0", n=3, truth=True, unit="degrees") -> dict:
    image = {
        "image": name,
        "designs": [int(i) for i in rng.permutation(16)[:n]],
        "setting_unit": unit,
        "spread": [0.1234 / (i + 1) for i in range(n)],
        "seconds": [1.25 + i for i in range(n)],
        "network_evaluations": [3501 + i for i in range(n)],
        "split": {"network": 9.0, "rest": 0.75},
    }
    image["settings"] = [i * 11.25 if unit == "degrees" else i for i in image["designs"]]
    if truth:
        image |= {"psnr": [21.37 + i for i in range(n)], "ssim": [0.512 + i / 100 for i in range(n)]}
    return image


def one_picture(rng, truth=True, shape=(16, 16), samples=4) -> Pictures:
    draws = rng.random((samples, *shape))
    against = rng.normal(size=shape)
    shown = Pictures("chip", rng.random(shape) if truth else None, draws.mean(0), draws.std(0), draws)
    return replace(shown, disagreement=against)


def methods(
    pairs=(("soft", "variance"), ("hard", "variance"), ("soft", "uniform"), ("fbp", "uniform")),
) -> list[dict]:
    def point(n: int, i: int) -> dict:
        return {
            "psnr_mean": 20.11 + n + i,
            "psnr_two_se": 0.37,
            "ssim_mean": 0.5,
            "ssim_two_se": 0.01,
            "n": 2,
        }

    return [
        {
            "posterior": posterior,
            "policy": policy,
            "learned": posterior != "fbp",
            "adaptive": policy == "variance",
            "images": 2,
            "seconds_per_step": 1.5,
            "estimate_seconds": 0.25,
        }
        | {"curve": {str(n): point(n, i) for n in (2, 10)}, "measurements_to_30db": None if i else 10}
        for i, (posterior, policy) in enumerate(pairs)
    ]


def rows_of(methods: list[dict]) -> list[dict]:
    return [
        {"image": f"chip::{i}", "posterior": method["posterior"], "policy": method["policy"], "seed": 0}
        | {"count": n, "design": n, "setting": 18.0 * n, "psnr": None, "seconds": 1.5}
        for method in methods
        for i in range(2)
        for n in range(1, 11)
    ]


CASES = {
    "truth": {},
    "no truth": {"truth": False},
    "row": {"unit": "row"},
    "one measurement": {"n": 1},
    "many measurements": {"n": 16},
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def assert_stands_alone(page: Page) -> None:
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page.raw)
    assert not re.search(r"https?:|url\(|@import", without_pictures)
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in page.loads)
    assert not {"script", "link", "iframe"} & set(page.tags)


def assert_pictures(out, names: set[str]) -> None:
    assert {path.name for path in out.glob("*.png")} == names
    for path in out.glob("*.png"):
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.02


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_simulate(tmp_path, rng, case):
    image = one_image(rng, **case)
    kind = {"row": ROW}.get(case.get("unit"), PROJECTION).words
    summary = SETTINGS | {"images": [image], "kind": kind}
    simulate_report(tmp_path, summary, [one_picture(rng, case.get("truth", True))])
    page = read(tmp_path)
    assert_stands_alone(page)
    assert_pictures(tmp_path, {"reconstruction-0.png", "angles-0.png", "quality-0.png"})
    shown = [*(f"{x:.6g}" for x in image["settings"]), *(f"{x:.2f}" for x in image["seconds"])]
    shown += [f"{x:.2f}" for x in image.get("psnr", [])] + [f"{x:.3f}" for x in image.get("ssim", [])]
    shown += [str(x) for x in image["network_evaluations"]]
    assert set(shown) <= set(page.words)
    assert {SETTINGS[key] for key in ("version", "command", "noise", "prior")} <= set(page.words)
    assert ("dB" in page.text) == case.get("truth", True)


def test_headline(tmp_path, rng):
    simulate_report(tmp_path, SETTINGS | {"images": [one_image(rng)]}, [one_picture(rng)])
    assert "3 measurements, 23.4 dB, 6.8 s of choosing (9.8 s in all)" in read(tmp_path).words


def test_an_alarm_is_in_the_headline_and_explained(tmp_path, rng):
    alarm = {
        "policy": "variance",
        "alarm": 3,
        "alarm_by": "strangeness",
        "without_prior": 3,
        "stopped": "the budget of 3 was spent",
    }
    simulate_report(tmp_path, SETTINGS | {"images": [one_image(rng) | alarm]}, [one_picture(rng)])
    page = read(tmp_path)
    assert "3 measurements, 23.4 dB, 6.8 s of choosing (9.8 s in all), ALARM at measurement 3" in page.words
    assert "ended because the budget of 3 was spent" in page.text
    assert "so from measurement 3 on the estimate is without it." in page.text
    both = replace(one_picture(rng), by_prior=one_picture(rng).estimate, bare="total variation")
    simulate_report(tmp_path, SETTINGS | {"images": [one_image(rng, n=4) | alarm]}, [both])
    page = read(tmp_path)
    assert "from measurement 3 on angles were taken in uniform order and the estimate" in page.text
    assert "what the prior makes of the same data is shown beside it" in page.text


def test_what_was_not_judged_is_a_dash(tmp_path, rng):
    image = one_image(rng, n=4) | {"psnr": [None, 25.52, float("nan"), None]}
    simulate_report(tmp_path, SETTINGS | {"images": [image]}, [one_picture(rng)])
    page = read(tmp_path)
    assert "25.52" in page.words
    assert "nan" not in page.text and "None" not in page.text
    assert "25.5 dB after 2" in page.text


def compared(out, methods, rows, summary=SETTINGS, made=None) -> None:
    compare_report(out, summary | {"methods": methods, "findings": findings(methods, rows)}, rows, made)


def test_names_are_escaped(tmp_path, rng):
    name = "<script>alert('$x$')</script>&\""
    summary = SETTINGS | {
        "command": name,
        "policy": name,
        "images": [one_image(rng, name), one_image(rng, name)],
    }
    simulate_report(tmp_path, summary, [one_picture(rng), one_picture(rng)])
    named = methods([(name, name)])
    compared(tmp_path / "compare", named, rows_of(named), summary)
    for page in (read(tmp_path), read(tmp_path / "compare")):
        assert_stands_alone(page)
        assert name in page.text


@pytest.mark.slow
def test_many_images_are_all_in_the_table(tmp_path, rng):
    images = [one_image(rng, f"chip::{i}", n=1 + i) for i in range(12)]
    simulate_report(tmp_path, SETTINGS | {"images": images}, [one_picture(rng) for _ in images])
    page = read(tmp_path)
    assert_stands_alone(page)
    names = ("reconstruction", "angles", "quality")
    assert_pictures(tmp_path, {f"{name}-{i}.png" for name in names for i in range(8)})
    assert {image["image"] for image in images} <= set(page.words)
    assert page.text.count("Every measurement") == 8


def test_compare(tmp_path):
    compared(tmp_path, methods(), rows_of(methods()))
    page = read(tmp_path)
    assert_stands_alone(page)
    assert_pictures(tmp_path, {"psnr.png", "ssim.png", "angles.png"})
    assert (
        "soft + variance needs 9.89 measurements to 30 dB, soft + uniform 7.89: 25 % of the dose lost"
        in page.text
    )
    assert "4 methods, 2 images, 1 seed, up to 10 measurements" in page.text
    expected = {f"{20.11 + n + i:.2f} ± 0.37" for n in (2, 10) for i in range(4)}
    assert expected <= set(page.words)
    assert {"soft + variance", "fbp + uniform", "not reached"} <= set(page.words)
    assert "mean over 2 images and 1 seed; 2 scans per point" in page.text


def test_estimates_side_by_side(tmp_path, rng):
    truth = rng.random((16, 16))
    early, late = ([Estimate(name, n, 20.0 + n, truth) for name in ("a", "$b$")] for n in (5, 10))
    made = SideBySide("chip::0", truth, [early, late])
    compared(tmp_path, methods(), rows_of(methods()), made=made)
    page = read(tmp_path)
    assert_stands_alone(page)
    assert_pictures(tmp_path, {"psnr.png", "ssim.png", "angles.png", "estimates-5.png", "estimates-10.png"})
    assert page.text.index("chip::0 after 10 measurements") < page.text.index("after 5 measurements")


def test_compare_of_single_scans_in_rows(tmp_path):
    single = [method | {"images": 1} for method in methods()]
    for method in single:
        method["curve"] = {"5": {"psnr_mean": 27.77, "psnr_two_se": None, "ssim_mean": None, "n": 1}}
    rows = [row for row in rows_of(single) if row["image"] == "chip::0"]
    compared(tmp_path, single, rows, SETTINGS | {"kind": ROW.words})
    page = read(tmp_path)
    assert "27.77" in page.words and "No bands" in page.text
    assert_pictures(tmp_path, {"psnr.png", "angles.png"})


def test_priors_become_part_of_the_name(tmp_path):
    both = [method | {"prior": prior} for prior in ("chip-128", "lung-128") for method in methods()]
    rows = [row | {"prior": prior} for prior in ("chip-128", "lung-128") for row in rows_of(methods())]
    compared(tmp_path, both, rows)
    assert {"soft + variance (chip-128)", "soft + variance (lung-128)"} <= set(read(tmp_path).words)


def test_looks_tell_methods_apart():
    named = {plots.method_label(method): method for method in methods([("soft", str(i)) for i in range(40)])}
    assert len(set(plots.looks(named).values())) == 40
    prior_free = plots.looks({"tv": {"learned": False}, "soft": {"learned": True}})
    assert [look.dash for look in prior_free.values()] == ["--", "-"]


@pytest.mark.parametrize("shape", [(16, 16), (12, 20)])
@pytest.mark.parametrize("samples", [1, 3])
def test_pictures_of_any_shape(rng, shape, samples):
    png = plots.reconstruction(one_picture(rng, shape=shape, samples=samples))
    assert matplotlib.image.imread(io.BytesIO(png)).std() > 0.02


@pytest.mark.parametrize("settings", [[0, 180], [-30.0, 200], [10.0] * 40], ids=str)
def test_any_angles(settings):
    assert plots.order(settings, PROJECTION.words, 180).startswith(b"\x89PNG")
