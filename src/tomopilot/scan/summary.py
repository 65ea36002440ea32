"""From the rows of a study to one summary per method."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any

from tomopilot.scan.judge import Row
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan

TARGET = 30.0  # dB


def method_of(row: Row) -> Method:
    """The method that made a row."""
    return Method(row["posterior"], row["policy"], row["prior"])


def in_order(plan: Plan, rows: list[Row]) -> list[Row]:
    """The rows of all scans, image by image and method by method as planned, however they finished."""
    images = [plan.label(image) for image in plan.images]
    key = lambda row: (images.index(row["image"]), plan.methods.index(method_of(row)))  # noqa: E731
    return sorted(rows, key=key)


def mean_and_two_se(values: list[float]) -> tuple[float, float | None]:
    """Mean and two standard errors; one value has no error."""
    return mean(values), 2 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def curve(rows: list[Row]) -> dict[str, dict[str, float | None]]:
    """Quality by number of measurements, over images."""
    points = {}
    for count in sorted({row["count"] for row in rows if row["psnr"] is not None}):
        judged = [row for row in rows if row["count"] == count and row["psnr"] is not None]
        point: dict[str, float | None] = {"n": len(judged)}
        for metric in ("psnr", "ssim", "rmse", "estimate_seconds"):
            values = [row[metric] for row in judged if row[metric] is not None]
            point[f"{metric}_mean"], point[f"{metric}_two_se"] = mean_and_two_se(values)
        points[str(count)] = point
    return points


def reaches(points: Mapping[str, Mapping[str, float | None]], target: float = TARGET) -> float | None:
    """Measurements at which the mean PSNR first reaches the target; linear in between, None if never."""
    before: tuple[int, float] | None = None
    for count, point in points.items():
        value = point["psnr_mean"]
        assert value is not None
        if value >= target:
            if before is None:
                return float(count)
            share = (target - before[1]) / (value - before[1])
            return before[0] + share * (int(count) - before[0])
        before = int(count), value
    return None


def summarise(plan: Plan, rows: list[Row]) -> list[dict[str, Any]]:
    """One entry per method: its curve, its measurements to the target, its times."""
    entries = []
    for method in plan.methods:
        own = [row for row in rows if method_of(row) == method]
        points = curve(own)
        estimates = [row["estimate_seconds"] for row in own if row["estimate_seconds"]]
        deciding = [row for row in own if row["count"] < plan.budget]
        choosing = [row for row in deciding if row["choose_evaluations"]] or deciding  # not the opening
        looks = [row["estimate_evaluations"] for row in own if row["estimate_evaluations"] is not None]
        entries.append(
            {
                **asdict(method),
                "learned": method.learned,
                "adaptive": method.adaptive,
                "images": len({row["image"] for row in own}),
                "curve": points,
                "measurements_to_30db": reaches(points),
                "seconds_per_step": mean(row["seconds"] for row in choosing) if choosing else None,
                "choose_evaluations": mean(row["choose_evaluations"] for row in choosing)
                if choosing
                else None,
                "estimate_evaluations": mean(looks) if looks else None,
                "estimate_seconds": mean(estimates) if estimates else None,
                "split_seconds": {part: mean(row["split"][part] for row in own) for part in own[0]["split"]},
            }
        )
    return entries
