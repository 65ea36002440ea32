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
def bar(total: int, title: str) -> Iterator[Callable[[int, str, bool], None]]:
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
