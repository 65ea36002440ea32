"""What finished scans leave for people: numbers, scan files, and `report.html` with its pictures."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tomopilot.disk import write_atomically
from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.report import markdown
from tomopilot.report.comparison_page import compare_report
from tomopilot.report.directions import Asked, directions
from tomopilot.report.plots import Pictures, method_label
from tomopilot.report.scan_page import SHOWN, simulate_report
from tomopilot.report.side_by_side import Estimate, SideBySide
from tomopilot.scan.assemble import operator_of
from tomopilot.scan.judge import Row
from tomopilot.scan.notices import priors_of
from tomopilot.scan.outputs import (
    COLUMNS,
    comparison,
    deviation,
    simulation,
    write_numbers,
    write_scans,
)
from tomopilot.scan.parts import family
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.summary import method_of
from tomopilot.scan.virtual import image_of


def leave_simulation(
    out: Path, plan: Plan, facts: Mapping[str, Any], archive: Archive, rows: list[Row]
) -> dict[str, Any]:
    """All files of a finished `simulate`; returns the summary."""
    summary = simulation(plan, facts, archive)
    write_scans(out, plan, archive, summary)
    write_numbers(out, summary, COLUMNS, rows)
    simulate_report(out, summary, [pictures_of(plan, scan, archive) for scan in plan.scans])
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
    pictures = {spec: read_images(spec)[0] for spec, angles in own if angles}
    return [
        Asked(pictures[spec].name, pictures[spec].shown.numpy(), angles) for spec, angles in own if angles
    ]


def side_by_side(plan: Plan, archive: Archive) -> SideBySide:
    """The first image, and what each method made of it, halfway and in the end."""
    image, several = image_of(plan, plan.images[0]), len(priors_of(plan)) > 1
    picture = operator_of(plan, image).kind.picture
    halfway: list[Estimate] = []
    ends: list[Estimate] = []
    for scan in (scan for scan in plan.scans if scan.image == plan.images[0]):
        reached = [row["psnr"] for row in archive.steps(scan.key)]
        name = method_label(asdict(scan.method), several)
        for place, key, count in ((halfway, scan.halfway, plan.halfway or 0), (ends, scan.key, len(reached))):
            found = archive.estimate(key, count) if count <= len(reached) else None
            if found is not None:
                place.append(Estimate(name, count, reached[count - 1], picture(found["guess"]).numpy()))
    return SideBySide(image.name, image.shown.numpy(), [made for made in (halfway, ends) if made])


def pictures_of(plan: Plan, scan: Scan, archive: Archive) -> Pictures:
    """A finished virtual scan beside the image it was a scan of."""
    (image,), estimate = read_images(scan.image), archive.estimate(scan.key, len(archive.steps(scan.key)))
    assert estimate is not None
    picture = operator_of(plan, image).kind.picture
    seen = {key: picture(value) for key, value in estimate.items()}
    spread, bare = deviation(seen["images"]), seen.get("without_prior")
    return Pictures(
        image.name,
        image.shown.numpy(),
        seen["guess"].numpy(),
        spread.numpy(),
        seen["images"].numpy(),
        None if bare is None else bare.numpy(),
        family(plan.operator).bare,
        seen["disagreement"].numpy(),
    )
