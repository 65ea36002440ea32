"""The pieces of a page: one self-contained HTML file, and its pictures as PNG beside it."""

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from tomopilot.report.plots import number
from tomopilot.units import readable

MISSING = "\N{EN DASH}"
SETTINGS = {  # key of the summary -> its name on the page
    "prior": "Prior",
    "posterior": "Posterior",
    "policy": "Policy",
    "operator": "Operator",
    "angles": "Candidate angles",
    "wedge": "Reachable (degrees)",
    "bins": "Detector bins",
    "pixel_sizes": "Pixel size",
    "noise": "Noise",
    "count": "Samples",
    "start": "Opening measurements",
    "budget": "Budget",
    "certain": "Stop at (dB)",
    "range": "Intensity range",
    "seed": "Seed",
    "device": "Device",
    "version": "Tomopilot",
    "command": "Command",
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


def write_page(out: Path, title: str, parts: Iterable[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    page = PAGE.substitute(title=escape(title), body="\n".join(parts))
    (out / "report.html").write_text(page, encoding="utf-8")


def header(title: str, headline: str, summary: dict) -> str:
    if summary.get("angles") and summary.get("bins") is None:
        summary = {**summary, "bins": "as many as the image is wide"}
    known = [key for key in SETTINGS if summary.get(key) not in (None, "", [], {})]
    entries = "".join(setting(key, summary[key]) for key in known)
    notices = "".join(f'<p class="alarm">{escape(notice)}</p>' for notice in summary.get("notices", ()))
    title = f'<h1>{escape(title)}</h1>\n<p class="headline">{escape(headline)}</p>'
    return f"{title}\n{notices}\n<dl>{entries}</dl>"


def setting(key: str, value: Any) -> str:
    name = SETTINGS[key]
    if key == "range":
        return f"<dt>{name}</dt><dd>{value[0]:g} to {value[1]:g}</dd>"
    if key == "angles" and isinstance(value, list | tuple):
        value = f"{len(value)} of a list"
    elif key == "wedge":
        value = [f"{low:g} to {high:g}" for low, high in value]
    elif key == "pixel_sizes":
        value = list(dict.fromkeys(map(readable, value.values())))
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
