"""The designs of an earlier run, to be measured again in the same order."""

import json
from pathlib import Path

from tomopilot.disk import read_text


def recorded_designs(source: str, image: str) -> list[int]:
    """Designs in the order measured, of the scan of `image` (its name in tables) in a run's `summary.json`.

    `source` is the file or its folder; where the run has several methods, `::posterior+policy` names one.
    """
    place, _, method = source.partition("::")
    path = Path(place) / "summary.json" if Path(place).is_dir() else Path(place)
    try:
        scans = json.loads(read_text(path))["images"]
        found = [scan["designs"] for scan in scans if scan["image"] == image and _is(scan, method)]
        known = sorted({f"{scan['posterior']}+{scan['policy']}" for scan in scans})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is no summary of a run to replay ({error}); name its summary.json or folder"
        ) from None
    if len(found) != 1:
        raise ValueError(
            f"{path} holds {len(found)} scans of {image!r} by {method or 'any method'}; expected one: "
            f"name the method, as in replay:FILE::{known[0] if known else 'auto+variance'}"
        )
    return found[0]


def _is(scan: dict, method: str) -> bool:
    return not method or f"{scan['posterior']}+{scan['policy']}" == method
