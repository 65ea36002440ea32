"""The page of a comparison: what was found, estimates side by side, curves, effort, chosen designs."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tomopilot.report import plots
from tomopilot.report.page import (
    MISSING,
    figure,
    header,
    plural,
    ranged,
    show,
    table,
    write_page,
)
from tomopilot.report.plots import judged, labelled, looks, method_label, number
from tomopilot.report.side_by_side import Estimate, SideBySide, tiles
from tomopilot.scan.paired import names as names_of


def compare_report(out: Path, summary: dict, rows: list[dict], made: SideBySide | None = None) -> None:
    """The page of a comparison, `report.html`, with a PNG beside it of each of its figures.

    summary: `methods` holds the curves, `findings` the contrasts, `kind` the words for what was measured
    rows: those of `results.csv`
    made: of one image by all methods
    """
    several = len({method["prior"] for method in summary["methods"] if method.get("prior")}) > 1
    methods = labelled(summary["methods"])
    parts = [header("Tomopilot comparison", compare_headline(summary["findings"], methods, rows), summary)]
    parts.append(findings_section(summary["findings"], methods))
    if made is not None:
        parts += [moment_section(out, made, estimates) for estimates in reversed(made.moments)]
    named = {"psnr": ("PSNR", "PSNR (dB)"), "ssim": ("SSIM", "SSIM")}
    named["estimate_seconds"] = ("Time of an estimate", "seconds")
    for metric, (name, label) in named.items():
        if any(judged(method, metric) for method in methods.values()):
            parts.append(f"<h2>{name} against measurements</h2>")
            png = plots.curves(methods, metric, label)
            parts.append(
                figure(out, f"{metric}.png", png, f"{name} of each method", bands_caption(methods, rows))
            )
            parts.append(table_of_counts(methods, metric) if metric == "psnr" else "")
    parts.append(table_of_methods(methods))
    parts.append(chosen_section(out, methods, rows, summary["kind"], several))
    write_page(out, "Tomopilot comparison", parts)


def compare_headline(found: list[dict], methods: dict[str, dict], rows: list[dict]) -> str:
    """The first contrast in a sentence, and how much was compared."""
    return ". ".join([*map(sentence, found[:1]), extent(methods, rows, bare=not found)])


def sentence(finding: dict) -> str:
    """What a contrast found.

    >>> first, second = ({"posterior": "auto", "policy": policy} for policy in ("variance", "uniform"))
    >>> found = {"first": first, "second": second, "target_db": 30.0}
    >>> found |= {"measurements": [12.0, 16.0], "saved": 0.25, "difference_db": {16: (0.8, 0.3, 6)}}
    >>> print(sentence(found).replace(": ", ":\\n"))
    auto + variance needs 12 measurements to 30 dB, auto + uniform 16:
    25 % of the dose saved (+0.8 ± 0.3 dB at 16)
    """
    ours, theirs = (method_label(finding[place]) for place in ("first", "second"))
    (first, second), target = finding["measurements"], finding["target_db"]
    if first is None:
        return f"{ours} does not reach the {target:.3g} dB that {theirs} has after {second:.3g} measurements"
    return (
        f"{ours} needs {first:.3g} measurements to {target:.3g} dB, {theirs} {second:.3g}: "
        f"{saved(finding)} of the dose {'saved' if finding['saved'] >= 0 else 'lost'}{apart(finding)}"
    )


def apart(finding: dict) -> str:
    """The difference on the same images at the last judged count, with its error where there is one."""
    if not finding["difference_db"]:
        return ""
    count, (mean, error, _) = [*finding["difference_db"].items()][-1]
    band = "" if error is None else f" ± {error:.1f}"
    return f" ({mean:+.1f}{band} dB at {count})"


def saved(finding: dict) -> str:
    return f"{100 * abs(finding['saved']):.0f} %"


def findings_section(findings: list[dict], methods: dict[str, dict]) -> str:
    """Each contrast: measurements to the same quality, dose, and differences on the same images."""
    names = {names_of(method): name for name, method in methods.items()}
    heads = ["Method", "Compared with", "Target (dB)", "Measurements", "Compared: measurements", "Dose saved"]
    heads += ["Better by (dB)", "Image pairs"]
    lines = []
    for found in findings:
        (first, second), last = found["measurements"], [*found["difference_db"].items()][-1:]
        count, (apart, error, pairs) = last[0] if last else ("", (None, None, 0))
        lines.append(
            [
                *(escape(names[names_of(found[place])]) for place in ("first", "second")),
                show(found["target_db"], ".1f"),
                show(first, ".3g", missing="not reached"),
                show(second, ".3g"),
                MISSING if found["saved"] is None else f"{100 * found['saved']:.0f} %",
                MISSING if apart is None else f"{show_mean((apart, error), math.inf)} at {count}",
                str(pairs),
            ]
        )
    note = (
        "Target: 30 dB where both methods pass it, else what the method compared with has at its last judged "
        "count; measurements are interpolated between judged counts, and at the first judged count may be "
        "fewer. Better by: the mean difference on the same images and seeds ± two standard errors."
    )
    return f'<h2>What was found</h2>{table(heads, lines)}<p class="note">{note}</p>' if lines else ""


def moment_section(out: Path, made: SideBySide, estimates: Sequence[Estimate]) -> str:
    """The truth and what each method made of it after so many measurements."""
    after = ranged(sorted({estimate.count for estimate in estimates}))
    title = f"{made.name} after {plural(after, 'measurement')}"
    file = f"estimates-{estimates[0].count}.png"
    caption = f"The {made.known} and each method's estimate, all in the grey scale of the {made.known}."
    png = tiles(made.truth, estimates, made.known)
    return f"<h2>{escape(title)}</h2>" + figure(out, file, png, f"Estimates: {title}", caption)


def extent(methods: dict[str, dict], rows: list[dict], bare: bool) -> str:
    """How much was compared; `bare`: and which method reached 30 dB first."""
    images, seeds = tally(rows)
    longest = max((int(row["count"]) for row in rows), default=0)
    words = [f"{plural(len(methods), 'method')}, {plural(images, 'image')}, {plural(seeds, 'seed')}"]
    words += [f"up to {plural(longest, 'measurement')}"]
    reached = {
        name: to_30db for name, m in methods.items() if (to_30db := number(m.get("measurements_to_30db")))
    }
    if reached and bare:
        first = min(reached, key=lambda name: reached[name])
        words += [f"30 dB first with {first} ({reached[first]:.3g})"]
    return ", ".join(words)


def bands_caption(methods: dict[str, dict], rows: list[dict]) -> str:
    images, seeds = tally(rows)
    scans = sorted(
        {int(n) for method in methods.values() for p in method["curve"].values() if (n := p.get("n"))}
    )
    points = f"; {ranged(scans)} scans per point" if scans else ""
    caption = f"Lines: mean over {plural(images, 'image')} and {plural(seeds, 'seed')}{points}. "
    if scans == [1]:
        return caption + "No bands: one scan has no standard error."
    caption += "Bands: plus and minus two standard errors of the mean, between scans. "
    return caption + "Dashed: without a learned prior."


def table_of_counts(methods: dict[str, dict], metric: str) -> str:
    points = {name: {n: (m, e) for n, m, e in judged(method, metric)} for name, method in methods.items()}
    rows = []
    for n in sorted(set().union(*points.values())):
        best = max(column[n][0] for column in points.values() if n in column)
        rows.append([str(n), *(show_mean(column.get(n), best) for column in points.values())])
    note = '<p class="note">PSNR in dB, mean ± two standard errors; bold: the highest mean of the row.</p>'
    return table(["Measurements", *map(escape, methods)], rows) + note


def show_mean(point: tuple[float, float | None] | None, best: float) -> str:
    if point is None:
        return MISSING
    value, error = point
    text = show(value, ".2f") if error is None else f"{value:.2f} ± {error:.2f}"
    return f"<b>{text}</b>" if value == best else text


def table_of_methods(methods: dict[str, dict]) -> str:
    heads = ["Method", "Images", "Measurements to 30 dB", "Seconds per step", "Seconds per judged estimate"]
    rows = [
        [
            escape(name),
            show(method.get("images"), ".0f"),
            show(method.get("measurements_to_30db"), ".3g", missing="not reached"),
            show(method.get("seconds_per_step"), "#.3g"),
            show(method.get("estimate_seconds"), "#.3g"),
        ]
        for name, method in methods.items()
    ]
    note = (
        "A step: from one measurement to the next design. An estimate: the reconstruction judged at a count."
    )
    return f'<h2>Effort</h2>{table(heads, rows)}<p class="note">{note}</p>'


def chosen_section(out: Path, methods: dict[str, dict], rows: list[dict], kind: dict, several: bool) -> str:
    """Adaptive methods each, fixed policies once: they choose the same whatever the posterior."""
    panels: dict[str, tuple[list[float], str]] = {}
    fixed = set()
    for (name, method), look in zip(methods.items(), looks(methods).values(), strict=True):
        policy = str(method["policy"])
        mine = [number(row["setting"]) for row in rows if method_label(row, several) == name]
        settings = [setting for setting in mine if setting is not None]
        if not settings or policy in fixed:
            continue
        if not method["adaptive"]:
            fixed.add(policy)
            panels[policy] = settings, "#8a8f98"
        else:
            panels[name] = settings, look.colour
    if not panels:
        return ""
    images, seeds = tally(rows)
    period, unit = kind["period"], escape(kind["unit"])
    bins = f"in bins of 10 {unit}, modulo {period:g}" if period else f"by {unit}"
    caption = (
        f"Number of measurements {bins}, all counts, summed over {plural(images, 'image')} "
        f"and {plural(seeds, 'seed')}; the same scale in every panel. "
        "Grey: policies that do not look at the data."
    )
    what = f"{kind['noun']}s"
    return f"<h2>Chosen {escape(what)}</h2>" + figure(
        out, "angles.png", plots.chosen(panels, kind), f"Chosen {what} of each method", caption
    )


def tally(rows: list[dict]) -> tuple[int, int]:
    """How many different images and seeds there are."""
    return len({row["image"] for row in rows}), len({row["seed"] for row in rows})
