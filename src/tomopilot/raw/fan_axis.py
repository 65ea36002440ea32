"""Where the rotation axis projects to in a fan-beam scan, by the lines that it measures twice."""

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from tomopilot.files.reading import InputFileError
from tomopilot.raw.angles import repeated
from tomopilot.raw.axis import CLEAR, REACH
from tomopilot.raw.records import FanBeam

LOOKS = 64  # angles, and bins, at most, of the lines that are compared
SMOOTH = 2.0  # bins: noise that is interpolated between bins would have the least variance half-way
GAP = np.deg2rad(10)  # between neighbouring angles, at most: projections between them are interpolated
STEPS = (1.0, 0.05)  # bins between the places that are tried, everywhere and near the best


def find_fan_axis(
    values: np.ndarray, angles: np.ndarray, fan: FanBeam, bin_size: float
) -> tuple[float, float]:
    """Bins from the detector's middle to the axis, and how many times better it is than other places.

    The line of a ray under gamma from the axis, p(theta, gamma), is seen again from its other end:
    p(theta + pi - 2 gamma, -gamma) (Kak & Slaney 2001, Sec. 3.4, in our direction of turning). Gamma is
    counted from the axis, so the two agree where the axis is.

    values: (n, rows, bins) line integrals on a flat detector; angles: (n,) radians, over a full turn
    bin_size: metres
    Raises InputFileError where no place is much better than others.
    """
    first = np.setdiff1d(np.arange(len(angles)), [late for late, _ in repeated(angles)])
    theta = angles[first] % (2 * np.pi)
    order = np.argsort(theta)
    theta, row = theta[order], values[first[order], values.shape[1] // 2].astype(float)
    around = np.append(theta, theta[0] + 2 * np.pi)
    smooth = gaussian_filter1d(np.concatenate([row, row[:1]]), SMOOTH, axis=1)
    bins = row.shape[1]
    looks, place = (np.unique(np.linspace(0, n - 1, LOOKS).round().astype(int)) for n in (len(theta), bins))

    def disagreement(offset: float) -> float:
        """Of the lines that are seen twice, as a share of what they are."""
        middle = (bins - 1) / 2 + offset
        gamma = np.arctan((place - middle) * bin_size / fan.source_detector)
        facing = (theta[looks, None] + np.pi - 2 * gamma - theta[0]) % (2 * np.pi) + theta[0]
        turned = np.interp(facing, around, np.arange(len(around)))
        mirrored = np.broadcast_to(2 * middle - place, turned.shape)
        seen = (mirrored >= 0) & (mirrored <= bins - 1)
        again = map_coordinates(smooth, [turned, mirrored], order=1, mode="nearest")[seen]
        once = smooth[np.ix_(looks, place)][seen]
        return float(np.sum((again - once) ** 2) / max(np.sum(again**2 + once**2), np.finfo(float).tiny))

    wide = np.arange(-REACH * bins, REACH * bins + STEPS[0] / 2, STEPS[0])
    found = np.array([disagreement(offset) for offset in wide])
    near = wide[found.argmin()] + np.arange(-STEPS[0], STEPS[0] + STEPS[1] / 2, STEPS[1])
    best = min(near, key=disagreement)
    clear = float(np.median(found) / max(disagreement(best), np.finfo(float).tiny))
    if not clear >= CLEAR or np.diff(around).max() > GAP or found.argmin() in (0, len(wide) - 1):
        raise InputFileError(
            f"the rotation axis cannot be found from {len(theta)} projections of a fan beam: lines that are "
            "seen from both ends agree nowhere much better; expected a full turn of an object inside the "
            "view: say its column with --axis (axis in Python)"
        )
    return float(best), clear
