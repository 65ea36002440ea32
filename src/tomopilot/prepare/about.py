"""What the card of a training set says: what its images are, and how they were made."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tomopilot.prepare.collect import ALL, Collected, Collector
from tomopilot.units import readable_span


def about(
    collected: Collected,
    collector: Collector,
    *,
    unit: str | None = None,
    data: str | None = None,
    licence: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of `set.json`; facts: how the crops were made."""
    parts = {"train": collected.train, "validation": collected.validation}
    said: dict[str, Any] = {"data": data, "licence": licence, "pixel_size": _pixel_size(parts)}
    if ALL in collected.ranges:
        black, white = collected.ranges[ALL]
        said["intensity"] = {"black": black, "white": white}
    else:
        said["intensities"] = {source: list(limits) for source, limits in collected.ranges.items()}
    images = collected.train["images"]
    return {
        "unit": _unit(collected, collector, unit),
        **{key: value for key, value in said.items() if value is not None},
        "images": {name: len(part["images"]) for name, part in parts.items()},
        "sources": {name: len(set(part["source"])) for name, part in parts.items()},
        "image_size": images.shape[-1],
        "stored": f"{images.dtype}, {'255' if images.dtype == np.uint8 else '1'} is white",
        "left_out": {
            "nearly_empty": collected.empty,
            "rule": f"standard deviation below {collector.empty:g} of the range",
        },
        "clipped": round(collected.clipped, 6),
        "seed": collector.seed,
        **(facts or {}),
    }


def _unit(collected: Collected, collector: Collector, unit: str | None) -> str:
    """What the values of images mean, in words."""
    if ALL not in collected.ranges:
        low, high = collector.percentiles
        return f"grey value between the percentiles {low:g} and {high:g} of each source"
    black, white = collected.ranges[ALL]
    return (unit or "grey value") + (f", from {black:.4g} to {white:.4g}" if (black, white) != (0, 1) else "")


def _pixel_size(parts: Mapping[str, Mapping[str, np.ndarray]]) -> str | None:
    """From the smallest to the largest pixel; None where some are not known."""
    sizes = np.concatenate([part["pixel_um"] for part in parts.values()]) * 1e-6
    return None if np.isnan(sizes).any() else readable_span(float(sizes.min()), float(sizes.max()))
