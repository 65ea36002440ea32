"""Whether the angles that an image asked for agree on a direction of its own."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tomopilot.report.plots import BLUE, picture, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIN = 10  # degrees
SURE = 0.95


class Asked(NamedTuple):
    """An image, and the angles that were chosen for it, in degrees."""

    name: str
    image: np.ndarray
    angles: Sequence[float]


def agreement(angles: Sequence[float], period: float = 180.0) -> float:
    """Length of the mean of exp(2 pi i angle / period): 1 where all are equal, 0 where spread evenly.

    >>> agreement([30, 30]), round(agreement([0, 90]), 6)
    (1.0, 0.0)
    """
    turns = np.asarray(angles, float) / period
    return float(np.abs(np.exp(2j * np.pi * turns).mean()))


def by_chance(count: int) -> tuple[float, float]:
    """Agreement of so many random angles: its mean, and what 95 % stay below (Rayleigh distribution).

    >>> tuple(round(value, 2) for value in by_chance(16))
    (0.22, 0.43)
    """
    return math.sqrt(math.pi / (4 * count)), math.sqrt(-math.log(1 - SURE) / count)


@picture
def directions(scans: Sequence[Asked], period: float) -> "Figure":
    """Each image above the angles it asked for; below, how far as many random angles would agree."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(2.0 * len(scans), 5.0), 3.9))
    edges = np.arange(0, period + 1, BIN)
    for i, (name, image, angles) in enumerate(scans):
        axes = figure.add_subplot(2, len(scans), i + 1)
        axes.imshow(image, cmap="gray")
        axes.set(xticks=[], yticks=[], title=plain(name.rpartition("::")[2]))
        polar = figure.add_subplot(2, len(scans), len(scans) + i + 1, projection="polar")
        counts = np.histogram(np.mod(angles, period), edges)[0]
        polar.bar(np.deg2rad(edges[:-1]), counts, np.deg2rad(BIN), align="edge", color=BLUE)
        polar.set(xticks=np.deg2rad([0, 90, 180]), yticks=[], title=f"agreement {agreement(angles):.2f}")
        polar.set_xlim(0, np.deg2rad(period))
    usual, most = by_chance(len(scans[0].angles))
    said = f"random angles: agreement {usual:.2f} in the mean, 95 % below {most:.2f}"
    figure.supxlabel(said, fontsize="medium")
    return figure
