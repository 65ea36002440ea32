"""What each method of a comparison made of one image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomopilot.report.plots import number, picture, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4


@dataclass(frozen=True)
class Estimate:
    """A method's estimate after so many measurements, h x w."""

    method: str
    count: int
    psnr: float | None
    pixels: np.ndarray


@dataclass(frozen=True)
class SideBySide:
    """An image, and the estimates of all methods at one or several numbers of measurements."""

    name: str
    truth: np.ndarray
    moments: Sequence[Sequence[Estimate]]
    known: str = "truth"  # what is known of the image; of a measured scan the reference


@picture
def tiles(truth: np.ndarray, estimates: Sequence[Estimate], known: str = "truth") -> "Figure":
    """The truth, under the name of what is `known`, and all estimates in its grey scale."""
    from matplotlib.figure import Figure

    shown = [(known, truth)]
    for estimate in estimates:
        quality = number(estimate.psnr)
        reached = "" if quality is None else f"{quality:.1f} dB, "
        shown.append((f"{plain(estimate.method)}\n{reached}{estimate.count} measured", estimate.pixels))
    columns = min(COLUMNS, len(shown))
    rows, (height, width) = math.ceil(len(shown) / columns), truth.shape
    figure = Figure(figsize=(2.6 * columns, rows * (2.6 * height / width + 0.6)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid.flat, shown, strict=False):
        axes.set(title=title, xticks=(), yticks=())
        axes.imshow(image, cmap="gray", vmin=float(truth.min()), vmax=float(truth.max()))
    return figure
