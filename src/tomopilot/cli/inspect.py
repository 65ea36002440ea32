"""`tomopilot inspect`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tomopilot.cli.options import AsJson
from tomopilot.cli.terminal import table
from tomopilot.units import readable

HEAD = ("file", "format", "images", "pixels", "type", "values", "pixel size", "remarks")


def inspect(
    files: Annotated[
        list[str],
        typer.Argument(help="Files or folders of images, as in simulate; FILE.h5:/PATH names a part."),
    ],
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
) -> None:
    """Say what files hold, or why they cannot be read.

    Example: tomopilot inspect slices.tif volume.zarr dicom/
    """
    found = [_described(name) for name in files]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif markdown:
        from tomopilot.report import markdown as pages

        cells = zip(*(_row(one) for one in found), strict=True)
        typer.echo(pages.table(dict(zip(HEAD, map(list, cells), strict=True))))
    else:
        table("files", HEAD, [_row(one) for one in found])
    if all("rejected" in one for one in found):
        raise typer.Exit(2)


def _described(name: str) -> dict[str, Any]:
    from tomopilot.files.description import described
    from tomopilot.files.reading import InputFileError

    try:
        return described(name)
    except InputFileError as error:
        return {"name": name, "rejected": str(error)}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    if "rejected" in one:
        name, reason = Path(one["name"]).name, one["rejected"].removeprefix(f"{one['name']}: ")
        return name, *[""] * (len(HEAD) - 2), reason
    size = "unknown" if one["pixel_size"] is None else readable(one["pixel_size"])
    values = f"{one['low']:.4g} to {one['high']:.4g}"
    remarks = "; ".join([*filter(None, [one["unit"]]), *one["notes"]])
    sides = f"{one['height']} x {one['width']}"
    return one["name"], one["format"], str(one["images"]), sides, one["type"], values, size, remarks
