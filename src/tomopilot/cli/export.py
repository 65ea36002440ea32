"""`tomopilot export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a live scan, which may be running.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: scan.nxs in the folder.")] = None,
) -> None:
    """Write what a live scan has measured so far as NXtomo: projections, flat and dark fields.

    Example: tomopilot export runs/live --out scan.nxs
    """
    from tomopilot.live.export import export as write

    path = out or run / "scan.nxs"
    typer.echo(f"{path}: {write(run, path)} projections")
