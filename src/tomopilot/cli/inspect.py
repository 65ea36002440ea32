"""`tomopilot inspect`."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tomopilot.cli.options import AsJson
from tomopilot.cli.terminal import table

if TYPE_CHECKING:
    from tomopilot.measure.noise import Noise
    from tomopilot.raw.records import LineIntegrals, RawScan


def inspect(
    file: Annotated[
        str,
        typer.Argument(help="FILE, FILE.nxs:/entry, FILE.npz:/array, a zarr store, or a folder of slices."),
    ],
    row: Annotated[
        int | None, typer.Option(help="Detector row that is looked at, from 0; default: the middle one.")
    ] = None,
    axis: Annotated[
        float | None, typer.Option(help="Column of the rotation axis, from 0; default: it is found.")
    ] = None,
    angles_in: Annotated[
        Literal["degrees", "radians"] | None,
        typer.Option(help="Unit of the angles, where the file does not say it or is wrong."),
    ] = None,
    values: Annotated[
        Literal["counts", "line-integrals"] | None,
        typer.Option(help="What the values are, where the format does not say it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file holds: a measured scan, and whether it can be reconstructed, or images.

    Example: tomopilot inspect scan.nxs
    """
    from tomopilot.files.reading import InputFileError, NotAScan

    counts = None if values is None else values == "counts"
    try:
        facts = about_scan(file, row, axis, angles_in, counts)
    except InputFileError as no_scan:
        try:
            facts = about_images(file)
        except InputFileError as no_images:
            if not isinstance(no_scan, NotAScan):
                raise no_scan from None
            why = str(no_images).removeprefix(f"{file}: ")
            raise InputFileError(f"{file}: no measured scan, nor images that can be read: {why}") from None
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    table(file, ("", ""), [(name, said(fact)) for name, fact in facts.items()])


def about_scan(
    file: str, row: int | None, axis: float | None, angles_in: str | None, counts: bool | None
) -> dict[str, Any]:
    """What is in a measured scan, and what comes out of one of its detector rows."""
    from tomopilot.raw.door import read_measured

    raw = read_measured(file, angles_in=angles_in, counts=counts)
    row = raw.projections.rows // 2 if row is None else row
    lines, problem = corrected(raw, row, axis)
    facts = about(raw)
    if lines is not None:
        facts |= about_lines(lines, row, axis_found=problem is None)
    return facts if problem is None else facts | {"problem": problem}


def about_images(file: str) -> dict[str, Any]:
    """What `read_images` finds."""
    from tomopilot.files.description import described
    from tomopilot.units import readable

    found = described(file)
    size, remarks = found["pixel_size"], [*filter(None, [found["unit"]]), *found["notes"]]
    return {
        "name": found["name"],
        "format": found["format"],
        "images": f"{found['images']} of {found['height']} x {found['width']} pixels",
        "type": found["type"],
        "values": f"{found['low']:.4g} to {found['high']:.4g}, in {found['looked_at']} of them",
        "pixel": "not known" if size is None else readable(size),
        "remarks": "; ".join(remarks) or None,
    }


def corrected(raw: "RawScan", row: int, axis: float | None) -> "tuple[LineIntegrals | None, str | None]":
    """The line integrals of a row, if need be about the middle of the detector, and what is in their way."""
    from tomopilot.files.reading import InputFileError
    from tomopilot.raw.correction import Correction

    problem, rows = None, slice(max(row, 0), row + 1)
    for column in (axis, (raw.projections.bins - 1) / 2):
        try:
            return Correction(axis=column)(raw, rows), problem
        except InputFileError as error:
            problem = problem or str(error)
    return None, problem


def about(raw: "RawScan") -> dict[str, Any]:
    """What the file says."""
    import numpy as np

    from tomopilot.units import readable

    frames, shown = raw.projections, np.rad2deg(raw.angles)
    ordered = "in" if (np.diff(shown) >= 0).all() else "not in"
    beam = "parallel"
    if raw.fan is not None:
        to_axis, to_detector = readable(raw.fan.source_axis), readable(raw.fan.source_detector)
        beam = f"fan, source to axis {to_axis}, source to detector {to_detector}"
    return {
        "name": raw.name,
        "format": raw.format,
        "values": f"{raw.unit}, {frames.dtype}",
        "projections": f"{len(frames)} of {frames.rows} x {frames.bins} (rows x bins)",
        "flats": 0 if raw.flats is None else len(raw.flats),
        "darks": 0 if raw.darks is None else len(raw.darks),
        "angles": f"{shown.min():.6g} to {shown.max():.6g} degrees, {ordered} order",
        "beam": beam,
        "bin": "not known" if raw.pixel_size is None else readable(raw.pixel_size),
        "remarks": "; ".join(raw.remarks) or None,
    }


def about_lines(lines: "LineIntegrals", row: int, *, axis_found: bool) -> dict[str, Any]:
    """What came out of one detector row."""
    log, how = lines.log, lines.log["axis"]["how"] if axis_found else "not found: the middle was taken"
    masked = [f"{count} {what}" for what, count in log["masked"].items()]
    left_out = [f"{number}: {why}" for number, why in list(lines.quarantined.items())[:5]]
    more = len(lines.quarantined) - len(left_out)
    pairs = [f"{second} as {first}" for second, first in log["repeated angles"][:5]]
    return {
        "row": row,
        "axis": f"column {log['axis']['column']:.2f}, {how}",
        "flat field": log.get("flats"),
        "masked values": ", ".join(masked) or "none",
        "quarantined": "; ".join(left_out + [f"and {more} more"] * (more > 0)) or "none",
        "repeated angles": ", ".join(pairs) or "none",
        "line integrals": f"{lines.values.min():.4g} to {lines.values.max():.4g}",
        "noise": noise(lines.noise),
    }


def noise(model: "Noise") -> str:
    """A noise in words."""
    from tomopilot.measure.noise import Gaussian, Poisson

    if isinstance(model, Poisson):
        return f"as of {model.i0:.3g} photons in a bin of the open beam"
    return f"white, {model.std:.2g}" if isinstance(model, Gaussian) else repr(model)


def said(fact: Any) -> str:
    return "" if fact is None else str(fact)
