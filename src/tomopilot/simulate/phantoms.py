"""Made-up specimens with a known truth: routed metal levels of an integrated circuit.

A level is drawn on its routing grid (tracks at a fixed pitch), finer than the pixels. A slice then sums the
metal and via layers weighted by a Gaussian axial resolution: it is bright inside a level, grey near its faces
(where vias shine through), and between two levels it shows mostly vias and a trace of either metal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from tomopilot.simulate.discs import disc

FINE = 4  # drawing points per pixel, along each axis
BLUR = 0.53  # sigma of the in-plane resolution, pixels


@dataclass(frozen=True)
class Level:
    """How one metal level is routed; lengths in pixels at zoom 1, wires run along the rows."""

    share: float  # of all slices
    pitch: float
    width: float
    pad: float  # side of the square under a via
    via: float  # side of the via
    run: float  # mean length of a straight run beyond its first step, columns
    turn: float  # chance that a jog and another run follow
    fold: float  # chance that the run after a jog may go back
    tries: tuple[float, float]  # wires tried per grid node, from, to
    period: int = 0  # tracks from one power strap to the next, 0 for none
    strap: float = 0.0  # width of a power strap
    fingers: float = 0.0  # about the chance of a bar out of the strap, per column and side
    across: float = 0.0  # chance that a wire begins across the tracks
    upright: float = 0.0  # chance that the wires run along the columns instead


LEVELS = (
    Level(0.30, 4.2, 2.0, 2.4, 1.9, 1.8, 0.75, 1.0, (0.6, 1.2), 9, 4.8, fingers=0.25, across=0.5),
    Level(0.25, 4.2, 1.9, 3.3, 1.9, 11.0, 0.35, 0.1, (0.03, 0.15), 8, 5.2),
    Level(0.11, 4.2, 2.0, 2.7, 1.9, 5.0, 0.45, 0.1, (0.03, 0.15), upright=0.2),
    Level(0.27, 4.8, 1.9, 3.0, 1.9, 12.0, 0.15, 0.0, (0.02, 0.10), upright=1.0),
    Level(0.07, 8.5, 3.8, 4.4, 2.5, 7.0, 0.30, 0.1, (0.03, 0.10), upright=0.4),
)


class Drawing:
    """One level with its vias to the levels below and above, True where filled; `points` along each side.

    A node is a (track, column) of the routing grid, which reaches a little beyond the picture.
    """

    def __init__(self, level: Level, zoom: float, points: int, rng: np.random.Generator):
        self.level, self.scale, self.rng = level, zoom * FINE, rng
        self.metal, self.below, self.above = np.zeros((3, points, points), dtype=bool)
        self.pad = rng.choice((level.width, level.pad), p=(0.3, 0.7))
        self.pitch = level.pitch * self.scale
        self.shift = rng.uniform(-2, -1, 2) * self.pitch
        self.size = int(points / self.pitch) + 4
        self.taken = np.zeros((self.size, self.size), dtype=bool)

    def bar(self, layer: np.ndarray, start: ArrayLike, stop: ArrayLike, width: float) -> None:
        """Fill the bar with square ends from node to node; `width` in pixels at zoom 1."""
        ends = np.sort(np.vstack((np.asarray(start), np.asarray(stop))), axis=0) * self.pitch + self.shift
        low = np.rint(ends[0] - width * self.scale / 2).astype(int)
        high = low + np.rint(ends[1] - ends[0] + width * self.scale).astype(int)
        (top, left), (bottom, right) = np.maximum([low, high], 0)
        layer[top:bottom, left:right] = True

    def claim(self, corners: Sequence[np.ndarray] | ArrayLike) -> bool:
        """Reserve the nodes of a wire, or the rectangle between two corners, if all are still free."""
        corners = np.asarray(corners)
        if corners.min() < 0 or corners.max() >= self.size:
            return False
        low, high = np.minimum(corners[:-1], corners[1:]), np.maximum(corners[:-1], corners[1:]) + 1
        legs = [np.s_[top:bottom, left:right] for (top, left), (bottom, right) in zip(low, high, strict=True)]
        free = not any(self.taken[leg].any() for leg in legs)
        for leg in legs if free else ():
            self.taken[leg] = True
        return free

    def wire(self, corners: np.ndarray) -> None:
        """Draw a wire if there is room, with a pad and a via up or down at most of its ends."""
        if not self.claim(corners):
            return
        for start, stop in pairwise(corners):
            self.bar(self.metal, start, stop, self.level.width)
        for end in (corners[0], corners[-1]):
            if self.rng.random() < 0.8:
                self.bar(self.metal, end, end, self.pad)
                self.bar(self.above if self.rng.random() < 0.5 else self.below, end, end, self.level.via)

    def power(self, start: np.ndarray, stop: np.ndarray, width: float, dotted: float) -> None:
        """Draw a power bar; with probability `dotted` rows of vias join it to the levels beside."""
        margin = (0 if self.level.fingers else 1, 0)
        self.claim((start - margin, stop + margin))
        self.bar(self.metal, start, stop, width)
        if self.rng.random() < dotted:
            count = int(np.max(stop - start)) // (2 if width > self.level.pitch else 1)
            for via in np.linspace(start, stop, count + 1):
                self.bar(self.above, via, via, self.level.via)
                self.bar(self.below, via, via, self.level.via)

    def comb(self, track: int) -> None:
        """Let narrow and wide bars hang on both sides of a power strap, in stretches like cells."""
        odds = self.rng.choice((0.2, 0.6, 2.6), (self.size // 6 + 1, 2), p=(0.4, 0.3, 0.3))
        chance = self.level.fingers * np.repeat(odds, 6, axis=0)[: self.size]
        hangs = self.rng.random((self.size, 2)) < chance
        for column, side in np.argwhere(hangs):
            way, extra = 2 * side - 1, self.rng.choice((0, 1, 2), p=(0.76, 0.14, 0.1))
            root, tip = track + way, track + way * self.rng.integers(2, self.level.period // 2 + 1)
            if self.claim(((root, column), (tip, column + extra))):
                middle, width = column + extra / 2, self.level.width + extra * self.level.pitch
                self.bar(self.metal, (track, middle), (tip, middle), width)


def draw(level: Level, zoom: float, points: int, rng: np.random.Generator) -> Drawing:
    """Route one level at random: power first, then what hangs on it, then wires, denser in some places."""
    drawing = Drawing(level, zoom, points, rng)
    last = drawing.size - 1
    dotted = rng.choice((0.0, 0.1, 1.0, 1.0)) if not level.fingers else 0.1
    straps = range(rng.integers(level.period), last + 1, level.period) if level.period else ()
    for track in straps:
        drawing.power(np.array((track, 0)), np.array((track, last)), level.strap, dotted)
    for track in straps:
        drawing.comb(track)
    if not level.period and rng.random() < 0.4:  # landings of a strap that crosses on another level
        track = rng.integers(last - 3)
        for column in range(rng.integers(8), last, 8 * rng.integers(1, 3)):
            drawing.power(np.array((track, column)), np.array((track + 3, column)), level.pad, 1.0)
    crowd = rng.uniform(0.8, 2.0, (2, 2))
    for _ in range(int(rng.uniform(*level.tries) * drawing.taken.size)):
        node = (rng.beta(*crowd.T) * drawing.size).astype(int)
        flip = -1 if rng.random() < level.across else 1
        drawing.wire(walk(level, node[::flip], last, rng)[:, ::flip])
    return drawing


def walk(level: Level, node: np.ndarray, last: int, rng: np.random.Generator) -> np.ndarray:
    """Corners of a random wire, one a row: runs along a track, joined by short jogs to other tracks."""
    (track, column), way = node, rng.choice((-1, 1))
    corners = [(track, column)]
    while True:
        column = np.clip(column + way * (1 + rng.geometric(1 / level.run)), 0, last)
        corners.append((track, column))
        if rng.random() > level.turn:
            return np.array(corners)
        track += rng.choice((-3, -2, -1, 1, 2, 3))
        corners.append((track, column))
        if rng.random() < level.fold:
            way = rng.choice((-1, 1))


def axial_weights(depth: float, metal: float = 4.0, via: float = 2.7) -> np.ndarray:
    """Share of a slice in the metal above, the vias up to it, this level's metal, and the vias below.

    Lengths in sigmas of the Gaussian axial resolution; `depth` counts downwards from the metal's upper face.
    """
    return np.diff(ndtr(np.array([-np.inf, -depth - via, -depth, metal - depth, np.inf])))


def slice_(size: int, rng: np.random.Generator) -> np.ndarray:
    """One slice through a random level at a random height, mostly inside its metal; see `chip`."""
    level = LEVELS[rng.choice(len(LEVELS), p=[level.share for level in LEVELS])]
    zoom = rng.choice((2.0, 1.0, 2 / 3), p=(0.3, 0.5, 0.2))
    weights = axial_weights(rng.uniform(0, 4) if rng.random() < 0.92 else rng.uniform(-1.35, 0))
    one = draw(level, zoom, size * FINE, rng)
    other = draw(LEVELS[3], zoom, size * FINE, rng)
    layers = (other.metal.T, one.above, one.metal, one.below)  # as in axial_weights
    fine = np.zeros(one.metal.shape, dtype=np.float32)
    for weight, layer in zip(weights, layers, strict=True):
        fine += np.float32(weight) * layer
    fine = gaussian_filter(fine, BLUR * FINE, mode="nearest")
    image = fine.reshape(size, FINE, size, FINE).mean((1, 3))
    return image.T if rng.random() < level.upright else image


def chip(seed: int = 0, size: int = 128) -> np.ndarray:
    """A slice of a made-up chip: metal fraction, 0 (dielectric) to 1 (metal), float32, rows downwards.

    The seed chooses the level, zoom, height and wires; nearly empty slices are drawn again.

    size: pixels along each side, 16 to 2048; a larger picture shows more wires, not larger ones
    """
    if not 16 <= size <= 2048:
        raise ValueError(
            f"size is {size}, but a chip slice has 16 to 2048 pixels along each side; "
            "choose a size in this range and crop or tile the slice for another one"
        )
    rng = np.random.default_rng(seed)
    image = slice_(size, rng)
    while image.mean() < 0.03:
        image = slice_(size, rng)
    return np.clip(image, 0, 1).astype(np.float32, order="C")


PHANTOMS: dict[str, Callable[..., np.ndarray]] = {"chip": chip, "disc": disc}
