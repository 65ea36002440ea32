"""`tomopilot bench`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomopilot import __version__
from tomopilot.cli.options import (
    AsJson,
    Count,
    Device,
    On,
    Operator,
    PixelSize,
    Prior,
    Seed,
    counts,
    metres,
    place,
    words,
)
from tomopilot.cli.origin import command_line, writable
from tomopilot.cli.terminal import bar, cell, table

if TYPE_CHECKING:
    from tomopilot.bench.studies import Study


def bench(
    study: Annotated[
        str | None,
        typer.Argument(
            help="calibration, alarm, certain, speed; or a figure or table of the paper, as fig4 or table1: "
            "see --list."
        ),
    ] = None,
    images: Annotated[
        list[str] | None, typer.Argument(help="As for simulate; speed uses only the first, or a phantom.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files of the study.")] = None,
    prior: Prior = None,
    operator: Operator = "radon",
    posteriors: Annotated[
        str | None, typer.Option(help="Comma-separated; default: auto, in speed soft,auto.")
    ] = None,
    count: Count = 10,
    noise: Annotated[
        str,
        typer.Option(
            help="none, relative:0.01, gaussian:STD or poisson:I0; of alarm several, comma-separated, "
            "that the images take in turn."
        ),
    ] = "relative:0.01",
    pixel_size: PixelSize = None,
    at: Annotated[str, typer.Option(help="Numbers of measurements at which to judge.")] = "5,10,20,40",
    foreign: Annotated[
        list[str] | None, typer.Option(help="Images that should raise the alarm (repeatable).")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of a prior; the fitted values are written into its card.")
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--images", help="Of a figure: images of each panel, evenly spread; default: 6."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Of a figure: measurements of each scan; default: 40.")
    ] = None,
    on: On = None,
    seed: Seed = 0,
    device: Device = "auto",
    large: Annotated[
        bool, typer.Option("--large", help="Also measure speed on images up to 1024 x 1024.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure speed on tiny images, as a quick check.")
    ] = False,
    known: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how honest the samples are, and how fast the steps; make the paper's figures again.

    What was stopped goes on when it is called again; figures of one folder share their comparisons.

    Example: tomopilot bench calibration slices.npz::0-9 --out runs/calibration

    Example: tomopilot bench table1 --images 12 --out runs/paper
    """
    from tomopilot.bench.figures import FIGURES
    from tomopilot.bench.protocol import Scale
    from tomopilot.bench.studies import STUDIES
    from tomopilot.cli.figures import make_figure
    from tomopilot.files.images import single_specs
    from tomopilot.prior.checkpoint import read_card
    from tomopilot.scan.notices import doubts, usual_prior
    from tomopilot.scan.parts import check_names, family
    from tomopilot.scan.plan import plan_of
    from tomopilot.scan.virtual import check

    if known:
        for name, entry in (STUDIES | FIGURES).items():
            typer.echo(f"{name:12} {entry.about}")
        return
    if study is None or out is None:
        raise ValueError(f"give a study ({', '.join(STUDIES)}) and a folder: bench STUDY IMAGES --out DIR")
    check_names("study", [study], [*STUDIES, *FIGURES])
    if study in FIGURES:
        if images or foreign or into:
            raise ValueError(f"{study} has images of its own; leave the files, --foreign and --into out")
        given = {"images": number, "budget": budget}
        sizes = {name: size for name, size in given.items() if size is not None}
        scale = Scale(count=count, priors=tuple(prior or ()), device=device, seed=seed, **sizes)
        make_figure(study, out, scale, place(on, None))
        return
    entry, at_counts, noises = STUDIES[study], counts(at), words(noise)
    assert at_counts
    if number or budget or on:
        raise ValueError(f"--images, --budget and --on are for figures of the paper, not for {study}")
    _check_study(study, images or [], noises)
    plan = plan_of(
        images or [*entry.images],
        priors=prior or (), posteriors=words(posteriors or entry.posteriors),
        policies=[entry.policy or family(operator).order],
        operator=operator, count=count, budget=max(at_counts), start=entry.start, noise=noises[0],
        at=at_counts, seed=seed, device=device, pixel_size=metres(pixel_size),
    )  # fmt: skip
    looked = (line for noise in noises for line in doubts(plan, check(replace(plan, noise=noise))))
    notices = list(dict.fromkeys(looked))
    others = tuple(single for spec in foreign or () for single in single_specs(spec))
    extent = "quick" if quick else "large" if large else "usual"
    work = entry.make(plan, extent, others, tuple(noises))
    if (out / "results.csv").exists():
        raise ValueError(f"{out} already contains results; choose another --out")
    if into is not None:
        read_card(into)
    writable(out)
    for line in (*(() if prior else usual_prior(plan)), *notices):
        typer.echo(line, err=True)
    facts = {"version": __version__, "command": command_line(), "notices": notices}
    _carry_out(study, work, out, into, as_json, facts)


def _check_study(study: str, images: list[str], noises: list[str]) -> None:
    """Raises on what only other studies can do."""
    from tomopilot.files.images import VOLUME
    from tomopilot.files.volumes import is_volume

    if any(map(is_volume, images)):
        raise ValueError(f"{study} is of single images; leave {VOLUME} out")
    if len(noises) > 1 and study != "alarm":
        raise ValueError(f"several noises are for alarm, not for {study}; name one")


def _carry_out(
    name: str, study: "Study", out: Path, into: Path | None, as_json: bool, origin: dict[str, Any]
) -> None:
    """Runs what is left of a study, leaves its files, and writes what it fitted into a card."""
    from tomopilot.bench.studies import leave_study, rows_of
    from tomopilot.prior.checkpoint import folder_of, read_card, take_up_trust

    plan, rows = study.plan, []
    cards = [read_card(folder_of(method.prior)) for method in plan.methods if method.prior]
    about = {"study": name, **asdict(study), "priors": cards, "version": __version__}
    with bar(len(study), name) as report:
        for row in rows_of(study, out, about):
            rows.append(row)
            report(len(rows), study.line(row), True)
    summary = leave_study(out, name, study, origin, rows)
    if into is not None:
        facts = {"count": plan.count, "noise": summary["noise"], "images": len(plan.images)}
        take_up_trust(into, summary.get("fitted", {}), facts | {"command": command_line()})
    for note in summary.get("notes", ()):
        typer.echo(note, err=True)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        lines = study.table(summary)
        table(name, tuple(lines[0]), [tuple(map(cell, line.values())) for line in lines])
    typer.echo(f"results: {out}", err=as_json)
