"""What a command prints: tables, progress, numbers."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(*head, title=title)
    for row in rows:
        grid.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(grid)


@contextmanager
def bar(total: int | None, title: str) -> Iterator[Callable[[int, str, bool], None]]:
    """A progress bar on a terminal, plain lines elsewhere (those worth a line)."""
    if not sys.stderr.isatty():
        yield lambda done, text, worth: typer.echo(text, err=True) if worth else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, text, worth: progress.update(task, completed=done, description=text)


def table_of_steps(rows: list[dict[str, Any]]) -> None:
    head = ("image", "count", "setting", "PSNR dB", "SSIM", "spread", "s to next", "evaluations")
    digits = {"setting": 1, "psnr": 2, "ssim": 3, "spread": 4, "seconds": 2, "network_evaluations": 0}
    cells = [
        (row["image"], str(row["count"]), *(number(row[key], places) for key, places in digits.items()))
        for row in rows
    ]
    table("steps", head, cells)


def table_of_methods(methods: list[dict[str, Any]], images: int) -> None:
    counts = sorted({int(count) for entry in methods for count in entry["curve"]})
    shown = counts if len(counts) <= 8 else [c for c in counts if c % 5 == 0 or c == counts[-1]][-8:]
    priors = {entry["prior"] for entry in methods if entry["prior"]}
    rows = []
    for entry in methods:
        points = [entry["curve"].get(str(count), {}) for count in shown]
        cells = [f"{number(p.get('psnr_mean'), 2)} ± {number(p.get('psnr_two_se'), 2)}" for p in points]
        words = (entry["posterior"], entry["policy"], entry["prior"] if len(priors) > 1 else None)
        to_target, seconds = number(entry["measurements_to_30db"], 1), number(entry["seconds_per_step"], 2)
        rows.append((" + ".join(filter(None, words)), *cells, to_target, seconds))
    head = ("method", *(f"PSNR at {count}" for count in shown), "to 30 dB", "s to next")
    table(f"mean ± two standard errors over {images} images", head, rows)


def sentence(row: dict[str, Any], budget: int) -> str:
    method = f"{row['posterior']}+{row['policy']}"
    quality = "" if row["psnr"] is None else f", {row['psnr']:.2f} dB"
    unit = row.get("setting_unit", "degrees").replace("degrees", "deg")
    measured = f"{row['image']} {method} {row['count']}/{budget}: {row['setting']:.1f} {unit}"
    alarm = f", ALARM by {row['alarm_by']}" if row["alarm"] == row["count"] else ""
    left = ", the prior is LEFT" if row["without_prior"] == row["count"] else ""
    return f"{measured}{quality}, {row['seconds']:.1f} s{alarm}{left}"
