"""Figures of several comparisons side by side, as a paper shows them: curves, bars, reconstructions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tomopilot.report.plots import MARKERS, PALETTE, Look, band, integer_ticks, judged, picture, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Methods = Mapping[str, Mapping[str, Any]]  # by label, an entry of a summary's `methods`
DASHES = ("-", "--", ":", "-.")
TARGET: Any = {"color": "#909090", "linewidth": 0.8, "linestyle": ":"}


class Column(NamedTuple):
    """What one panel shows: a comparison, and which of its metrics."""

    title: str
    methods: Methods
    metric: str = "psnr"
    label: str = "PSNR (dB)"


@picture
def curves(rows: Sequence[Sequence[Column]], target: float | None = None) -> "Figure":
    """Mean of a metric against measurements with bands of two standard errors, a panel for each comparison.

    A method looks the same in all panels. target: where PSNR panels have a dotted line
    """
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for panel in row for name in panel.methods)
    known = {name: panel.methods[name] for row in rows for panel in row for name in panel.methods}
    shown = styles({name: known[name] for name in names})
    width = max(map(len, rows))
    figure = Figure(figsize=(3.3 * width + 1.6, 2.7 * len(rows)))
    grid = figure.subplots(len(rows), width, squeeze=False)
    drawn: dict[str, Any] = {}
    for axes_row, row in zip(grid, rows, strict=True):
        for axes in axes_row[len(row) :]:
            axes.set_axis_off()
        for axes, panel in zip(axes_row, row, strict=False):
            if target is not None and panel.metric == "psnr":
                axes.axhline(target, **TARGET)
            for name, method in panel.methods.items():
                if points := judged(dict(method), panel.metric):
                    drawn[name] = band(axes, points, shown[name])
            axes.set(title=plain(panel.title), xlabel="measurements", ylabel=panel.label)
            axes.xaxis.set_major_locator(integer_ticks(6))
    figure.legend(drawn.values(), map(plain, drawn), loc="outside right upper")
    return figure


def styles(methods: Methods) -> dict[str, Look]:
    """A colour for each reconstruction and a dash for each policy, so that pairs are seen as such."""
    makers = list(dict.fromkeys((m["posterior"], m.get("prior")) for m in methods.values()))
    policies = list(dict.fromkeys(m["policy"] for m in methods.values()))
    found = {}
    for name, method in methods.items():
        maker, policy = (
            makers.index((method["posterior"], method.get("prior"))),
            policies.index(method["policy"]),
        )
        dash, marker = DASHES[policy % len(DASHES)], MARKERS[policy % len(MARKERS)]
        found[name] = Look(PALETTE[maker % len(PALETTE)], marker, dash)
    return found


@picture
def spent(found: Mapping[str, tuple[Methods, Mapping[str, tuple[float, float]]]]) -> "Figure":
    """Measurements against seconds of computing, a panel for each comparison; best is low and left.

    found: by title, the methods, and (measurements, seconds) of each
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    known = {name: method for methods, _ in found.values() for name, method in methods.items()}
    shown, drawn = styles(known), {}
    figure = Figure(figsize=(3.3 * len(found) + 1.6, 3.0))
    grid = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (title, (_, points)) in zip(grid, found.items(), strict=True):
        for name, (measurements, seconds) in points.items():
            look = shown[name]
            filled = "white" if look.dash != "-" else look.colour
            (drawn[name],) = axes.plot(
                seconds, measurements, color=look.colour, marker=look.marker, ls="", markerfacecolor=filled
            )
        axes.set(title=plain(title), xlabel="seconds of computing", xscale="log", ylim=(0, None))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    grid[0].set_ylabel("measurements")
    figure.legend(drawn.values(), map(plain, drawn), loc="outside right upper")
    return figure


@picture
def bars(panels: Mapping[str, Mapping[str, tuple[float, float | None]]], label: str) -> "Figure":
    """One bar a method, with two standard errors, on a logarithmic scale.

    panels: by title, mean and two standard errors of each method
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(panels) + 0.6, 3.2))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, found) in zip(grid, panels.items(), strict=True):
        places = range(len(found))
        means, errors = zip(*((mean, error or 0.0) for mean, error in found.values()), strict=True)
        axes.bar(places, means, yerr=errors, color="#0072B2", width=0.6, capsize=3)
        axes.set_xticks(places, [plain(name) for name in found], rotation=30, ha="right")
        axes.set(title=plain(title), yscale="log")
    grid[0].set_ylabel(label)
    return figure


class Shot(NamedTuple):
    """What one method had after so many measurements, and the settings that it had measured."""

    estimate: np.ndarray
    psnr: float
    settings: Sequence[float]


@picture
def gallery(truth: np.ndarray, shots: Mapping[str, Mapping[int, Shot]], period: float | None) -> "Figure":
    """Reconstructions of one image: a row a method, a column a number of measurements, with their angles.

    period: of the settings; their angles are small polar plots, where it is None they are left out
    """
    from matplotlib.figure import Figure

    counts = sorted({count for of_method in shots.values() for count in of_method})
    figure = Figure(figsize=(2.2 * (len(counts) + 1), 2.45 * len(shots)))
    grid = figure.subplots(len(shots), len(counts) + 1, squeeze=False)
    span = {"vmin": truth.min(), "vmax": truth.max(), "cmap": "gray"}
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (name, of_method) in zip(grid, shots.items(), strict=True):
        line[0].imshow(truth, **span)
        line[0].set_title(plain(name), fontsize=9)
        for axes, count in zip(line[1:], counts, strict=True):
            if count not in of_method:
                continue
            shot = of_method[count]
            axes.imshow(shot.estimate, **span)
            axes.set_title(f"{count}: {shot.psnr:.1f} dB", fontsize=9)
            if period is not None:
                _directions(axes, shot.settings, period)
    return figure


def _directions(axes: Any, settings: Sequence[float], period: float) -> None:
    """Measured angles as rays of a small circle in a corner."""
    inset = axes.inset_axes((0.0, 0.0, 0.3, 0.3))
    angles = np.deg2rad(np.asarray(settings) % period)
    rays = np.stack([np.cos(angles), np.sin(angles)])
    inset.plot(*np.stack([-rays, rays], 1), color="#D55E00", linewidth=0.7)
    inset.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=(), yticks=())
    inset.patch.set_alpha(0.8)
