"""What finished scans leave for people: numbers, scan files, and `report.html` with its pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.report.comparison_page import compare_report
from tomopilot.report.plots import Pictures
from tomopilot.report.scan_page import simulate_report
from tomopilot.scan.judge import Row
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
from tomopilot.scan.virtual import operator_of


def leave_simulation(
    out: Path, plan: Plan, facts: Mapping[str, str], archive: Archive, rows: list[Row]
) -> dict[str, Any]:
    """All files of a finished `simulate`; returns the summary."""
    summary = simulation(plan, facts, archive)
    write_scans(out, plan, archive, summary)
    write_numbers(out, summary, COLUMNS, rows)
    simulate_report(out, summary, [pictures_of(plan, scan, archive) for scan in plan.scans])
    return summary


def leave_comparison(out: Path, plan: Plan, facts: Mapping[str, str], rows: list[Row]) -> dict[str, Any]:
    """All files of a finished `compare`; returns the summary."""
    summary = comparison(plan, facts, rows)
    write_numbers(out, summary, COLUMNS, rows)
    compare_report(out, summary, rows)
    return summary


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
    )
