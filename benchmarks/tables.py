"""A comparison's summary as the Markdown table of docs/results.md.

.venv/bin/python benchmarks/tables.py RUN/summary.json [...]
"""

import json
import sys
from pathlib import Path


def show(value: float | None, digits: int = 1, missing: str = "-") -> str:
    return missing if value is None else f"{value:.{digits}f}"


def cells(entry: dict, counts: list[str]) -> list[str]:
    points = [entry["curve"][count] for count in counts]
    quality = [f"{show(p['psnr_mean'])} ± {show(p['psnr_two_se'])}" for p in points]
    choice = f"{show(entry['seconds_per_step'], 2)} ({show(entry['choose_evaluations'], 0)})"
    estimate = f"{show(entry['estimate_seconds'])} ({show(entry['estimate_evaluations'], 0)})"
    reached = show(entry["measurements_to_30db"], missing="not reached")
    return [f"{entry['posterior']} + {entry['policy']}", *quality, reached, choice, estimate]


for path in sys.argv[1:]:
    methods = json.loads(Path(path).read_text())["methods"]
    counts = list(methods[0]["curve"])
    head = ["method", *counts, "to 30 dB", "s to next (evaluations)", "s estimate (evaluations)"]
    for row in [head, ["---"] * len(head), *(cells(entry, counts) for entry in methods)]:
        print(f"| {' | '.join(row)} |")
    print()
