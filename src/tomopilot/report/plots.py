"""Figures of the reports: numbers in, PNG out. Matplotlib is imported only when a figure is drawn."""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
    "text.usetex": False,
}
ORDER_COLOURS = "viridis"  # first measurement dark, last one light
BLUE, ORANGE = "#0072B2", "#D55E00"
PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito
MARKERS = "os^DvP<>"
CLEAR = 5.0  # standard deviations of noise, at which a disagreement has its full colour
NUMBERED = 30  # dots with more measurements than this carry no numbers


@dataclass(frozen=True)
class Pictures:
    """What one scanned image looks like in the end.

    truth: h x w, None on a real scan
    estimate: h x w, posterior mean
    uncertainty: h x w, sample standard deviation
    samples: k x h x w
    by_prior: h x w, where the prior was left and the estimate is by `bare` instead
    disagreement: h x w, see `design.disagreement`
    against: what the data disagree with: the samples' predictions, the estimate, or the prior's one
    slices: where this is the middle slice of a volume, those it was scanned by
    """

    name: str
    truth: np.ndarray | None
    estimate: np.ndarray
    uncertainty: np.ndarray
    samples: np.ndarray
    by_prior: np.ndarray | None = None
    bare: str = ""
    disagreement: np.ndarray | None = None
    against: str = "estimate"
    slices: "tuple[Pictures, ...]" = ()
    beside: tuple[str, str] = (
        "Truth",
        "Absolute error",
    )  # what `truth` is, and the error


class Look(NamedTuple):
    colour: str
    marker: str
    dash: str


def number(value: Any) -> float | None:
    """The value as a float; None where nothing was judged (None, empty, or not finite)."""
    if value is None or value == "" or not math.isfinite(float(value)):
        return None
    return float(value)


def method_label(method: dict, with_prior: bool = False) -> str:
    """The name of a method in legends and tables.

    >>> method_label({"posterior": "soft", "policy": "variance"})
    'soft + variance'
    >>> method_label({"posterior": "soft", "policy": "replay:runs/chip/summary.json::tv+uniform"})
    'soft + angles of tv+uniform'
    >>> method_label({"posterior": "soft", "policy": 'population(slices="/data/chip.npz::0-99")'})
    'soft + population(slices="chip.npz::0-99")'
    """
    policy = re.sub('"[^"]*/', '"', method["policy"])
    if policy.startswith("replay:"):
        source, _, other = policy.removeprefix("replay:").partition("::")
        policy = f"angles of {other or Path(source).name}"
    label = f"{method['posterior']} + {policy}"
    return f"{label} ({method['prior']})" if with_prior and method.get("prior") else label


def labelled(methods: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Methods by name, with their prior where there are several."""
    several = len({method["prior"] for method in methods if method.get("prior")}) > 1
    return {method_label(method, several): method for method in methods}


def looks(methods: dict[str, dict]) -> dict[str, Look]:
    """One colour and marker per label, the same in all figures of a report; dashed without a prior."""
    dashes = ["-" if method["learned"] else "--" for method in methods.values()]
    return dict(zip(methods, map(Look, cycle(PALETTE), cycle(MARKERS), dashes), strict=False))


def picture(draw: "Callable[P, Figure]") -> Callable[P, bytes]:
    """A function that draws a figure becomes one that returns it as PNG, in our style."""

    @wraps(draw)
    def png(*args: P.args, **kwargs: P.kwargs) -> bytes:
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            draw(*args, **kwargs).savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    return png


@picture
def reconstruction(pictures: Pictures, span: Sequence[float] | None = None) -> "Figure":
    """Truth, estimate, error, uncertainty, where data and prior argue, and up to four samples.

    span: intensities shown as black and white; by default those of the truth, or of the estimate
    """
    from matplotlib.figure import Figure

    reference = pictures.estimate if pictures.truth is None else pictures.truth
    black, white = span if span is not None else (np.nanmin(reference), np.nanmax(reference))
    by_prior = pictures.by_prior
    how = "posterior mean" if by_prior is None else f"without the prior, {pictures.bare}"
    tiles = [(f"Estimate ({how})", pictures.estimate, "grey")]
    if pictures.truth is not None:
        error = np.abs(pictures.estimate - pictures.truth)
        what, difference = pictures.beside
        tiles = [(what, pictures.truth, "grey"), *tiles, (difference, error, "heat")]
    if by_prior is not None:
        tiles += [("By the prior, doubtful", by_prior, "grey")]
    if np.isfinite(pictures.uncertainty).any():  # one sample has none
        tiles += [("Uncertainty (standard deviation)", pictures.uncertainty, "heat")]
    if pictures.disagreement is not None:
        tiles += [(f"Data against {pictures.against}", pictures.disagreement, "signed")]
    if len(pictures.samples) > 1:  # else it is the estimate
        tiles += [(f"Sample {i + 1}", sample, "grey") for i, sample in enumerate(pictures.samples[:4])]

    columns = 3 if pictures.truth is None else 4
    rows = math.ceil(len(tiles) / columns)
    height, width = pictures.estimate.shape
    figure = Figure(figsize=(2.75 * columns, rows * (2.2 * height / width + 0.4)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, image, kind) in zip(grid.flat, tiles, strict=False):
        axes.set_title(title)
        if kind == "heat":
            top = float(np.nanpercentile(image, 99.8)) or 1.0
            shown = axes.imshow(image, cmap="magma", vmin=0, vmax=top)
            extend = "max" if np.nanmax(image) > top else "neither"
        elif kind == "signed":
            shown = axes.imshow(image, cmap="RdBu_r", vmin=-CLEAR, vmax=CLEAR)
            extend = "both" if np.nanmax(np.abs(image)) > CLEAR else "neither"
        else:
            shown = axes.imshow(image, cmap="gray", vmin=black, vmax=white)
            extend = "neither"
        bar = figure.colorbar(shown, ax=axes, extend=extend, fraction=0.046, pad=0.03)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
    return figure


@picture
def order(settings: Sequence[float], kind: Mapping[str, Any], designs: int) -> "Figure":
    """The chosen settings in their order: on a circle where they have a period, else on a strip.

    designs: how many there are to choose from
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.4))
    values, numbers = np.asarray(settings, float), np.arange(1, len(settings) + 1)
    if kind["period"]:
        order_polar(figure, values, numbers, kind["period"])
    else:
        order_strip(figure, values, numbers, designs, kind["unit"])
    return figure


