"""A stranger's afternoon: an operator, an acquisition and a guidance of one's own, checked and used."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from typer.testing import CliRunner

from tomopilot.cli import app
from tomopilot.design.policy import uniform_order
from tomopilot.measure.kind import PROJECTION
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.operator import Operator
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.prior.schedule import logarithmic
from tomopilot.scan.parts import OPERATORS, POSTERIORS, SCORES, Entry, Family, steps
from tomopilot.testing import check_guidance, check_mean, check_operator, check_projector, twin


class Fan(Operator):
    """Rays from a point source, which turns at `source` pixels from the centre of a square image."""

    def __init__(self, size, angles, source):
        self.size, self.angles, self.source = size, angles, source

    @property
    def image_shape(self):
        return (self.size, self.size)

    @property
    def settings(self):
        return self.angles

    @property
    def kind(self):
        return replace(PROJECTION, period=360.0)

    @property
    def shown(self):
        return self.angles.rad2deg()

    def __getitem__(self, index):
        return Fan(self.size, self.angles[index.to(self.device)], self.source)

    def rays(self, angles):
        """Angle and distance of each ray's normal; bins are a pixel wide at the centre."""
        bins = torch.arange(self.size).to(angles) - (self.size - 1) / 2
        tilt = torch.atan(bins / self.source)
        return angles[:, None] - tilt, bins * tilt.cos()

    def forward(self, x):
        """Linear interpolation once per row or column, whichever a ray crosses more steeply."""
        angle, distance = (part[..., None, None] for part in self.rays(self.angles.to(x)))
        right = torch.arange(self.size).to(x) - (self.size - 1) / 2
        apart = right * angle.cos() - right[:, None] * angle.sin() - distance
        steep = torch.maximum(angle.cos().abs(), angle.sin().abs())
        return torch.einsum("bhw,nthw->bnt", x, (1 - apart.abs() / steep).clamp(min=0) / steep)


def information(forecast):
    """What a measurement would tell, log det(1 + W C) / 2."""
    spread = forecast.noise.precision(forecast.guess).sqrt() * (forecast.draws - forecast.draws.mean(0))
    root = spread.flatten(2).transpose(0, 1) / (len(spread) - 1) ** 0.5
    return torch.logdet(torch.eye(len(spread)).to(root) + root @ root.mT) / 2


@dataclass(frozen=True)
class Descend:
    """Gradient steps from the denoised image, as long as the noise level lets it be wrong."""

    steps: int = 10

    def __call__(self, denoise, data):
        def guided(x, sigma):
            clean = denoise(x, sigma)
            firmness = sigma.reshape(-1, *[1] * (x.ndim - 1)) ** -2
            moved = clean
            for _ in range(self.steps):
                pull = data.gradient(moved) + firmness * (moved - clean)
                moved = moved - pull / (data.lipschitz + firmness)
            return moved if len(data) else clean

        return guided


def full_turn(count):
    return torch.arange(count) * (2 * torch.pi / count)


def test_the_operator_keeps_the_laws(rng):
    fan = Fan(32, full_turn(10), source=60.0)
    check_operator(fan, rng=rng)
    check_projector(fan, fan.rays)


def test_the_guidance_keeps_the_laws(rng):
    known = twin(Fan(8, full_turn(5), source=20.0), Gaussian(0.1), rng=rng)
    check_guidance(Descend(), known)
    check_mean(DiffusionPosterior(known.prior, Descend(), logarithmic(2.5, 0.02, 50)), known)


def fan_of(image, angles, bins):
    return Fan(len(image.pixels), angles, source=40.0)


@pytest.fixture
def registered(monkeypatch):
    """One row of a table each."""
    family = Family(
        fan_of,
        PROJECTION.name,
        prior="chip-128",
        auto="descend",
        bare="tv",
        posteriors=("auto", "tv"),
        policies=("information", "uniform"),
        order="uniform",
        opening=uniform_order,
        orders={
            "uniform": lambda operator, *_: uniform_order(operator),
            "one by one": lambda operator, *_: list(range(len(operator))),
        },
        turn=360.0,
    )
    monkeypatch.setitem(OPERATORS, "my-fan", family)
    monkeypatch.setitem(SCORES, "information", lambda: information)
    levels = lambda scale: logarithmic(5 * scale, 0.1 * scale, 6)  # noqa: E731
    monkeypatch.setitem(POSTERIORS, "descend", Entry(steps(levels, Descend)))


WORDS = "simulate --at all phantom:chip@16 --operator my-fan --angles 12 --count 3 --start 2 --json"


def scan(out, *words):
    outcome = CliRunner().invoke(app, [*WORDS.split(), "--out", str(out), *words], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


def test_a_scan_of_ones_own(registered, tmp_path):
    words = ("--posterior", "descend(steps=5)", "--policy", "information", "--budget", "5")
    summary = scan(tmp_path / "run", *words)
    (image,) = summary["images"]
    assert summary["operator"] == "my-fan" and image["policy"] == "information"
    assert len(set(image["designs"])) == 5 and image["designs"][:2] == [0, 3]  # not the opposite one
    assert max(image["settings"]) > 180 and summary["kind"]["period"] == 360
    assert image["psnr"][-1] > image["psnr"][0]
    assert (tmp_path / "run" / "report.html").is_file()


def test_what_is_usual_for_it(registered, tmp_path):
    """Names left out, an order of its own, and a budget beyond its angles."""
    (image,) = scan(tmp_path / "run", "--policy", "one by one", "--budget", "2")["images"]
    assert image["designs"] == [0, 1]
    assert image["posterior"] == "descend" and image["prior"] == "chip-128"
    with pytest.raises(ValueError, match=r"13 measurements.*Fan.*1 to 12"):
        scan(tmp_path / "other", "--policy", "uniform", "--budget", "13")
