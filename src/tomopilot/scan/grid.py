"""Which angles may be asked for: a grid over the turn or a list, as far as they can be reached."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Wedge = tuple[float, float]  # degrees, from one counter-clockwise to the other
EDGE = 1e-6  # degrees, by which an angle may lie outside a wedge


def wedge(text: str) -> Wedge:
    """FROM:TO in degrees.

    >>> wedge("-60:60")
    (-60.0, 60.0)
    """
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low = high = math.nan
    if not math.isfinite(low + high) or low == high:
        raise ValueError(f"the wedge is {text!r}; expected FROM:TO in degrees, such as -60:60")
    return low, high


def candidates(
    angles: int | Sequence[float], wedges: Sequence[Wedge] | None, turn: float = 180.0
) -> Float[Tensor, " n"]:
    """Angles in radians: so many over a turn, from 0, or a list in degrees; only those in one of the wedges.

    A wedge from 120 to 60 leaves out what is between 60 and 120. Angles of the grid that lie in a wedge have
    its numbers, as -60 to 60: those that a stage is sent to.

    turn: degrees after which angles repeat
    """
    spans = [(low, low + _span(low, high, turn)) for low, high in wedges or ()]
    if isinstance(angles, int):
        found = _on_grid(angles, spans or [(0.0, turn)], turn) * (math.radians(turn) / angles)
    else:
        kept = [a for a in angles if not spans or any(_inside(a, *span, turn) for span in spans)]
        found = torch.tensor(kept).deg2rad()
        _check_once(kept)
    if not len(found):
        named = ", ".join(f"{low:g}:{high:g}" for low, high in wedges or ())
        raise ValueError(f"none of the candidate angles is in the wedge {named}; expected a wider one")
    return found


def _span(low: float, high: float, turn: float) -> float:
    """Degrees from one angle to the other."""
    return min(high - low, turn) if high > low else (high - low) % turn or turn


def _on_grid(count: int, spans: Sequence[Wedge], turn: float) -> Tensor:
    """Numbers of those of `count` angles a turn that lie in a span, each angle once."""
    found: dict[int, int] = {}
    for low, high in spans:
        first, last = (math.ceil((low - EDGE) * count / turn), math.floor((high + EDGE) * count / turn))
        for number in range(first, min(last, first + count - 1) + 1):
            found.setdefault(number % count, number)
    return torch.tensor([*found.values()], dtype=torch.long)


def _inside(angle: float, low: float, high: float, turn: float) -> bool:
    return (angle - low + EDGE) % turn <= high - low + 2 * EDGE


def _check_once(angles: Sequence[float]) -> None:
    places = sorted((angle % 360, angle) for angle in angles)
    for (place, angle), (following, other) in pairwise(places):
        if following - place < EDGE:
            raise ValueError(
                f"the angles {angle:g} and {other:g} are the same; expected each candidate angle once"
            )
