"""`tomopilot reconstruct`."""

from typing import Annotated

import typer

from tomopilot.cli.options import KNOWN, AsJson, Count, Device, Out, Seed, Stripes, usual_options
from tomopilot.cli.scan import start


def reconstruct(
    scan: Annotated[
        str,
        typer.Argument(help="A measured scan, FILE or FILE::ROW of its detector; see inspect."),
    ],
    out: Out,
    prior: Annotated[
        str | None, typer.Option(help="Name or folder of a trained prior; default: chip-128.")
    ] = None,
    posterior: Annotated[str, typer.Option(help=f"{KNOWN}.")] = "moments",
    bins: Annotated[
        int | None,
        typer.Option(help="Detector bins, and pixels along a side; default: as many as the prior knows."),
    ] = None,
    stripes: Stripes = None,
    count: Count = 10,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Estimate, uncertainty and samples from all projections of a measured scan.

    Nothing is chosen, and there is no truth: the filtered back-projection is shown beside the estimate.

    Example: tomopilot reconstruct scan.nxs --prior chip-128 --out runs/slice
    """
    from tomopilot.scan.parts import SEQUENTIAL, entry
    from tomopilot.scan.plan import pick_prior
    from tomopilot.scan.replayed import RECORDED, read_recorded, recorded_spec

    spec = recorded_spec(RECORDED + scan)
    known = pick_prior(prior or "chip-128") if entry(posterior).needs_prior else None
    every = len(read_recorded(spec, bins, known, stripes=stripes or 0, whole=True).values)
    options = usual_options() | {
        "prior": [prior] if prior else None, "bins": bins, "stripes": stripes, "count": count,
        "budget": every, "at": str(every), "seed": seed, "device": device, "as_json": as_json,
    }  # fmt: skip
    start(out, "simulate", [spec], [posterior], [SEQUENTIAL], options)