def order_polar(figure: "Figure", settings: np.ndarray, order: np.ndarray, period: float) -> None:
    settings = np.mod(settings, period)
    figure.set_layout_engine("none")
    within = period <= 180 and bool(((settings >= 0) & (settings <= 180)).all())
    box = (0.09, -0.1, 0.82, 1.26) if within else (0.09, 0.09, 0.82, 0.82)  # of the whole circle
    axes: Any = figure.add_axes(box, projection="polar")
    axes.set_thetamax(180 if within else 360)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_xticks(np.deg2rad(np.arange(0, 181 if within else 360, 30)))
    axes.vlines(np.deg2rad(settings), 0, 1, color="#b8b8b8", linewidth=0.7)
    order_dots(axes, np.deg2rad(settings), 0.3 + 0.64 * order / max(order.size, 1), order)
    if within and order.size > NUMBERED:
        bar = figure.add_axes((0.25, 0.14, 0.5, 0.03))
        figure.colorbar(axes.collections[-1], cax=bar, label="measurement", orientation="horizontal")


def order_strip(figure: "Figure", settings: np.ndarray, order: np.ndarray, designs: int, unit: str) -> None:
    axes = figure.add_subplot()
    last = max([*settings, designs - 1])
    axes.set_xlim(min([*settings, 0]) - 1, last + 1)
    axes.set_ylim(order.size + 0.7, 0.3)
    axes.yaxis.set_major_locator(integer_ticks(8))
    axes.grid(visible=False)
    axes.vlines(settings, 0.3, order.size + 0.7, color="#c8c8c8", linewidth=0.7)
    order_dots(axes, settings, order, order)
    axes.set(xlabel=unit, ylabel="measurement")


def order_dots(axes: "Axes", x: np.ndarray, y: np.ndarray, order: np.ndarray) -> None:
    numbered = order.size <= NUMBERED
    latest = max(order.size, 2)
    edge: Any = {"edgecolor": "white", "linewidth": 0.5, "clip_on": False, "zorder": 3}
    axes.scatter(x, y, 105 if numbered else 16, order, cmap=ORDER_COLOURS, vmin=1, vmax=latest, **edge)
    if not numbered:
        return
    for angle, radius, i in zip(x, y, order, strict=True):
        ink = "white" if i < 0.65 * latest else "black"
        axes.text(angle, radius, str(i), color=ink, size=6.5, ha="center", va="center_baseline", zorder=4)


