"""How far samples can be trusted: their spread against their error, and the rank of the truth among them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from statistics import geometric_mean, mean
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.stopping import budget
from tomopilot.design.trust import expected_rmse, surprise
from tomopilot.experiment import run
from tomopilot.posterior.inflated import Inflated
from tomopilot.posterior.posterior import Posterior
from tomopilot.report.charts import coverages, rank_histograms
from tomopilot.report.plots import curves, number
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.summary import mean_and_two_se, method_of
from tomopilot.scan.virtual import Virtual, virtual

LEVELS = {"coverage_50": 0.5, "coverage_80": 0.8, "coverage_90": 0.9}
UNSEEN = 12  # unmeasured angles whose projections are predicted
METRICS = ("spread_over_error", *LEVELS, "crps", "z", "psnr")


def rank_histogram(samples: Float[Tensor, "k *image"], truth: Float[Tensor, "*image"]) -> Float[Tensor, " r"]:
    """Share of pixels with 0, 1 ... k samples below the truth; a tie counts for all ranks it allows.

    Flat where truth and samples are exchangeable; high at both ends where the samples spread too little.

    >>> rank_histogram(torch.tensor([[1.0], [2.0], [2.0]]), torch.tensor([2.0]))
    tensor([0.0000, 0.3333, 0.3333, 0.3333])
    """
    lowest, highest = (samples < truth).sum(0), (samples <= truth).sum(0)
    ranks = torch.arange(len(samples) + 1, device=truth.device).reshape(-1, *[1] * truth.ndim)
    possible = (lowest <= ranks) & (ranks <= highest)
    return (possible / (highest - lowest + 1)).flatten(1).mean(1)


def coverage(ranks: Float[Tensor, " r"], level: float) -> float:
    """Share of pixels whose truth lies in the central interval of probability `level` of k samples.

    The truth's rank r among k samples puts its probability between r / (k + 1) and (r + 1) / (k + 1). A rank
    counts by the share of this cell that lies in [(1 - level) / 2, (1 + level) / 2]: order statistics,
    interpolated linearly in probability. For exact samples the mean is `level` for every k and distribution.

    >>> round(coverage(torch.full((5,), 0.2), 0.9), 6)
    0.9
    """
    edges = torch.linspace(0, 1, len(ranks) + 1, dtype=torch.float64)
    inside = edges.clamp((1 - level) / 2, (1 + level) / 2).diff() * len(ranks)
    return (inside * ranks.double().cpu()).sum().item()


def coverage_floor(count: int, level: float) -> float:
    """The least that `coverage` can be: of samples that never enclose the truth. Above 0 for few samples."""
    return max(0.0, 1 - (count + 1) * (1 - level) / 2)


def fair_crps(samples: Float[Tensor, "k *image"], truth: Float[Tensor, "*image"]) -> float:
    """Mean over pixels of |x_i - truth| / k - |x_i - x_j| / (2 k (k - 1)), summed over samples i and j.

    The continuous ranked probability score without the bias of few samples (Ferro 2014), in image units;
    least, in the mean, for exact samples.
    """
    k = len(samples)
    weights = 2.0 * torch.arange(1, k + 1, device=truth.device) - k - 1
    between = torch.tensordot(weights, samples.sort(0).values, 1) / (k * (k - 1))
    return ((samples - truth).abs().mean(0) - between).mean().item()


def spread_and_error(
    samples: Float[Tensor, "k *image"], truth: Float[Tensor, "*image"]
) -> tuple[float, float]:
    """Squared error of the mean of k samples: (k + 1) / k of their variance is expected, and what it is."""
    expected = expected_rmse(samples)
    return (expected or 0.0) ** 2, (samples.mean(0) - truth).square().mean().item()


def spread_over_error(pairs: list[tuple[float, float]]) -> float | None:
    """Root of all spread over all error, pooled; None where there is no error to speak of."""
    spread, error = (sum(parts) for parts in zip(*pairs, strict=True))
    return math.sqrt(spread / error) if error > 0 else None


def scores(samples: Float[Tensor, "k *image"], truth: Float[Tensor, "*image"]) -> Row:
    """All of the above for one image."""
    ranks, pair = rank_histogram(samples, truth), spread_and_error(samples, truth)
    covered = {name: coverage(ranks, level) for name, level in LEVELS.items()}
    own = {"spread_over_error": spread_over_error([pair]), **covered, "crps": fair_crps(samples, truth)}
    return {**own, "pair": pair, "ranks": ranks.tolist()}


@dataclass(frozen=True)
class Calibration:
    """coverage, CRPS and spread over error of posterior samples, against the number of measurements"""

    plan: Plan
    columns: ClassVar[tuple[str, ...]] = ("image", "prior", "posterior", "seed", "count", *METRICS)

    def __post_init__(self) -> None:
        for method in self.plan.methods:
            if not method.samples:
                raise ValueError(
                    f"{method.estimator} gives one image, calibration needs samples; name another posterior"
                )
        if self.plan.count < 2:
            raise ValueError(
                f"calibration needs samples to compare, not {self.plan.count}: use a --count of at least 2"
            )

    def __len__(self) -> int:
        return len(self.plan.scans) * (len(self.plan.at) if self.plan.at else self.plan.budget)

    def parts(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {scan.key: partial(self._judged, scan) for scan in self.plan.scans}

    def _judged(self, scan: Scan) -> Iterator[Row]:
        cell = virtual(self.plan, scan)
        judge, estimator = cell.judge, cell.parts.estimator.posterior
        cell.parts.experiment.guard = None  # samples are judged beyond an alarm, too
        named = {"image": self.plan.label(scan.image), **asdict(scan.method), "seed": self.plan.seed}
        for step in run(cell.parts.experiment, cell.instrument, until=budget(self.plan.budget)):
            if self.plan.judges(step.count):
                samples, z = step.draws.images, unseen(cell, step.draws.images)
                quality = judge.judged(step.draws)["psnr"]  # of the best estimate, not of the mean
                found = scores(samples, cell.simulated.image)
                applied = inflation(estimator, step.count)
                yield {
                    **named, "count": step.count, **found, "z": z, "psnr": quality, "inflation": applied
                }  # fmt: skip

    def line(self, row: Row) -> str:
        ratio, covered = row["spread_over_error"] or math.nan, row["coverage_80"]
        counted = f"{row['image']} {row['posterior']} {row['count']}"
        return f"{counted}: spread/error {ratio:.2f}, coverage at 80 % {covered:.2f}, {row['psnr']:.2f} dB"

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        floor = {name: coverage_floor(self.plan.count, level) for name, level in LEVELS.items()}
        methods, fitted = [], {}
        for method in self.plan.methods:
            own = [row for row in rows if method_of(row) == method]
            counts = sorted({row["count"] for row in own})
            judged = {str(count): [row for row in own if row["count"] == count] for count in counts}
            curve = {n: point(rows) for n, rows in judged.items()}
            methods.append({**asdict(method), "learned": method.learned, "curve": curve})
            fitted[method.estimator] = {n: fit(rows) for n, rows in judged.items()}
        return {
            "at": self.plan.at, "coverage_floor": floor, "methods": methods, "fitted": {"inflation": fitted}
        }  # fmt: skip

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed: one line per method and number of measurements."""
        return [
            {"prior": method["prior"], "posterior": method["posterior"], "count": count, "images": at["n"]}
            | {"spread/error": at["spread_over_error_mean"], "± two SE": at["spread_over_error_two_se"]}
            | {"pooled": at["spread_over_error_pooled"]}
            | {metric: at[f"{metric}_mean"] for metric in METRICS[1:]}
            for method in findings["methods"]
            for count, at in method["curve"].items()
        ]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        several = len({method["prior"] for method in findings["methods"]}) > 1
        methods = {
            method["posterior"] + (f" ({method['prior']})" if several else ""): method
            for method in findings["methods"]
        }
        levels = torch.linspace(0, 1, 101).tolist()
        covered = {
            name: {
                at: [coverage(torch.tensor(found["ranks"]), level) for level in levels]
                for at, found in method["curve"].items()
            }
            for name, method in methods.items()
        }
        floor = [coverage_floor(self.plan.count, level) for level in levels]
        return {
            "coverage.png": coverages(methods, levels, covered, floor),
            "spread_over_error.png": curves(methods, "spread_over_error", "spread / error", ideal=1.0),
            "ranks.png": rank_histograms(methods),
        }


