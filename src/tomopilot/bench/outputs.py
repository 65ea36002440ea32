"""What a study leaves in its folder: `summary.json`, `results.csv`, scan files, `report.html`."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tomopilot.bench.comparison_page import compare_report
from tomopilot.bench.plots import Pictures
from tomopilot.bench.scan_page import simulate_report
from tomopilot.bench.study import Judge, Plan, Row, Scan, finish, recall, scans
from tomopilot.bench.summary import method_of, summarise
from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.files.kspace import KspaceFile
from tomopilot.files.nexus import ScanFile
from tomopilot.measure.fourier import Fourier
from tomopilot.metrics import magnitude
from tomopilot.posterior.classical import TotalVariation, ZeroFilled
from tomopilot.prior.checkpoint import load_prior, write_atomically
from tomopilot.recipe import Method

COLUMNS = (
    "image", "prior", "posterior", "policy", "seed", "count", "design", "setting", "psnr", "ssim", "rmse",
    "spread", "seconds", "network_evaluations", "estimate_seconds", "choose_evaluations",
    "estimate_evaluations", "expected_rmse", "surprise",
)  # fmt: skip
FACTS = (
    "operator", "angles", "bins", "noise", "finer", "count", "budget", "start", "certain", "seed", "device"
)  # fmt: skip
LISTS = (
    "psnr", "ssim", "rmse", "spread", "seconds", "estimate_seconds", "network_evaluations",
    "choose_evaluations", "estimate_evaluations", "expected_rmse", "surprise",
)  # fmt: skip


def scan_entry(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One scan: names, and lists as long as the number of measurements (None where it was not judged)."""
    first = rows[0]
    return {
        **{key: first[key] for key in ("image", "prior", "posterior", "policy", "seed")},
        "designs": [row["design"] for row in rows],
        "settings": [row["setting"] for row in rows],
        "setting_unit": first.get("setting_unit", "degrees"),
        "alarm": rows[-1]["alarm"],
        "alarm_by": rows[-1]["alarm_by"],
        **{key: [row[key] for row in rows] for key in LISTS},
        "split": {part: sum(row["split"][part] for row in rows) for part in first["split"]},
    }


def pictures_of(scan: ScanFile | KspaceFile, spec: str, prior_free: Tensor | None) -> Pictures:
    """A finished virtual scan beside the image it was a scan of."""
    (image,) = read_images(spec)
    found = _seen(scan.reconstruction), scan.uncertainty, _seen(scan.samples)
    return Pictures(
        image.name, image.shown.numpy(), *found, None if prior_free is None else prior_free.numpy()
    )


def _seen(images: np.ndarray) -> np.ndarray:
    return np.abs(images) if np.iscomplexobj(images) else images


def without_prior(plan: Plan, scan: Scan, archive: Archive) -> Tensor:
    """The reconstruction that the prior has no part in, on the CPU."""
    experiment = Judge(plan, scan).experiment
    recall(experiment, archive, scan.key, archive.steps(scan.key))
    data = experiment.data
    if isinstance(experiment.operator, Fourier):
        return magnitude(ZeroFilled().sample(data, 1, rng=torch.Generator()).guess).cpu()
    return TotalVariation().sample(data, 1, rng=torch.Generator()).guess.cpu()


def leave_simulation(
    out: Path, plan: Plan, facts: dict[str, str], archive: Archive, rows: list[Row]
) -> dict[str, Any]:
    """All files of a finished `simulate`; returns the summary."""
    (method,) = plan.methods
    settings = {key: getattr(plan, key) for key in FACTS}
    named = {key: getattr(method, key) for key in ("prior", "posterior", "policy")}
    summary: dict[str, Any] = {**facts, **settings, **named}
    if method.prior:
        prior = load_prior(method.prior)
        summary["range"] = [prior.high - prior.peak, prior.high]
    provenance = {key: str(value) for key, value in summary.items()}
    pictures, entries = [], []
    for index, scan in enumerate(scans(plan)):
        name = "scan.h5" if len(plan.images) == 1 else f"scan-{index}.h5"
        entries.append(scan_entry(archive.steps(scan.key)))
        prior_free = without_prior(plan, scan, archive) if entries[-1]["alarm"] else None
        file = finish(plan, scan, archive, out / name, provenance)
        pictures.append(pictures_of(file, scan.image, prior_free))
    summary["images"] = entries
    write_numbers(out, summary, COLUMNS, rows)
    simulate_report(out, summary, pictures)
    return summary


def described(plan: Plan, facts: dict[str, str]) -> dict[str, Any]:
    """What was done, in a summary of several methods."""
    named = {
        key: list(dict.fromkeys(name for method in plan.methods if (name := getattr(method, key))))
        for key in ("prior", "posterior", "policy")
    }
    return {**facts, **{key: getattr(plan, key) for key in FACTS}, **named}


def leave_comparison(out: Path, plan: Plan, facts: dict[str, str], rows: list[Row]) -> dict[str, Any]:
    """All files of a finished `compare`; returns the summary."""
    own: dict[tuple[str, Method], list[Row]] = {}
    for row in rows:
        own.setdefault((row["image"], method_of(row)), []).append(row)
    summary = {
        **described(plan, facts),
        "methods": summarise(plan, rows),
        "setting_unit": rows[0].get("setting_unit", "degrees") if rows else "degrees",
        "images": [scan_entry(scan) for scan in own.values()],
    }
    write_numbers(out, summary, COLUMNS, rows)
    compare_report(out, summary, rows)
    return summary


def write_numbers(out: Path, summary: dict[str, Any], columns: Sequence[str], rows: list[Row]) -> None:
    """`summary.json` and `results.csv`."""
    write_atomically(out / "summary.json", json.dumps(summary, indent=1).encode())
    with open(out / "results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