@picture
def quality(image: dict) -> "Figure":
    """PSNR, where judged, and spread against the number of measurements."""
    from matplotlib.figure import Figure

    wanted = {"psnr": ("PSNR (dB)", BLUE, "o"), "spread": ("spread", ORANGE, "s")}
    found = [key for key in wanted if any(number(value) is not None for value in image.get(key) or [])]
    figure = Figure(figsize=(5.2, 3.4))
    grid = figure.subplots(max(len(found), 1), 1, sharex=True, squeeze=False)
    for axes, key in zip(grid.flat, found, strict=False):
        label, colour, marker = wanted[key]
        judged = [(i, value) for i, value in enumerate(map(number, image[key]), 1) if value is not None]
        axes.plot(*zip(*judged, strict=True), color=colour, marker=marker, markersize=3.5, linewidth=1.4)
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(integer_ticks(8))
        axes.set_xlim(0.5, len(image["designs"]) + 0.5)
    figure.axes[-1].set_xlabel("measurements")
    figure.align_ylabels()
    return figure


def judged(method: dict, metric: str) -> list[tuple[int, float, float | None]]:
    """Count, mean and two standard errors (None of a single scan) where the metric was judged."""
    points = sorted((int(count), point) for count, point in method["curve"].items())
    values = [(n, number(p.get(f"{metric}_mean")), number(p.get(f"{metric}_two_se"))) for n, p in points]
    return [(n, mean, error) for n, mean, error in values if mean is not None]


@picture
def curves(methods: dict[str, dict], metric: str, label: str, *, ideal: float | None = None) -> "Figure":
    """The mean of a metric against measurements, with bands of two standard errors.

    methods: label -> entry of the summary's `methods`
    ideal: where a grey line is drawn
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6))
    axes = figure.add_subplot()
    if ideal is not None:
        axes.axhline(ideal, color="#909090", linewidth=0.8)
    for (name, method), look in zip(methods.items(), looks(methods).values(), strict=True):
        if not (points := judged(method, metric)):
            continue
        band(axes, points, look).set_label(plain(name))
    axes.set(xlabel="measurements", ylabel=label)
    axes.xaxis.set_major_locator(integer_ticks(8))
    figure.legend(loc="outside right upper")
    return figure


def band(axes: Any, points: Sequence[tuple[int, float, float | None]], look: Look) -> Any:
    """A line through the means, in a band of its errors; returns the line."""
    counts, mean, error = np.array([(n, m, 0 if e is None else e) for n, m, e in points]).T
    axes.fill_between(counts, mean - error, mean + error, color=look.colour, alpha=0.15, linewidth=0)
    (line,) = axes.plot(counts, mean, look.dash, color=look.colour, marker=look.marker, markersize=3.5)
    return line


@picture
def chosen(panels: Mapping[str, tuple[Sequence[float], str]], kind: Mapping[str, Any]) -> "Figure":
    """How often each setting was chosen, one panel per method: label -> settings, colour."""
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    period, polar = kind["period"], kind["period"] is not None
    figure = Figure(figsize=(3.3 * columns, 2.2 * rows))
    last = max(max(settings) for settings, _ in panels.values())
    step = 10 if polar else math.ceil((last + 1) / 16)
    bins = np.arange(0, (period if polar else last + step) + 1, step)
    sums = {name: np.histogram(wrapped(settings, period), bins)[0] for name, (settings, _) in panels.items()}
    edges = np.deg2rad(bins) if polar else bins
    for i, (name, (_, colour)) in enumerate(panels.items()):
        axes = circle(figure, rows, columns, i, period) if polar else figure.add_subplot(rows, columns, i + 1)
        width = np.diff(edges)
        axes.bar(edges[:-1], sums[name], width, align="edge", color=colour, edgecolor="white", linewidth=0.6)
        axes.set_ylim(0, 1.05 * max(1, *map(max, sums.values())))
        axes.yaxis.set_major_locator(integer_ticks(3))
        if polar:
            axes.set_title(plain(name), y=0.86)
        else:
            axes.set(title=plain(name), xlabel=kind["unit"])
    return figure


def circle(figure: "Figure", rows: int, columns: int, i: int, period: float) -> Any:
    figure.set_layout_engine("none")
    row, column = divmod(i, columns)
    width, height = 0.74 / columns, 0.74 * 1.5 / rows  # of the whole circle, in a cell of 3.3 by 2.2 inches
    centre_x, centre_y = (column + 0.5) / columns, 1 - (row + 0.54) / rows
    axes: Any = figure.add_axes(
        (centre_x - width / 2, centre_y - height / 2, width, height), projection="polar"
    )
    axes.set_thetamax(period)
    axes.set_xticks(np.deg2rad(np.arange(0, period + (period < 360), 30)))
    axes.tick_params(labelsize=7)
    return axes


def wrapped(settings: Sequence[float], period: float | None) -> np.ndarray:
    values = np.asarray(settings, float).round(6)  # from radians, 10 degrees may come as 9.999999999
    return np.mod(values, period) if period else values


def integer_ticks(most: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, integer=True)


def plain(label: str) -> str:
    return label.replace("$", r"\$")  # a dollar would start a formula