def inflation(posterior: Posterior, count: int) -> float:
    """The factor that a posterior's samples are spread by after so many measurements."""
    return posterior.factor(count) if isinstance(posterior, Inflated) else 1.0


def fit(rows: list[Row]) -> float | None:
    """The factor with which spread and error would be the same in the (geometric) mean over images.

    Pooled over images, the few that are still unresolved would decide for all.
    """
    known = [row for row in rows if row["spread_over_error"]]
    return geometric_mean(row["inflation"] / row["spread_over_error"] for row in known) if known else None


def unseen(cell: Virtual, samples: Float[Tensor, "k *image"]) -> float | None:
    """Surprise of the noiseless values of some unmeasured designs; None where all are measured."""
    free = torch.tensor(cell.parts.experiment.free)
    if not len(free):
        return None
    some = free[torch.linspace(0, len(free) - 1, min(UNSEEN, len(free))).round().long()]
    with torch.no_grad():
        predicted, clean = cell.instrument.operator[some].forward(samples), cell.simulated.clean(some)
    return number(surprise(predicted, clean, torch.tensor(math.inf)))


def point(rows: list[Row]) -> dict[str, Any]:
    """One method after one number of measurements, over images."""
    pooled = spread_over_error([row["pair"] for row in rows])
    ranks = [mean(shares) for shares in zip(*(row["ranks"] for row in rows), strict=True)]
    found: dict[str, Any] = {"n": len(rows), "spread_over_error_pooled": pooled, "ranks": ranks}
    for metric in METRICS:
        values = [row[metric] for row in rows if row[metric] is not None]
        found[f"{metric}_mean"], found[f"{metric}_two_se"] = (
            mean_and_two_se(values) if values else (None, None)
        )
    return found
