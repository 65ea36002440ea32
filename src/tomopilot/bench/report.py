"""Pages from results: one self-contained HTML file, and its pictures as PNG beside it."""

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from . import plots
from .plots import Pictures, judged, looks, method_label, number

__all__ = ["Pictures", "compare_report", "simulate_report"]

MISSING = "\N{EN DASH}"
SHOWN = 8  # images with full panels; the table has them all
FIXED_POLICIES = ("uniform", "random", "low-to-high", "equispaced", "replay")

SETTINGS = {  # key of the summary -> its name on the page
    "prior": "Prior",
    "posterior": "Posterior",
    "policy": "Policy",
    "operator": "Operator",
    "noise": "Noise",
    "count": "Samples",
    "range": "Intensity range",
    "seed": "Seed",
    "device": "Device",
    "version": "Tomopilot",
    "command": "Command",
}
COLUMNS = {  # of the table of steps: key -> heading, format
    "psnr": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "rmse": ("RMSE", "#.3g"),
    "spread": ("Spread", "#.3g"),
    "surprise": ("Surprise (z)", ".2f"),
    "seconds": ("Seconds", ".2f"),
    "network_evaluations": ("Network evaluations", ".0f"),
}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fafafa; margin: 0 }
main { max-width: 1080px; margin: 0 auto; padding: 1.5rem 2rem 4rem }
h1 { font-size: 1.1rem; font-weight: 500; color: #5a6068; margin: 0 }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid #d9dce0;
     overflow-wrap: anywhere }
