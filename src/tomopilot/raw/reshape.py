"""What is done to line integrals on the detector: filling, stripes, cropping and binning."""

import numpy as np
from scipy.ndimage import median_filter


def filled(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values (n, rows, bins) with masked ones on the line between their known neighbours; 0 where none is."""
    values = np.where(mask, 0, values).astype(np.float32)
    place = np.arange(values.shape[-1])
    for i, row in np.argwhere(mask.any(2)):
        good = ~mask[i, row]
        if good.any():
            values[i, row] = np.interp(place, place[good], values[i, row][good])
    return values


def without_stripes(values: np.ndarray, width: int) -> np.ndarray:
    """Values (n, rows, bins) without what a bin adds to all projections, which reconstructs to rings.

    Each bin's values are sorted, a median over `width` neighbouring bins is taken of equal ranks, and the
    original order is restored (Vo, Atwood & Drakopoulos 2018, Optics Express 26, 28396, Algorithm 3).
    """
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, 0)
    smooth = median_filter(ranked, (1, 1, width), mode="nearest")
    clean = np.empty_like(values)
    np.put_along_axis(clean, order, smooth, 0)
    return clean


def rebinned(values: np.ndarray, mask: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over `bins` wider bins of equal width, and which of them are masked.

    A bin that is cut counts in proportion. Masked values do not count; where they are more than half of a
    wider bin, it is masked.
    """
    width = values.shape[-1] / bins
    known, total = (_sums(part, bins) for part in (~mask, np.where(mask, 0, values)))
    dead = known < width / 2
    return (total / np.where(known > 0, known, 1)).astype(np.float32), dead


def _sums(values: np.ndarray, bins: int) -> np.ndarray:
    """Sums over wider bins, of values spread evenly over each bin."""
    running = np.cumsum(values, axis=-1, dtype=float)
    running = np.concatenate([np.zeros_like(running[..., :1]), running], -1)
    edges = np.linspace(0, values.shape[-1], bins + 1)
    below = np.minimum(edges.astype(int), values.shape[-1] - 1)
    share = edges - below
    return np.diff(running[..., below] * (1 - share) + running[..., below + 1] * share, axis=-1)
