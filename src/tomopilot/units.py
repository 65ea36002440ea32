"""Lengths with their unit, as people write them in cards, files and options."""

import math
import re

METRES = {"m": 1, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "inch": 0.0254}
METRES |= {"\N{MICRO SIGN}m": 1e-6, "\N{GREEK SMALL LETTER MU}m": 1e-6, "micron": 1e-6, "in": 0.0254}
METRES |= {
    f"{prefix}metre{s}": size
    for prefix, size in (("", 1), ("centi", 1e-2), ("milli", 1e-3), ("micro", 1e-6), ("nano", 1e-9))
    for s in ("", "s")
}
NUMBER = r"[0-9.]+(?:e[-+]?[0-9]+)?"


def metres(unit: str) -> float | None:
    """One of a unit of length in metres; None where it is not known."""
    return METRES.get(unit.strip().lower().replace("meter", "metre"))


def lengths(text: str) -> tuple[float, float]:
    """The least and the greatest length that a text names, in metres; what stands in brackets is a remark.

    >>> lengths("2 mm (26 cm across)"), lengths("1 to 30cm")
    ((0.002, 0.002), (0.01, 0.3))
    """
    said = re.fullmatch(rf"\s*({NUMBER})(?:\s*to\s*({NUMBER}))?\s*([^\W\d]+)\s*(?:\(.*\))?\s*", text, re.I)
    try:
        assert said is not None
        scale = metres(said[3])
        assert scale is not None
        low, high = float(said[1]) * scale, float(said[2] or said[1]) * scale
        assert 0 < low <= high < math.inf
    except (AssertionError, ValueError):
        raise ValueError(
            f"the length {text!r} is not understood; expected one such as 0.1um or 2 mm"
        ) from None
    return low, high


def length(text: str) -> float:
    """A single length, in metres."""
    low, high = lengths(text)
    if low < high:
        raise ValueError(f"the length {text!r} is a range; expected one such as 0.1um or 2 mm")
    return low


def readable(size: float) -> str:
    """A length in metres as a person would write it.

    >>> readable(2e-3), readable(1.5e-7), readable(6.5e-7)
    ('2 mm', '150 nm', '650 nm')
    """
    unit = next((unit for unit in ("m", "cm", "mm", "um") if size >= METRES[unit] * 0.9999), "nm")
    return f"{size / METRES[unit]:.3g} {unit}"


def readable_span(low: float, high: float) -> str:
    """Lengths from one to another, in metres, as `lengths` reads them.

    >>> readable_span(4e-8, 1.5e-7), readable_span(2e-3, 2.004e-3)
    ('40 to 150 nm', '2 mm')
    """
    if high <= 1.01 * low:
        return readable(low)
    unit = readable(high).split()[1]
    return f"{low / METRES[unit]:.3g} to {high / METRES[unit]:.3g} {unit}"
