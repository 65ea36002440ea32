"""Calibration of samples before and after their spread was corrected, as the table of docs/results.md.

.venv/bin/python benchmarks/honesty.py BEFORE/summary.json AFTER/summary.json
"""

import json
import sys
from pathlib import Path


def cells(before: dict, after: dict) -> list[str]:
    ratios = [
        f"{p['spread_over_error_mean']:.2f} ± {p['spread_over_error_two_se']:.2f}" for p in (before, after)
    ]
    rest = [
        f"{point[key]:.{digits}f}"
        for key, digits in (("coverage_80_mean", 2), ("coverage_90_mean", 2), ("z_mean", 2), ("crps_mean", 4))
        for point in (before, after)
    ]
    return [*ratios, *rest]


def curve(path: str) -> dict:
    (method,) = json.loads(Path(path).read_text())["methods"]
    return method["curve"]


names = ["spread / error", "80 % coverage", "90 % coverage", "z", "CRPS"]
head = ["measurements", *(f"{name} {when}" for name in names for when in ("before", "after"))]
before, after = map(curve, sys.argv[1:])
lines = [[count, *cells(before[count], after[count])] for count in before]
for row in [head, ["---"] * len(head), *lines]:
    print(f"| {' | '.join(row)} |")
