"""Where the rotation axis projects to, by the consistency of parallel-beam projections."""

import numpy as np

from tomopilot.files.reading import InputFileError

ANGLES = 180  # at most that are looked at
ROWS = 4  # detector rows, likewise
SHARE = 0.4  # unknown waves per value, at most, above the lowest frequency: the rest decides
FREE = 8  # values, at least, beyond the waves of the lowest frequency: 10 angles
SPARE = 1  # waves beyond those that the width of the detector allows
REACH = 0.25  # of the detector's width, to either side of its middle, that is searched
STEP = 0.01  # bins
CLEAR = 10.0  # times that the usual disagreement must exceed that at the axis


def find_axis(values: np.ndarray, angles: np.ndarray) -> tuple[float, float]:
    """Bins from the detector's middle to the axis, and how many times better it is than other places.

    At each frequency of the detector, projections of all angles, each also seen from behind, are a sum of few
    waves in the angle (Natterer 1986, Sec. III.3): as many as the frequency times the object's radius.
    What is left of a least-squares fit by these waves is smallest where the axis is; it is a sum of waves in
    the place of the axis, so all places are tried at once. Angles may be any, evenly spaced or not.

    values: (n, rows, bins) line integrals; angles: (n,) radians
    Raises InputFileError where no place is much better than others.
    """
    count, rows, bins = values.shape
    some = np.unique(np.linspace(0, count - 1, min(count, ANGLES)).round().astype(int))
    few = np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).round().astype(int))
    y, theta = values[some][:, few].astype(float), angles[some]
    place = np.arange(bins) - (bins - 1) / 2
    both = np.concatenate([theta, theta + np.pi])
    tried = np.arange(-REACH * bins, REACH * bins + STEP / 2, STEP)
    left = np.zeros_like(tried)
    for k in range(1, bins // 4):
        frequency, waves = 2 * np.pi * k / bins, int(np.ceil(np.pi * k)) + SPARE
        if 2 * waves + 1 > (SHARE * len(both) if k > 1 else len(both) - FREE):
            break
        seen = y @ np.exp(-1j * frequency * place)  # (angles, rows)
        dark = np.zeros_like(seen)
        front = _unfitted(both, waves, np.concatenate([seen, dark]))
        behind = _unfitted(both, waves, np.concatenate([dark, seen.conj()]))
        alone = np.sum(np.abs(front) ** 2 + np.abs(behind) ** 2)
        left += alone + 2 * (np.sum(behind.conj() * front) * np.exp(2j * frequency * tried)).real
    best = int(left.argmin())
    clear = float(np.median(left) / max(left[best], np.finfo(float).tiny)) if left.any() else 0.0
    if clear < CLEAR or best in (0, len(tried) - 1):
        raise InputFileError(
            f"the rotation axis cannot be found from {count} projections over "
            f"{np.rad2deg(np.ptp(angles)):.0f} degrees: no place agrees much better with them than others; "
            "expected a half turn of an object inside the view: say its column with --axis (axis in Python)"
        )
    return float(tried[best]), clear


def _unfitted(angles: np.ndarray, waves: int, values: np.ndarray) -> np.ndarray:
    """What remains of values at angles (m, rows) once the waves are fitted to them."""
    basis = np.exp(1j * np.outer(angles, np.arange(-waves, waves + 1)))
    directions, sizes, _ = np.linalg.svd(basis, full_matrices=False)
    directions = directions[:, sizes > 1e-3 * sizes[0]]
    return values - directions @ (directions.conj().T @ values)
