"""Figures of the studies: numbers in, PNG out, in the style of the reports."""

import math
from typing import TYPE_CHECKING, Any

from tomopilot.report.plots import MARKERS, ORDER_COLOURS, PALETTE, integer_ticks, looks, picture, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEAL: Any = {"color": "#909090", "linewidth": 0.8}


@picture
def coverages(
    methods: dict[str, dict],
    levels: list[float],
    covered: dict[str, dict[str, list[float]]],
    floor: list[float],
) -> "Figure":
    """Coverage against the level asked for, one panel per number of measurements.

    covered: method -> measurements -> one value per level
    floor: least possible value per level, shaded
    """
    from matplotlib.figure import Figure

    counts = list(dict.fromkeys(at for curve in covered.values() for at in curve))
    figure = Figure(figsize=(2.7 * len(counts) + 1.2, 3.2))
    for i, at in enumerate(counts):
        axes = figure.add_subplot(1, len(counts), i + 1, aspect="equal", xlim=(0, 1), ylim=(0, 1))
        axes.fill_between(levels, floor, color="#e4e4e4", label=None if i else "cannot be reached")
        axes.plot([0, 1], [0, 1], **IDEAL)
        for (name, curve), look in zip(covered.items(), looks(methods).values(), strict=True):
            axes.plot(levels, curve[at], look.dash, color=look.colour, label=None if i else plain(name))
        axes.set(title=f"{at} measurements", xlabel="nominal level", ylabel="" if i else "pixel coverage")
    figure.legend(loc="outside right upper")
    return figure


@picture
def rank_histograms(methods: dict[str, dict]) -> "Figure":
    """Rank of the truth among the samples, over all pixels, relative to a flat histogram."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(methods) + 1.2, 3.2))
    for i, (name, method) in enumerate(methods.items()):
        axes = figure.add_subplot(1, len(methods), i + 1)
        shades = matplotlib.colormaps[ORDER_COLOURS]
        for j, (at, found) in enumerate(method["curve"].items()):
            relative = [share * len(found["ranks"]) for share in found["ranks"]]
            edges = [rank - 0.5 for rank in range(len(relative) + 1)]
            colour, label = shades(0.85 * j / max(len(method["curve"]) - 1, 1)), f"{at} measurements"
            axes.stairs(relative, edges, color=colour, linewidth=1.4, label=None if i else label)
        axes.axhline(1, **IDEAL)
        axes.set(title=plain(name), xlabel="samples below the truth", ylabel="" if i else "pixels (flat = 1)")
        axes.xaxis.set_major_locator(integer_ticks(8))
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper")
    return figure


@picture
def seconds(rows: list[dict[str, Any]], axis: str, label: str) -> "Figure":
    """Time against a column of the rows: a colour per case, dashed for fewer samples than the most."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6))
    axes = figure.add_subplot()
    cases, most = list(dict.fromkeys(row["case"] for row in rows)), max(row["samples"] for row in rows)
    for case, count in dict.fromkeys((row["case"], row["samples"]) for row in rows):
        own = sorted((r[axis], r["seconds"]) for r in rows if (r["case"], r["samples"]) == (case, count))
        index, dash = cases.index(case), "-" if count == most else "--"
        look: Any = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
        name = plain(f"{case}, {count} samples" if count > 1 else case)
        axes.plot(*zip(*own, strict=True), linestyle=dash, markersize=4, label=name, **look)
    axes.set(xlabel=label, ylabel="seconds", xscale="log", yscale="log")
    ticks = sorted({row[axis] for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.minorticks_off()
    figure.legend(loc="outside right upper")
    return figure


@picture
def alarms(series: dict[str, list[float | None]], foreign: set[str], label: str) -> "Figure":
    """Surprise or strangeness of each measurement, one line a scan; foreign scans stand out.

    series: by image, None where nothing was predicted
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    for name, found in series.items():
        values = [value or math.nan for value in found]
        colour, strength = (PALETTE[1], 0.9) if name in foreign else (PALETTE[0], 0.35)
        axes.plot(range(1, len(values) + 1), values, color=colour, alpha=strength, linewidth=0.9)
    axes.axhline(1, **IDEAL)
    axes.set(yscale="log", xlabel="measurements", ylabel=label)
    for label, colour in (("known", PALETTE[0]), ("foreign", PALETTE[1])):
        axes.plot([], [], color=colour, label=label)
    axes.legend()
    return figure


@picture
def expected_and_real(errors: list[list[float]], margin: float | None) -> "Figure":
    """Real error of each judged estimate against the expected one; below the line, a margin covers it.

    errors: pairs of expected and real rmse, in image units
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.2))
    axes = figure.add_subplot()
    axes.plot(*zip(*errors, strict=True), "o", color=PALETTE[0], alpha=0.5, markersize=4)
    ends = [min(map(min, errors)), max(map(max, errors))]
    axes.plot(ends, ends, **IDEAL)
    if margin:
        axes.plot(ends, [margin * end for end in ends], color=PALETTE[1], label=f"margin {margin:.2f}")
        axes.legend()
    axes.set(
        xscale="log", yscale="log", xlabel="error expected by the samples", ylabel="error of the estimate"
    )
    return figure