.headline { font-size: 1.7rem; font-weight: 600; line-height: 1.25; margin: .1rem 0 1rem }
dl { display: grid; grid-template-columns: repeat(4, max-content minmax(0, 1fr)); gap: .15rem 1rem;
     background: #fff; border: 1px solid #e2e4e8; border-radius: 6px; padding: .7rem 1rem; font-size: .9rem }
dt { color: #5a6068 }
dd { margin: 0; overflow-wrap: anywhere }
dt.wide { grid-column: 1 }
dd.wide { grid-column: 2 / -1 }
code { font: .92em ui-monospace, Consolas, monospace }
figure { margin: .8rem 0; break-inside: avoid }
figure img { max-width: 100%; background: #fff; border: 1px solid #e2e4e8; border-radius: 6px;
             box-sizing: border-box }
figcaption, .note { font-size: .87rem; color: #5a6068; max-width: 60rem }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
.alarm { background: #fdf0e6; border-left: 4px solid #d55e00; padding: .4rem .8rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; background: #fff; font-size: .87rem; font-variant-numeric: tabular-nums;
        margin: .5rem 0 }
th, td { padding: .22rem .75rem; text-align: right; border-bottom: 1px solid #e9ebee; white-space: nowrap }
th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid #9aa0a8; white-space: normal }
td:first-child, th:first-child { text-align: left }
td.text { white-space: normal; overflow-wrap: anywhere }
tbody tr:hover { background: #f3f6fa }
summary { cursor: pointer; font-weight: 600; margin-top: 1rem }
a { color: #0060a8; text-decoration: none }
@media (max-width: 760px) { .pair { grid-template-columns: 1fr }
  dl { grid-template-columns: max-content minmax(0, 1fr) } }
@media print { body { background: #fff; font-size: 10pt } main { max-width: none; padding: 0 }
  .scroll { overflow: visible } tr { break-inside: avoid } h2, summary { break-after: avoid } }
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def simulate_report(out: Path, summary: dict, pictures: list[Pictures]) -> None:
    """The page of one run, `report.html`, with `reconstruction-<i>.png`, `angles-<i>.png`, `quality-<i>.png`.

    pictures: in the order of `summary["images"]`; the first eight are shown
    """
    images = summary["images"]
    parts = [header(f"Tomopilot {summary.get('policy', '')} scan", scan_headline(images), summary)]
    if len(images) > 1:
        parts.append(table_of_images(images, shown=min(SHOWN, len(pictures))))
    for i, (image, shown) in enumerate(zip(images[:SHOWN], pictures, strict=False)):
        parts.append(image_section(out, i, image, shown, summary.get("range")))
    write_page(out, "Tomopilot scan", parts)


def compare_report(out: Path, summary: dict, rows: list[dict]) -> None:
    """The page of a comparison, `report.html`, with a PNG beside it of each of its figures.

    summary: `methods` holds the curves; `setting_unit` is "degrees" unless given
    rows: those of `results.csv`
    """
    several = len({method["prior"] for method in summary["methods"] if method.get("prior")}) > 1
    methods = {method_label(method, several): method for method in summary["methods"]}
    parts = [header("Tomopilot comparison", compare_headline(methods, rows), summary)]
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
    parts.append(chosen_section(out, methods, rows, summary.get("setting_unit", "degrees"), several))
    write_page(out, "Tomopilot comparison", parts)


# One scan


def scan_headline(images: list[dict]) -> str:
    """What a colleague would ask first: how many measurements, how good, how long."""
    counts = sorted({len(image["designs"]) for image in images})
    psnrs = [last for image in images if (last := final(image, "psnr"))]
    times = [total(image, "seconds") for image in images]
    many = len(images) > 1
    words = [f"{len(images)} images"] if many else []
    words += [plural(ranged(counts), "measurement") + " each" * many]
    if psnrs:
        early = f" after {psnrs[0][1]}" if not many and psnrs[0][1] < counts[0] else ""
        words += [f"{mean(psnr for psnr, _ in psnrs):.1f} dB{early}" + " on average" * many]
    return ", ".join([*words, duration(mean(times)) + " per image" * many])


def image_section(out: Path, i: int, image: dict, pictures: Pictures, span: list[float] | None) -> str:
    unit = image.get("setting_unit", "degrees")
    name = escape(str(image["image"]))
    what, tops = (
        ("Estimate and samples", "uncertainties")
        if pictures.truth is None
        else ("Truth, estimate and samples", "errors and uncertainties")
    )
    psnr = "PSNR where it was judged; spread" if final(image, "psnr") else "No truth to judge against; spread"
    return "\n".join(
        [
            f'<h2 id="image-{i}">{name}</h2>',
            f'<p class="note">{escape(scan_headline([image]))}{split(image)}</p>',
            alarm(image),
            figure(
                out,
                f"reconstruction-{i}.png",
                plots.reconstruction(pictures, span),
                f"Reconstruction of {image['image']}",
                f"{what} share one grey scale; the largest {tops} may exceed their colour bars.",
            ),
            '<div class="pair">',
            figure(
                out,
                f"angles-{i}.png",
                plots.angles(image["settings"], unit, pictures.estimate.shape[0]),
                f"Chosen settings of {image['image']}",
                order_caption(image["settings"], unit),
            ),
            figure(
                out,
                f"quality-{i}.png",
                plots.quality(image),
                f"Quality of {image['image']} against the number of measurements",
                f"{psnr}: the mean standard deviation of the samples.",
            ),
            "</div>",
            table_of_steps(image, unit),
        ]
    )


def order_caption(settings: list, unit: str) -> str:
    where = (
        "Chosen angles; later ones lie further out"
        if unit == "degrees"
        else "Chosen rows, the first at the top"
    )
    return (
        f"{where}. {'Numbers and colours' if len(settings) <= plots.NUMBERED else 'Colours'} give the order."
    )


def table_of_steps(image: dict, unit: str) -> str:
    columns = {key: column for key, column in COLUMNS.items() if image.get(key)}
    heads = ["Measurement", "Angle (°)" if unit == "degrees" else unit.capitalize()]
    steps = [
        [str(n), show(setting, ".6g"), *(show(image[key][n - 1], form) for key, (_, form) in columns.items())]
        for n, setting in enumerate(image["settings"], 1)
    ]
    heads += [head for head, _ in columns.values()]
    return f"<details open><summary>Every measurement</summary>{table(heads, steps)}</details>"


def table_of_images(images: list[dict], shown: int) -> str:
    keys = [key for key in ("psnr", "ssim", "rmse", "spread") if any(final(image, key) for image in images)]
    heads = ["Image", "Measurements", *(COLUMNS[key][0] for key in keys), "Seconds", "Network evaluations"]
    rows = [
        [
            f'<a href="#image-{i}">{escape(str(image["image"]))}</a>'
            if i < shown
            else escape(str(image["image"])),
            str(len(image["designs"])),
            *(show_final(image, key) for key in keys),
            show(total(image, "seconds"), ".1f"),
            show(total(image, "network_evaluations"), ".0f"),
        ]
        for i, image in enumerate(images)
    ]
    rest = f" Pictures follow for the first {shown}." if shown < len(images) else ""
    return f'<h2>All images</h2><p class="note">After the last measurement.{rest}</p>{table(heads, rows)}'


def show_final(image: dict, key: str) -> str:
    if (last := final(image, key)) is None:
        return MISSING
    early = f" (after {last[1]})" if last[1] < len(image["designs"]) else ""
    return show(last[0], COLUMNS[key][1]) + early


def split(image: dict) -> str:
    times = [f"{escape(str(part))} {duration(s)}" for part, s in (image.get("split") or {}).items()]
    return "; with all estimates: " * bool(times) + ", ".join(times)


def alarm(image: dict) -> str:
    if (at := image.get("alarm")) is None:
        return ""
    text = (
        f"Measurement {escape(str(at))} raised the alarm: the data do not look like the prior. From there "
        "on, angles were taken in uniform order; compare the estimate with the one without the prior."
    )
    return f'<p class="alarm">{text}</p>'


# A comparison


def compare_headline(methods: dict[str, dict], rows: list[dict]) -> str:
    images, seeds = tally(rows)
    longest = max((int(row["count"]) for row in rows), default=0)
    words = [f"{plural(len(methods), 'method')}, {plural(images, 'image')}, {plural(seeds, 'seed')}"]
    words += [f"up to {plural(longest, 'measurement')}"]
    reached = {
        name: to_30db for name, m in methods.items() if (to_30db := number(m.get("measurements_to_30db")))
    }
    if reached:
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


def chosen_section(out: Path, methods: dict[str, dict], rows: list[dict], unit: str, several: bool) -> str:
    """Adaptive methods each, fixed policies once: they choose the same whatever the posterior."""
    panels: dict[str, tuple[list[float], str]] = {}
    fixed = set()
    for (name, method), look in zip(methods.items(), looks(methods).values(), strict=True):
        policy = str(method["policy"])
        mine = [number(row["setting"]) for row in rows if method_label(row, several) == name]
        settings = [setting for setting in mine if setting is not None]
        if not settings or policy in fixed:
            continue
        if policy.partition(":")[0] in FIXED_POLICIES:
            fixed.add(policy)
            panels[policy] = settings, "#8a8f98"
        else:
            panels[name] = settings, look.colour
    if not panels:
        return ""
    images, seeds = tally(rows)
    bins = "in bins of 10 degrees, modulo 180" if unit == "degrees" else f"by {escape(unit)}"
    caption = (
        f"Number of measurements {bins}, all counts, summed over {plural(images, 'image')} "
        f"and {plural(seeds, 'seed')}; the same scale in every panel. "
        "Grey: policies that do not look at the data."
    )
    what = "angles" if unit == "degrees" else f"{unit}s"
    return f"<h2>Chosen {escape(what)}</h2>" + figure(
        out, "angles.png", plots.chosen(panels, unit), f"Chosen {what} of each method", caption
    )


def tally(rows: list[dict]) -> tuple[int, int]:
    """How many different images and seeds there are."""
    return len({row["image"] for row in rows}), len({row["seed"] for row in rows})


# Pieces of a page


def write_page(out: Path, title: str, parts: Iterable[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    page = PAGE.substitute(title=escape(title), body="\n".join(parts))
    (out / "report.html").write_text(page, encoding="utf-8")


def header(title: str, headline: str, summary: dict) -> str:
    known = [key for key in SETTINGS if summary.get(key) not in (None, "", [])]
    entries = "".join(setting(key, summary[key]) for key in known)
    return f'<h1>{escape(title)}</h1>\n<p class="headline">{escape(headline)}</p>\n<dl>{entries}</dl>'


def setting(key: str, value: Any) -> str:
    name = SETTINGS[key]
    if key == "range":
        return f"<dt>{name}</dt><dd>{value[0]:g} to {value[1]:g}</dd>"
    text = escape(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    if key == "command":
        return f'<dt class="wide">{name}</dt><dd class="wide"><code>{text}</code></dd>'
    return f"<dt>{name}</dt><dd>{text}</dd>"


def figure(out: Path, name: str, png: bytes, alt: str, caption: str) -> str:
    out.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(png)
    data = base64.b64encode(png).decode()
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; its cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def show(value: Any, form: str, missing: str = MISSING) -> str:
    return missing if (known := number(value)) is None else format(known, form).rstrip(".")


def final(image: dict, key: str) -> tuple[float, int] | None:
    """The last judged value and the number of measurements it was judged after."""
    values = [(known, n) for n, v in enumerate(image.get(key) or [], 1) if (known := number(v)) is not None]
    return values[-1] if values else None


def total(image: dict, key: str) -> float:
    return sum(known for value in image.get(key) or [] if (known := number(value)) is not None)


def mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def ranged(numbers: list[int]) -> str:
    """The first and last of ascending numbers.

    >>> ranged([15]), ranged([10, 12, 15])
    ('15', '10 to 15')
    """
    return " to ".join(map(str, numbers[:1] + numbers[1:][-1:]))


def plural(n: int | str, noun: str) -> str:
    return f"{n} {noun}" if str(n) == "1" else f"{n} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as a person would say them.

    >>> duration(74.2), duration(3.21), duration(1200)
    ('74 s', '3.2 s', '20 min')
    """
    if seconds >= 600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
