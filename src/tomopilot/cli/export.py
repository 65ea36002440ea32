"""`tomopilot export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a live scan, which may be running, or a reconstructed volume.zarr."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: scan.nxs in the folder, or the volume's name with .tif."),
    ] = None,
) -> None:
    """Write a live scan so far as NXtomo (projections, flats, darks), or the estimate of a volume as TIFF.

    Example: tomopilot export runs/volume/volume.zarr --out volume.tif
    """
    from tomopilot.live.export import export as write

    if (run / "zarr.json").is_file():
        from tomopilot.files.voxels import write_stack

        path = out or run.with_suffix(".tif")
        typer.echo(f"{path}: {write_stack(run, path)} slices")
        return
    path = out or run / "scan.nxs"
    typer.echo(f"{path}: {write(run, path)} projections")
