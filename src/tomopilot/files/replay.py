"""The settings of an earlier run, to be measured again in the same order."""

import json
import math
from pathlib import Path
from typing import Any

from tomopilot.disk import read_text


def recorded_settings(source: str, image: str) -> tuple[list[float], str]:
    """Settings in the order measured, and their unit, of the scan of `image` in a run's `summary.json`.

    `source` is the file or its folder, `image` a name in its tables; where the run has several methods,
    `::posterior+policy` names one. Settings are those of the instrument, such as angles in degrees: the run
    that follows may have other candidates.
    """
    place, _, method = source.partition("::")
    path = Path(place) / "summary.json" if Path(place).is_dir() else Path(place)
    try:
        scans = json.loads(read_text(path))["images"]
        found = [scan for scan in scans if scan["image"] == image and _is(scan, method)]
        known = sorted({f"{scan['posterior']}+{scan['policy']}" for scan in scans})
        said = [(scan["designs"], scan["settings"], scan.get("setting_unit", "degrees")) for scan in found]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no summary of a run to replay ({error}); name its summary.json or folder"
        ) from None
    if len(said) != 1:
        raise ValueError(
            f"{path} holds {len(said)} scans of {image!r} by {method or 'any method'}; expected one: "
            f"name the method, as in replay:FILE::{known[0] if known else 'auto+variance'}"
        )
    designs, settings, unit = said[0]
    _check(path, designs, settings)
    return [float(setting) for setting in settings], str(unit)


def _is(scan: dict, method: str) -> bool:
    return not method or f"{scan['posterior']}+{scan['policy']}" == method


def _check(path: Path, designs: Any, settings: Any) -> None:
    """Raises unless there is a whole number and a setting for each measurement."""
    for name, values, test in (("designs", designs, _whole), ("settings", settings, _finite)):
        if not isinstance(values, list) or not values:
            raise ValueError(f"the {name} in {path} are {_short(values)}; expected a list, not empty")
        wrong = [value for value in values if not test(value)]
        if wrong:
            expected = "whole numbers" if test is _whole else "finite numbers"
            raise ValueError(f"the {name} in {path} hold {_short(wrong[0])}; expected {expected} alone")
    if len(designs) != len(settings):
        raise ValueError(f"{path} has {len(designs)} designs, but {len(settings)} settings; expected as many")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _finite(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 40 else f"{text[:40]}..."
