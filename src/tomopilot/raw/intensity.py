"""How the values of a scan's image belong to those that a prior knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from skimage.filters import threshold_otsu

BEYOND = 0.1  # of the prior's range, by which a value may leave it
NUMBER = r"([0-9.]+)"


@dataclass(frozen=True)
class Intensity:
    """Image of the scan = scale * image of the prior + offset; `LineIntegrals.mapped` applies it."""

    scale: float
    offset: float
    how: str
    outside: float = 0.0  # share of the view whose values are beyond the prior's range nevertheless


def intensity_of(image: np.ndarray, card: Mapping[str, Any], pixel_size: float | None) -> Intensity:
    """The map that a prior's card asks for, from a reconstruction of the scan.

    image: (h, w) attenuation per pixel, such as a filtered back-projection; only the disc in it counts
    Where the card's unit is attenuation per metre and the scan's pixel size is known, the map follows from
    these; where it is a range of percentiles, from those; else from the two phases of the material, whose
    values are the ends of the prior's range.
    """
    high, wide = image.shape
    y, x = np.ogrid[:high, :wide]
    view = (y - (high - 1) / 2) ** 2 + (x - (wide - 1) / 2) ** 2 <= (min(high, wide) / 2 - 1) ** 2
    seen = median_filter(image, 3)[view]
    low, top = map(float, card["range"])
    unit = str(card.get("unit", ""))
    per_metre = re.search(rf"attenuation / {NUMBER} per metre", unit)
    percentiles = re.search(rf"percentiles.*?\({NUMBER} and {NUMBER}", unit)
    if per_metre and pixel_size:
        scale, offset, how = float(per_metre[1]) * pixel_size, 0.0, "attenuation per metre, by the pixel size"
    else:
        if percentiles:
            ends = np.percentile(seen, [float(percentiles[1]), float(percentiles[2])])
            how = f"percentiles {percentiles[1]} and {percentiles[2]}"
        else:
            between = threshold_otsu(seen) if np.ptp(seen) > 0 else seen[0]
            ends = [
                np.median(part) if part.size else between
                for part in (seen[seen <= between], seen[seen > between])
            ]
            how = "the two phases of the material"
        scale = float(ends[1] - ends[0]) / (top - low)
        offset = float(ends[0]) - scale * low
    if not scale > 0:
        raise ValueError(
            f"the image has values from {seen.min():g} to {seen.max():g}, which cannot be mapped to the "
            f"prior's range, {low:g} to {top:g}; expected two different values: is anything in the view?"
        )
    mapped, margin = (seen - offset) / scale, BEYOND * (top - low)
    outside = float(((mapped < low - margin) | (mapped > top + margin)).mean())
    return Intensity(scale, offset, how, outside)
