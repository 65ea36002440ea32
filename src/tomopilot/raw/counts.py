"""From counts to line integrals: flat and dark fields, the logarithm, and which values cannot be used."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import chi2, trim_mean

from tomopilot.files.reading import InputFileError
from tomopilot.raw.records import RawScan

TRIMMED = 0.2  # share of flats or darks that is left out at either end, as rays hit single frames
BRIGHT, DIM = 0.9, 0.02  # quantile of the flat field, and the share of it below which a bin is dead
FULL = 255  # the least number of counts at which a detector may end


@dataclass(frozen=True, eq=False)
class Taken:
    """Line integrals as they come out, and what is wrong with single values."""

    values: np.ndarray  # (n, rows, bins) float32; NaN where a value cannot be used
    faults: dict[str, np.ndarray]  # what is wrong: where, (n, rows, bins), or (rows, bins) of all projections
    photons: float | None  # a bin of the open beam, by how the flats differ
    log: dict[str, Any]

    def only(self, keep: np.ndarray) -> "Taken":
        """These projections alone."""
        faults = {what: bad if bad.ndim == 2 else bad[keep] for what, bad in self.faults.items()}
        return replace(self, values=self.values[keep], faults=faults)


def line_integrals_of(raw: RawScan, numbers: np.ndarray, rows: slice) -> Taken:
    """-log((counts - dark) / (flat - dark)) of some projections and detector rows.

    Flats taken at several times are interpolated in between, others averaged, both without the extremes.
    Each projection is divided by its incident intensity where that was recorded.
    """
    frames = raw.projections[numbers].read(rows)
    alike = frames.min((1, 2), keepdims=True) == frames.max((1, 2), keepdims=True)
    faults = {
        "masked by the file": _mask(raw, numbers, rows),
        "not finite": ~np.isfinite(frames),
        "the same": np.broadcast_to(alike & ~alike.all(), frames.shape),  # as of a camera that hung
    }
    if not raw.counts:
        return _taken(frames.astype(np.float32), faults, None, {"values": "line integrals"})
    if raw.flats is None or not len(raw.flats):
        raise InputFileError(
            f"{raw.name} has counts but no flat fields, and without the open beam they are no line "
            "integrals; add its flats, or say that its values are line integrals already"
        )
    dark = np.float32(0) if raw.darks is None else averaged(raw.darks.read(rows))
    opened = raw.flats.read(rows)
    ceiling = _ceiling(raw, max(_top(frames), _top(opened)))
    flats = opened.astype(np.float32) - dark
    groups, times = _groups(flats, raw.flats_after)
    bright = np.quantile(np.nan_to_num(groups), BRIGHT)
    if not bright > 0:
        raise InputFileError(
            f"the flat fields of {raw.name} are not brighter than its dark fields; expected the open beam: "
            "check which is which"
        )
    beam = _between(groups, times, numbers + 0.5)
    if raw.monitor is not None:
        beam = beam * raw.monitor[numbers].astype(np.float32)[:, None, None]
    signal = frames.astype(np.float32) - dark
    dead = ~(groups > DIM * bright).all(0) | (opened >= ceiling).any(0)
    faults |= {
        "dead": dead,
        "saturated": (frames >= ceiling) & ~dead,
        "not above the dark field": (signal <= 0) & ~dead,
    }
    with np.errstate(all="ignore"):
        values = -np.log(signal / beam)
    how = "averaged" if len(groups) == 1 else f"interpolated between {len(groups)} times"
    log = {
        "values": "counts",
        "flats": f"{len(raw.flats)}, {how}",
        "darks": f"{len(raw.darks)}, averaged" if raw.darks else "none: 0 was taken",
        "monitor": "none" if raw.monitor is None else "divided by the recorded incident intensity",
        "saturated from": None if np.isinf(ceiling) else ceiling,
    }
    return _taken(values, faults, photons_of(flats, raw.flats_after), log)


def _taken(
    values: np.ndarray, faults: dict[str, np.ndarray], photons: float | None, log: dict[str, Any]
) -> Taken:
    for bad in faults.values():
        values[np.broadcast_to(bad, values.shape)] = np.nan
    return Taken(values, faults, photons, log)


def _mask(raw: RawScan, numbers: np.ndarray, rows: slice) -> np.ndarray:
    """What the file masks, (n, rows, bins) or (rows, bins) in all projections."""
    if raw.mask is None:
        return np.zeros((len(range(raw.projections.rows)[rows]), raw.projections.bins), bool)
    if len(raw.mask) == 1:
        return raw.mask.read(rows)[0] != 0
    return raw.mask[numbers].read(rows) != 0


def averaged(fields: np.ndarray) -> np.ndarray:
    """The mean of fields (n, rows, bins) without the extremes."""
    return trim_mean(fields.astype(np.float32), TRIMMED, axis=0)


def _groups(flats: np.ndarray, after: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """One flat for each time at which some were taken, and these times in projections."""
    if after is None:
        return averaged(flats)[None], np.zeros(1)
    times = np.unique(after)
    return np.stack([averaged(flats[after == time]) for time in times]), times


def _between(groups: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The flat field at the wanted times, linear between those of groups."""
    place = np.interp(wanted, times, np.arange(len(times)))
    below = np.minimum(place.astype(int), max(0, len(times) - 2))
    share = (place - below).astype(np.float32)[:, None, None]
    following = groups[np.minimum(below + 1, len(times) - 1)]
    return groups[below] * (1 - share) + following * share


def _top(frames: np.ndarray) -> float:
    return float(np.nan_to_num(frames.max(initial=0), nan=0.0, posinf=0.0))


def _ceiling(raw: RawScan, top: float) -> float:
    """The counts at which the detector ends: as said, or a largest value of all bits, such as 4095."""
    if raw.ceiling is not None:
        return raw.ceiling
    full = FULL <= top < 2**53 and top.is_integer() and int(top) & (int(top) + 1) == 0
    return top if full else np.inf


def photons_of(flats: np.ndarray, after: np.ndarray | None = None) -> float | None:
    """How many photons in a bin make flats differ as they do; None where there are too few flats.

    A bin of N photons varies by 1 / N of its mean square. The beam's own change is taken out first; the
    median over bins counts, corrected for that of a chi-squared distribution.
    """
    times = np.zeros(len(flats)) if after is None else after
    found = []
    for time in np.unique(times):
        group = np.nan_to_num(flats[times == time])
        level, free = group.mean((1, 2), keepdims=True), len(group) - 1
        if free < 2 or not (level > 0).all():
            continue
        mean, spread = (group / level).mean(0), (group / level).var(0, ddof=1)
        lit = mean > DIM
        variance = float(np.median(spread[lit] / mean[lit] ** 2)) * free / chi2.median(free)
        found += [1 / variance] if variance > 0 else []
    return float(np.mean(found)) if found else None
