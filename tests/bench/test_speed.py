"""The projectors that are timed do the same, and a case is called as often as is said."""

import time

import pytest
import torch

from tomopilot.bench.projectors import PROJECTORS, disc, obstacle
from tomopilot.bench.speed import Case, timed
from tomopilot.measure.radon import half_turn
from tomopilot.prior.denoiser import Metered


@pytest.mark.parametrize("name", PROJECTORS)
def test_projectors_agree(name):
    """Within the inscribed circle; scikit-image turns about another point, half a pixel away."""
    if reason := obstacle(name):
        pytest.skip(reason)
    x, angles = disc(64), half_turn(20)
    (y, back), (their_y, their_back) = (PROJECTORS[key][1](x, angles)() for key in ("tomopilot", name))
    row, column = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
    inside = row.square() + column.square() < 0.95
    for a, b in ((y, their_y), (inside * back, inside * their_back)):
        assert a.shape == b.shape and (a - b).norm() < 0.08 * a.norm()


def test_a_projector_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(PROJECTORS, "nobody", ("nobody_s_module", None))
    assert "nobody_s_module" in (obstacle("nobody") or "")


def test_disc_leaves_the_corners_empty():
    row, column = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    assert disc(32)[row.square() + column.square() > 0.95].max() == 0 < disc(32).max()


@pytest.mark.parametrize(("patience", "calls"), [(60.0, 1 + 5), (1e-6, 1 + 1)])
def test_repeats_until_patience_ends(patience, calls):
    meter, done = Metered(lambda x, sigma: x), []

    def work():
        done.append(meter(torch.zeros(3, 400, 400), torch.ones(3)) + 1)
        torch.linalg.svdvals(torch.eye(150))

    case = Case("nothing", 400, 3, 7, lambda: (work, meter))
    row = timed(case, 5, patience, "cpu")
    assert len(done) == calls and row["network_evaluations"] == 3
    assert row["seconds"] > 0 and [row[key] for key in case._fields[:4]] == ["nothing", 400, 3, 7]


def test_a_long_case_is_called_once():
    meter = Metered(lambda x, sigma: x)
    case = Case(
        "long", 8, 3, 7, lambda: (lambda: meter(torch.zeros(3, 8, 8), torch.ones(3)), meter), once=True
    )
    row = timed(case, 5, 60.0, "cpu")
    assert meter.evaluations == row["network_evaluations"] == 3 and row["seconds"] > 0


def test_waiting_costs_no_processor():
    row = timed(Case("asleep", 1, 1, 1, lambda: (lambda: time.sleep(0.2), None)), 1, 1.0, "cpu")
    assert row["seconds"] >= 0.2 and row["cpu_seconds"] < 0.1
    row = timed(Case("awake", 1, 1, 1, lambda: (lambda: sum(range(10**6)), None)), 1, 1.0, "cpu")
    assert 0 < row["cpu_seconds"] < row["seconds"] + 0.1


def test_peak_memory_is_that_of_the_case():
    """A large case before a small one does not hide it, nor count for it."""
    cases = [Case("", 1, 1, 1, lambda n=n: (lambda: torch.ones(n * 2**18), None)) for n in (200, 50)]
    large, small = (timed(case, 1, 1.0, "cpu")["peak_mib"] for case in cases)
    assert large == pytest.approx(200, abs=30)
    assert small == pytest.approx(50, abs=30) or small == 0  # where the system cannot forget a peak
