"""Made-up specimens with a known truth: acrylic discs with holes, as computed tomography shows them.

A disc is drawn finer than the pixels: every hole is a closed outline, stretched, turned and placed where it
meets neither the rim nor another hole. The grey is that of X-rays of many energies, which lose their soft
part on the way: a little darker in the middle than at the rim.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

FINE = 4  # drawing points per pixel, along each axis
POINTS = 64  # of an outline without corners
RIM = (0.42, 0.475)  # radius of a disc, of the image's width
SHIFT = 0.02  # largest distance of its centre from the image's, along each axis, of the image's width
WALL = 0.008  # least thickness of what is left between holes, of the image's width
BLUR = (0.2, 0.5)  # sigma of the resolution, pixels of 128 to the width
CUPPING = 0.3  # largest loss in the middle
TRIES = 12  # places tried for a hole

Outline = Callable[[np.random.Generator], np.ndarray]  # corners (n, 2) about the origin, reaching to about 1


def ellipse(rng: np.random.Generator) -> np.ndarray:
    """A circle, or one that is flattened."""
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    return np.stack([np.cos(angles), rng.uniform(0.5, 1) * np.sin(angles)], 1)


def corners(rng: np.random.Generator) -> np.ndarray:
    """A polygon of three to seven corners about a circle."""
    count = rng.integers(3, 8)
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
    return np.stack([np.cos(angles), rng.uniform(0.6, 1) * np.sin(angles)], 1)


def blob(rng: np.random.Generator) -> np.ndarray:
    """A smooth outline without a name: a circle with waves of two to five periods."""
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    waves = np.arange(2, 6)
    heights = rng.normal(0, 0.25, 4) / waves
    radius = 1 + np.cos(angles[:, None] * waves + rng.uniform(0, 2 * np.pi, 4)) @ heights
    return radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1) / radius.max()


def bar(rng: np.random.Generator) -> np.ndarray:
    """A rectangle up to eight times as long as wide."""
    half = rng.uniform(1 / 8, 1 / 2)
    return np.array([[1, half], [-1, half], [-1, -half], [1, -half]])


OUTLINES: tuple[Outline, ...] = (ellipse, corners, blob, bar)


def disc(seed: int = 0, size: int = 128) -> np.ndarray:
    """A made-up acrylic disc with holes: 0 is air, 1 the rim of the densest disc; float32, rows downwards.

    The seed chooses place and size of the disc, how many holes there are (none to twenty), of one shape or of
    several, and how sharp and even the image is. The disc is 84 to 95 % as wide as the image.

    size: pixels along each side, 16 to 2048; the disc fills a larger picture as it fills a small one
    """
    if not 16 <= size <= 2048:
        raise ValueError(
            f"size is {size}, but a disc has 16 to 2048 pixels along each side; "
            "choose a size in this range and rescale the image for another one"
        )
    rng = np.random.default_rng(seed)
    centre, radius = 0.5 + rng.uniform(-SHIFT, SHIFT, 2), rng.uniform(*RIM)
    at = (np.arange(size * FINE) + 0.5) / (size * FINE)
    distance = np.hypot(at[:, None] - centre[0], at - centre[1]) / radius
    solid = distance < 1
    _pierce(solid, centre, radius, rng)
    level, loss, blur = rng.uniform(0.85, 1), rng.uniform(0, CUPPING), rng.uniform(*BLUR) * size / 128
    fine = solid * (level * (1 - loss * (1 - distance**2))).astype(np.float32)
    fine = gaussian_filter(fine, blur * FINE)
    return fine.reshape(size, FINE, size, FINE).mean((1, 3)).clip(0, 1)


def _pierce(solid: np.ndarray, centre: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Cuts holes into a disc, large ones first; those that find no place are left out."""
    kinds = [rng.integers(len(OUTLINES))] if rng.random() < 0.6 else range(len(OUTLINES))
    wanted, largest = rng.integers(0, 21), radius * rng.uniform(0.12, 0.5)
    taken = ~solid
    for reach in sorted(largest * rng.uniform(0.35, 1, wanted), reverse=True):
        outline = OUTLINES[rng.choice(kinds)](rng)
        for _ in range(TRIES):
            turn, way = rng.uniform(0, 2 * np.pi, 2)
            turned = outline @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            place = centre + radius * np.sqrt(rng.random()) * np.array([np.sin(way), np.cos(way)])
            if not (taken & _inside(place + turned * (reach + WALL), len(solid))).any():
                hole = _inside(place + turned * reach, len(solid))
                solid[hole], taken[hole] = False, True
                break


def _inside(outline: np.ndarray, points: int) -> np.ndarray:
    """The drawing points in a closed outline; corners (row, column) are in parts of the image's width."""
    picture = Image.new("1", (points, points))
    ImageDraw.Draw(picture).polygon([(x, y) for y, x in outline * points - 0.5], fill=1)
    return np.asarray(picture)
