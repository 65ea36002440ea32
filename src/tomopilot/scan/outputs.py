"""The numbers that scans leave in their folder: `summary.json`, `results.csv`, scan files."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tomopilot.disk import write_atomically
from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.files.kspace import KspaceFile, write_kspace
from tomopilot.files.nexus import ScanFile, write_scan
from tomopilot.measure.fourier import to_complex
from tomopilot.measure.kind import ROW, Kind
from tomopilot.prior.checkpoint import folder_of, read_card
from tomopilot.scan.assemble import operator_of
from tomopilot.scan.judge import Row
from tomopilot.scan.notices import stopped
from tomopilot.scan.paired import findings
from tomopilot.scan.parts import Method, family
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.summary import method_of, summarise
from tomopilot.scan.virtual import image_of

COLUMNS = (
    "image", "prior", "posterior", "policy", "seed", "count", "design", "setting", "psnr", "ssim", "rmse",
    "spread", "seconds", "network_evaluations", "estimate_seconds", "choose_evaluations",
    "estimate_evaluations", "expected_rmse", "surprise",
)  # fmt: skip
FACTS = (
    "operator", "angles", "wedge", "bins", "noise", "finer", "count", "budget", "start", "certain", "prescan",
    "seed", "device",
)  # fmt: skip
LISTS = (
    "psnr", "ssim", "rmse", "spread", "seconds", "estimate_seconds", "network_evaluations",
    "choose_evaluations", "estimate_evaluations", "expected_rmse", "surprise",
)  # fmt: skip


def scan_entry(plan: Plan, kind: Kind, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One scan: names, and lists as long as the number of measurements (None where it was not judged)."""
    first = rows[0]
    return {
        **{key: first[key] for key in ("image", "prior", "posterior", "policy", "seed")},
        "designs": [row["design"] for row in rows],
        "settings": [row["setting"] for row in rows],
        "setting_unit": first.get("setting_unit", "degrees"),
        "stopped": stopped(plan, method_of(first), len(rows), kind.noun),
        "alarm": rows[-1]["alarm"],
        "alarm_by": rows[-1]["alarm_by"],
        **{key: [row[key] for row in rows] for key in LISTS},
        "split": {part: sum(row["split"][part] for row in rows) for part in first["split"]},
    }


def kind_of(plan: Plan) -> Kind:
    """What is measured; reads an image."""
    (image,) = read_images(plan.images[0])
    return operator_of(plan, image).kind


def described(plan: Plan, kind: Kind, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was done, in a summary of several methods."""
    named = {
        key: list(dict.fromkeys(name for method in plan.methods if (name := getattr(method, key))))
        for key in ("prior", "posterior", "policy")
    }
    unused = family(plan.operator).unused
    set_to = {key: None if key in unused else getattr(plan, key) for key in FACTS}
    return {**facts, **set_to, **named, "kind": kind.words}


def simulation(plan: Plan, facts: Mapping[str, Any], archive: Archive) -> dict[str, Any]:
    """The summary of a finished `simulate`."""
    (method,), kind = plan.methods, kind_of(plan)
    named = {key: getattr(method, key) for key in ("prior", "posterior", "policy")}
    summary = described(plan, kind, facts) | named
    if method.prior:
        low, high = read_card(folder_of(method.prior))["range"]
        summary["range"] = [0.0 if kind is ROW else low, high]
    return summary | {"images": [scan_entry(plan, kind, archive.steps(scan.key)) for scan in plan.scans]}


def comparison(plan: Plan, facts: Mapping[str, Any], rows: list[Row]) -> dict[str, Any]:
    """The summary of a finished `compare`."""
    own: dict[tuple[str, Method], list[Row]] = {}
    kind = kind_of(plan)
    for row in rows:
        own.setdefault((row["image"], method_of(row)), []).append(row)
    methods = summarise(plan, rows)
    found = {"methods": methods, "findings": findings(methods, rows), "setting_unit": kind.unit}
    images = [scan_entry(plan, kind, scan) for scan in own.values()]
    return described(plan, kind, facts) | found | {"images": images}


def write_scans(out: Path, plan: Plan, archive: Archive, summary: Mapping[str, Any]) -> None:
    """The file of each scan of a `simulate`: measurements, estimate, uncertainty, samples, scores."""
    provenance = {
        key: str(value) for key, value in summary.items() if key not in ("images", "kind", "pixel_sizes")
    }
    for index, scan in enumerate(plan.scans):
        name = "scan.h5" if len(plan.images) == 1 else f"scan-{index}.h5"
        write_file(out / name, plan, scan, archive, provenance)


def write_file(path: Path, plan: Plan, scan: Scan, archive: Archive, provenance: Mapping[str, str]) -> None:
    """The file of one finished scan, in the format of what was measured."""
    known = image_of(plan, scan.image)
    operator = operator_of(plan, known)
    blocks = archive.blocks(scan.key)
    estimate = archive.estimate(scan.key, len(blocks))
    assert estimate is not None
    shown, pictures = operator.shown, operator.kind.picture(estimate["images"])
    rows = archive.steps(scan.key)
    scores = [[math.nan if s is None else s for s in row["scores"]] for row in rows if "scores" in row]
    common = {
        "uncertainty": deviation(pictures).numpy(),
        "scores": torch.tensor(scores).reshape(-1, len(shown)).numpy(),
        "name": known.name,
        "provenance": dict(provenance),
    }
    measured = torch.stack([block.values for block in blocks]).numpy()
    own = operator.settings.tolist()
    taken = operator.at([own[b.design] if b.setting is None else b.setting for b in blocks]).shown.numpy()
    if operator.kind is ROW:
        image, samples = (to_complex(estimate[key]).numpy() for key in ("guess", "images"))
        write_kspace(path, KspaceFile(measured, taken.astype(int), image, samples=samples, **common))
        return
    image, samples = (estimate[key].numpy() for key in ("guess", "images"))
    file = ScanFile(
        measured,
        taken,
        image,
        samples=samples,
        settings_deg=shown.numpy(),
        pixel_size=known.pixel_size,
        **common,
    )
    write_scan(path, file)


def deviation(pictures: Tensor) -> Tensor:
    """Standard deviation of samples in each pixel; NaN of a single one."""
    return pictures.std(0) if len(pictures) > 1 else torch.full_like(pictures[0], math.nan)


def write_numbers(out: Path, summary: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    """`summary.json` and `results.csv`."""
    write_atomically(out / "summary.json", json.dumps(summary, indent=1).encode())
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in rows)
    write_atomically(out / "results.csv", text.getvalue().encode())
