"""Rows of a study as the entries of `summary.json`, and scan files as pictures of a report."""

from typing import Any

from tomopilot.bench.plots import Pictures
from tomopilot.files.images import read_images
from tomopilot.files.nexus import ScanFile

LISTS = ("psnr", "ssim", "rmse", "spread", "seconds", "estimate_seconds", "network_evaluations")


def scan_entry(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One scan: names, and lists as long as the number of measurements (None where it was not judged)."""
    first = rows[0]
    return {
        **{key: first[key] for key in ("image", "prior", "posterior", "policy", "seed")},
        "designs": [row["design"] for row in rows],
        "settings": [row["setting"] for row in rows],
        "setting_unit": "degrees",
        **{key: [row[key] for row in rows] for key in LISTS},
        "split": {part: sum(row["split"][part] for row in rows) for part in first["split"]},
    }


def pictures_of(scan: ScanFile, spec: str) -> Pictures:
    """A finished virtual scan beside the image it was a scan of."""
    (image,) = read_images(spec)
    return Pictures(image.name, image.pixels.numpy(), scan.reconstruction, scan.uncertainty, scan.samples)
