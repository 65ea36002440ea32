"""Whether a scan may stop by itself: the error predicted by its samples against the real error."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from statistics import mean, quantiles
from typing import Any, ClassVar

from tomopilot.experiment import run
from tomopilot.metrics import rmse_at
from tomopilot.report.charts import expected_and_real
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import virtual

SURE = 0.9  # share of judged estimates that a fitted margin covers
TARGETS = (24.0, 26.0, 28.0, 30.0, 32.0, 34.0, 36.0)  # dB


def fit(ratios: list[float]) -> float:
    """The margin that covers a share `SURE` of real over expected errors."""
    if len(ratios) < 2:
        raise ValueError(
            f"{len(ratios)} judged estimates are too few to fit a margin; judge at more counts with --at"
        )
    return quantiles(ratios, n=round(1 / (1 - SURE)), method="inclusive")[-1]


@dataclass(frozen=True)
class Certainty:
    """Adaptive scans, judged where the samples of a choice expect an error too."""

    plan: Plan
    columns: ClassVar[tuple[str, ...]] = (
        "image", "prior", "posterior", "policy", "seed", "count", "expected_rmse", "rmse", "psnr", "margin"
    )  # fmt: skip

    def __post_init__(self) -> None:
        if len(self.plan.methods) > 1 or not all(m.samples for m in self.plan.methods):
            raise ValueError("`--certain` needs exactly one prior and one posterior that gives samples")

    def __len__(self) -> int:
        return len(self.plan.images) * sum(map(self.plan.judges, range(1, self.plan.budget)))

    def parts(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {scan.key: partial(self._judged, scan) for scan in self.plan.scans}

    def _judged(self, scan: Scan) -> Iterator[Row]:
        cell = virtual(self.plan, scan)
        experiment, until = cell.parts.experiment, cell.parts.until
        experiment.guard = None  # samples are judged beyond an alarm, too
        margin = cell.parts.trust.margins.get(scan.method.pair)
        steps = run(experiment, cell.instrument, until=until)
        while not until(experiment):
            row = cell.judge.row(steps.__next__)
            if row["psnr"] is not None and row["expected_rmse"]:  # after the last one, nothing is chosen
                yield {**row, "margin": margin, "peak": cell.parts.peak}

    def line(self, row: Row) -> str:
        errors = f"error {row['rmse']:.4f}, expected {row['expected_rmse']:.4f}"
        return f"{row['image']} {row['count']} measurements: {errors}"

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        ratios = [row["rmse"] / row["expected_rmse"] for row in rows]
        applied = rows[0]["margin"]
        (method,) = self.plan.methods
        return {
            **asdict(method),
            "scans": len({row["image"] for row in rows}),
            "margin": applied,
            "covered": mean(ratio <= applied for ratio in ratios) if applied else None,
            "targets": [stops(rows, target, applied) for target in TARGETS] if applied else [],
            "fitted": {"margin": {method.pair: fit(ratios)}},
            "errors": [[row["expected_rmse"], row["rmse"]] for row in rows],
        }

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed: one line per target where the card holds a margin, else what was fitted."""
        return findings["targets"] or [{"scans": findings["scans"], **findings["fitted"]["margin"]}]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        return {"certainty.png": expected_and_real(findings["errors"], findings["margin"])}


def stops(rows: list[Row], target: float, margin: float) -> dict[str, Any]:
    """What the rule would have done at the judged counts, had it been asked for `target` dB."""
    scanned: dict[str, list[Row]] = {}
    for row in rows:
        scanned.setdefault(row["image"], []).append(row)
    wanted = rmse_at(target, rows[0]["peak"])
    stopped = [_first(own, lambda row: margin * row["expected_rmse"] <= wanted) for own in scanned.values()]
    reached = [_first(own, lambda row: row["rmse"] <= wanted) for own in scanned.values()]
    ended = [row for row in stopped if row]
    return {
        "target dB": target,
        "scans": len(scanned),
        "stopped": len(ended),
        "missed": sum(row["rmse"] > wanted for row in ended),
        "mean count at stop": mean(row["count"] for row in ended) if ended else None,
        "reached": sum(map(bool, reached)),
        "mean count when reached": mean(row["count"] for row in reached if row) if any(reached) else None,
    }


def _first(rows: list[Row], holds: Any) -> Mapping[str, Any] | None:
    return next((row for row in rows if holds(row)), None)
