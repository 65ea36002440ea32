"""What finished scans leave for people: numbers, scan files, and `report.html` with its pictures."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tomopilot.disk import write_atomically
from tomopilot.files.archive import Archive
from tomopilot.files.images import NamedImage
from tomopilot.files.voxels import read_slice
from tomopilot.report import markdown
from tomopilot.report.comparison_page import compare_report
from tomopilot.report.directions import Asked, directions
from tomopilot.report.plots import Pictures, method_label
from tomopilot.report.scan_page import SHOWN, simulate_report
from tomopilot.report.side_by_side import Estimate, SideBySide
from tomopilot.scan.assemble import operator_of
from tomopilot.scan.judge import Row
from tomopilot.scan.judge_volume import STORE
from tomopilot.scan.notices import priors_of
from tomopilot.scan.outputs import (
    COLUMNS,
    comparison,
    deviation,
    own_name,
    simulation,
    write_numbers,
    write_scans,
)
from tomopilot.scan.parts import family
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.replayed import Replayed
from tomopilot.scan.summary import method_of
from tomopilot.scan.virtual import image_of

ALL_OF_IT = ("Back-projection of all", "Difference")  # beside the estimate of a measured scan


def leave_simulation(
    out: Path, plan: Plan, facts: Mapping[str, Any], archive: Archive, rows: list[Row]
) -> dict[str, Any]:
    """All files of a finished `simulate`; returns the summary."""
    summary = simulation(plan, facts, archive)
    write_scans(out, plan, archive, summary)
    write_numbers(out, summary, COLUMNS, rows)
    simulate_report(out, summary, [pictures_of(plan, scan, archive) for scan in plan.scans[:SHOWN]])
    return summary


def leave_comparison(
    out: Path, plan: Plan, facts: Mapping[str, Any], archive: Archive, rows: list[Row]
) -> dict[str, Any]:
    """All files of a finished `compare`; returns the summary."""
    summary = comparison(plan, facts, rows)
    write_numbers(out, summary, COLUMNS, rows)
    compare_report(out, summary, rows, side_by_side(plan, archive))
    drawn = ["psnr.png", "angles.png"]
    if asked := chosen_angles(plan, summary):
        write_atomically(out / "directions.png", directions(asked, summary["kind"]["period"]))
        drawn.append("directions.png")
    write_atomically(out / "results.md", markdown.comparison(summary, rows, drawn).encode())
    return summary


def chosen_angles(plan: Plan, summary: Mapping[str, Any]) -> list[Asked]:
    """What the first adaptive method chose for the first images; nothing of settings that have no period."""
    method = next((method for method in plan.methods if method.adaptive), None)
    if method is None or not summary["kind"]["period"]:
        return []
    scanned = {scan["image"]: scan for scan in summary["images"] if method_of(scan) == method}
    own = [(spec, scanned[plan.label(spec)]["settings"][plan.start :]) for spec in plan.images[:SHOWN]]
    pictures = {spec: image_of(plan, spec) for spec, angles in own if angles}
    return [
        Asked(pictures[spec].name, middle(pictures[spec]).numpy(), angles) for spec, angles in own if angles
    ]


def middle(image: NamedImage) -> Tensor:
    """An image as it is shown, of a volume its middle slice."""
    return image.shown[len(image.slices) // 2] if image.slices else image.shown


def side_by_side(plan: Plan, archive: Archive) -> SideBySide:
    """The first image, and what each method made of it, halfway and in the end; of a volume, one slice."""
    image, several = image_of(plan, plan.images[0]), len(priors_of(plan)) > 1
    picture = operator_of(plan, image).kind.picture
    halfway: list[Estimate] = []
    ends: list[Estimate] = []
    name, truth, scouts = image.name, image.shown, []
    for scan in (scan for scan in plan.scans if scan.image == plan.images[0]):
        rows = archive.steps(scan.key)
        reached, scouts = [row["psnr"] for row in rows], rows[0].get("scouts", [])
        method = method_label(asdict(scan.method), several)
        for place, key, count in ((halfway, scan.halfway, plan.halfway or 0), (ends, scan.key, len(reached))):
            found = archive.estimate(key, count) if count <= len(reached) else None
            if found is not None:
                pixels = picture(found["guess"])
                pixels, quality = (pixels[len(scouts) // 2], None) if scouts else (pixels, reached[count - 1])
                place.append(Estimate(method, count, quality, pixels.numpy()))
    if scouts:
        number = scouts[len(scouts) // 2]
        name, truth = image.slices[number], truth[number]
    known = "reference" if isinstance(image, Replayed) else "truth"
    return SideBySide(name, truth.numpy(), [made for made in (halfway, ends) if made], known)


def pictures_of(plan: Plan, scan: Scan, archive: Archive) -> Pictures:
    """A finished virtual scan beside the image it was a scan of."""
    image, rows = image_of(plan, scan.image), archive.steps(scan.key)
    estimate = archive.estimate(scan.key, len(rows))
    assert estimate is not None
    picture, bare = operator_of(plan, image).kind.picture, family(plan.operator).bare
    seen = {key: picture(value) for key, value in estimate.items()}
    if isinstance(image, Replayed):
        return replace(_pictures(image.name, image.shown, seen, bare), beside=ALL_OF_IT)
    if not image.slices:
        return _pictures(image.name, image.shown, seen, bare)
    place = len(image.slices) // 2
    found = read_slice(archive.path.parent / own_name(plan, scan, STORE), place)
    scouts = tuple(
        _pictures(image.slices[number], image.shown[number], _of_slice(seen, index), bare)
        for index, number in enumerate(rows[0]["scouts"])
    )
    none = np.empty((0, *found.estimate.shape), np.float32)
    truth = image.shown[place].numpy()
    return Pictures(image.slices[place], truth, found.estimate, found.uncertainty, none, slices=scouts)


def _of_slice(seen: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    return {key: value[:, index] if key == "images" else value[index] for key, value in seen.items()}


def _pictures(name: str, truth: Tensor, seen: Mapping[str, Tensor], bare: str) -> Pictures:
    by_prior, missed = seen.get("by_prior"), seen.get("unpredicted")
    against = "estimate" if by_prior is None else "prior"
    return Pictures(
        name,
        truth.numpy(),
        seen["guess"].numpy(),
        deviation(seen["images"]).numpy(),
        seen["images"].numpy(),
        None if by_prior is None else by_prior.numpy(),
        bare,
        (seen["disagreement"] if missed is None else missed).numpy(),
        against if missed is None else "predictions",
    )
