"""Projections that are left out, each with a reason: the rest of the scan is as if they were never taken."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

AIR = 0.05  # line integral, below which a value saw nothing but air
OPEN = 0.05  # share of a projection's values, the least absorbed, that must see air to judge the beam by
ALIKE = 0.125  # of their level, that half of these may differ by where the beam is weaker
SHARES = {  # of a projection's usable values that may be faulty
    "not finite": 0.01,
    "saturated": 0.01,
    "not above the dark field": 0.5,
    "the same": 0.5,
}
FEW = 3  # faulty values that never matter, on detectors of few bins
SMOOTH, NEXT = 8, 9  # bins and neighbouring angles, by which the beam is judged where nothing sees air alone


def to_quarantine(
    values: np.ndarray,
    faults: Mapping[str, np.ndarray],
    angles: np.ndarray,
    monitor: np.ndarray | None,
    drop: float,
) -> dict[int, str]:
    """The projections to leave out, by their place, and why.

    values: (n, rows, bins) line integrals
    monitor: (n,) incident intensity, where it was recorded, by which the line integrals are corrected
    drop: change of the incident intensity, as a share, that is too large, as when the beam was lost
    """
    dead = np.zeros(values.shape[1:], bool)
    for bad in faults.values():
        dead |= bad if bad.ndim == 2 else False
    usable = int((~dead).sum())
    found: dict[int, str] = {}
    for i in range(len(values)):
        for what, most in SHARES.items():
            count = int((faults[what][i] & ~dead).sum()) if what in faults else 0
            if count > max(most * usable, FEW):
                found.setdefault(i, f"{count} of its {usable} values are {what}")
    rest = np.array([i for i in range(len(values)) if i not in found], int)
    levels = np.log([beam_levels(values[rest], angles[rest])])
    if monitor is not None and len(rest):
        levels = np.append(levels, [np.log(monitor[rest] / np.median(monitor[rest]))], 0)
    for i, both in zip(rest, levels.T, strict=True):
        level = both[abs(both).argmax()]
        if abs(level) > -np.log1p(-drop):
            word = "weaker" if level < 0 else "stronger"
            found[int(i)] = f"its beam is {abs(np.expm1(level)):.0%} {word} than usual"
    return dict(sorted(found.items()))


def beam_levels(values: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The incident intensity of each projection over the usual one, as its line integrals show it.

    By what each sees of air; where most see none, by how a projection as a whole differs from those at the
    next angles. A projection that sees no air, where others do, is not judged: 1.
    """
    if len(values) < 3:
        return np.ones(len(values))
    level = np.array([air_level(one) for one in values])
    seen = level[~np.isnan(level)]
    if len(seen) > len(level) / 2 and abs(usual := np.median(seen)) < AIR:
        return np.exp(usual - np.where(np.isnan(level), usual, level))
    return _beside_neighbours(values, angles)


def _beside_neighbours(values: np.ndarray, angles: np.ndarray) -> np.ndarray:
    usual = np.median(np.where(np.isnan(values), np.inf, values), 0)
    values = np.where(np.isnan(values), np.where(np.isinf(usual), 0, usual), values)
    order = np.argsort(angles)
    smooth = uniform_filter1d(values[order], SMOOTH, axis=-1)
    differs = smooth - median_filter(smooth, (NEXT, 1, 1), mode="mirror")
    level = np.empty(len(values))
    level[order] = np.quantile(differs, 0.25, axis=(1, 2))
    return np.exp(np.median(level) - level)


def air_level(values: np.ndarray) -> float:
    """The line integral of air in a projection (rows, bins): 0 where the beam is that of the flat fields.

    What the least absorbed values read, where they agree; NaN where they do not, as at the edges of a sample
    that fills the view. Which bins these are may change with the angle: samples are seldom round.
    """
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return float("nan")
    low, level, high = np.quantile(known[: max(FEW, round(OPEN * len(known)))], [0.25, 0.5, 0.75])
    return float(level) if high - low <= max(AIR, ALIKE * level) else float("nan")
