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
from tomopilot.files.kspace import KspaceFile, write_kspace
from tomopilot.files.nexus import Frames, ScanFile, write_scan
from tomopilot.files.volumes import is_volume
from tomopilot.measure.fourier import to_complex
from tomopilot.measure.kind import ROW, Kind
from tomopilot.measure.stack import Stack
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
    "scouts", "stripes", "seed", "device",
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
        "without_prior": rows[-1]["without_prior"],
        **{key: first[key] for key in ("scouts",) if key in first},
        **{key: [row[key] for row in rows] for key in LISTS},
        "split": {part: sum(row["split"][part] for row in rows) for part in first["split"]},
    }


def kind_of(plan: Plan) -> Kind:
    """What is measured; reads an image."""
    return operator_of(plan, image_of(plan, plan.images[0])).kind


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
    for scan in plan.scans:
        if not is_volume(scan.image):  # those were written before their slices were reconstructed
            write_file(out / own_name(plan, scan, "scan.h5"), plan, scan, archive, provenance(summary))


def own_name(plan: Plan, scan: Scan, name: str) -> str:
    """The name of a scan's own file: `scan.h5`, or, of several scans, `scan-0.h5` and so on."""
    stem, ending = name.split(".")
    return name if len(plan.scans) == 1 else f"{stem}-{plan.scans.index(scan)}.{ending}"


def provenance(summary: Mapping[str, Any]) -> dict[str, str]:
    """How scans were made, in their files."""
    return {key: str(value) for key, value in summary.items() if key not in ("images", "kind", "pixel_sizes")}


def write_file(path: Path, plan: Plan, scan: Scan, archive: Archive, provenance: Mapping[str, str]) -> None:
    """The file of one finished scan, in the format of what was measured."""
    known = image_of(plan, scan.image)
    operator = operator_of(plan, known)
    shown, own, rows = operator.shown, operator.settings.tolist(), archive.steps(scan.key)
    scores = [[math.nan if s is None else s for s in row["scores"]] for row in rows if "scores" in row]
    common = {
        "scores": torch.tensor(scores).reshape(-1, len(shown)).numpy(),
        "name": known.name,
        "provenance": dict(provenance),
    }
    reached = [
        own[block.design] if block.setting is None else block.setting
        for block in archive.each_block(scan.key)
    ]
    taken = operator.at(reached).shown.numpy()
    angles = {"angles_deg": taken, "settings_deg": shown.numpy(), "pixel_size": known.pixel_size}
    if isinstance(operator, Stack):
        write_scan(path, ScanFile(_frames(archive, scan, operator, len(reached)), **angles, **common))
        return
    measured = torch.stack([block.values for block in archive.blocks(scan.key)]).numpy()
    estimate = archive.estimate(scan.key, len(measured))
    assert estimate is not None
    common["uncertainty"] = deviation(operator.kind.picture(estimate["images"])).numpy()
    if operator.kind is ROW:
        image, samples = (to_complex(estimate[key]).numpy() for key in ("guess", "images"))
        write_kspace(path, KspaceFile(measured, taken.astype(int), image, samples=samples, **common))
        return
    image, samples = (estimate[key].numpy() for key in ("guess", "images"))
    write_scan(path, ScanFile(measured, reconstruction=image, samples=samples, **angles, **common))


def _frames(archive: Archive, scan: Scan, operator: Stack, count: int) -> Frames:
    """What was measured of a volume, one frame at a time."""
    first = next(archive.each_block(scan.key)).values.numpy()
    read = lambda: (block.values.numpy() for block in archive.each_block(scan.key))  # noqa: E731
    return Frames((count, *operator.block_shape), first.dtype, read)


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
