"""`tomopilot simulate`, `compare` and `resume`."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tomopilot import __version__
from tomopilot.cli.options import (
    KNOWN,
    ORDER,
    AsJson,
    Images,
    On,
    Out,
    Replay,
    Workers,
    place,
    scan_options,
    scanned,
    settings,
    taking,
    words,
)
from tomopilot.cli.origin import command_line, writable
from tomopilot.cli.serve import serve
from tomopilot.cli.terminal import bar, sentence, table_of_methods, table_of_steps

Kind = Literal["simulate", "compare"]

JOBS = "jobs"  # folder of what jobs of a cluster are told, and say

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tomopilot.scan.plan import Plan


@taking(scan_options)
def simulate(
    out: Out,
    images: Images = None,
    replay: Replay = None,
    posterior: Annotated[str, typer.Option(help=f"{KNOWN}.")] = "auto",
    policy: Annotated[str, typer.Option(help=f"{ORDER}.")] = "variance",
    **options: Any,
) -> None:
    """Simulate a scan of known images, or of an object that was measured from all sides.

    Example: tomopilot simulate phantom:chip --budget 15 --out runs/first
    """
    if len(options["prior"] or ()) > 1:
        raise ValueError(
            f"simulate scans with one prior, but {len(options['prior'])} were named; use compare"
        )
    start(out, "simulate", scanned(images, replay), [posterior], [policy], options)


@taking(scan_options)
def compare(
    out: Out,
    images: Images = None,
    replay: Replay = None,
    posteriors: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated: {KNOWN}; default: auto,fbp,tv, for mri auto,zero-filled."),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated: {ORDER}; default: variance,uniform, for mri also low-to-high."),
    ] = None,
    **options: Any,
) -> None:
    """Compare posteriors and policies on the same images, with the same seeds and noise.

    fbp and tv give no samples, so they are combined with fixed orders only.

    Example: tomopilot compare phantom:chip::0-5 --posteriors auto,tv --out runs/compare
    """
    start(out, "compare", scanned(images, replay), words(posteriors), words(policies), options)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of an interrupted simulate, compare or serve.")],
    on: On = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Continue an interrupted simulate, compare or serve; nothing is measured twice.

    Example: tomopilot resume runs/first
    """
    from tomopilot.live.record import BOOK

    if (run / BOOK).is_file():
        if on is not None or workers is not None or as_json:
            raise ValueError(f"{run} contains a live scan, which takes no options; use tomopilot serve --out")
        return serve(run)
    from tomopilot.scan.executors import executor
    from tomopilot.scan.follow import RECORD
    from tomopilot.scan.lock import locked

    if not (run / RECORD).is_file():
        raise ValueError(f"{run} contains no run of simulate or compare; give the folder used as --out")
    with executor(place(on, workers), run / JOBS) as pool, locked(run):
        _carry_out(run, pool, as_json)


def start(
    out: Path,
    kind: Kind,
    images: list[str],
    posteriors: list[str],
    policies: list[str],
    options: dict[str, Any],
) -> None:
    """Begins a run and carries it out."""
    from tomopilot.scan.executors import executor
    from tomopilot.scan.lock import locked
    from tomopilot.scan.notices import doubts, usual_prior
    from tomopilot.scan.plan import plan_of
    from tomopilot.scan.virtual import check

    plan = plan_of(images, posteriors=posteriors, policies=policies, **settings(options))
    looks = check(plan)
    with executor(place(options["on"], options["workers"]), out / JOBS) as pool:
        writable(out)
        with locked(out):
            _begin(out, kind, plan, doubts(plan, looks), [look.pixel_size for look in looks])
            for line in usual_prior(plan) if not options["prior"] else ():
                typer.echo(line, err=True)
            _carry_out(out, pool, options["as_json"])


def _begin(out: Path, kind: Kind, plan: "Plan", notices: list[str], pixel_sizes: list[float | None]) -> None:
    """Records the run, so that `resume` needs nothing else."""
    from tomopilot.files.archive import Archive
    from tomopilot.scan.follow import RECORD
    from tomopilot.scan.run import Run, begin

    with closing(Archive(out / RECORD)) as archive:
        run = Run(kind, plan, command_line(), __version__, tuple(notices), tuple(pixel_sizes))
        begin(archive, run)


def _carry_out(out: Path, pool: "Executor | None", as_json: bool) -> None:
    """Runs what is left of a run, then writes its outputs."""
    from tomopilot.disk import sweep
    from tomopilot.files.archive import Archive
    from tomopilot.files.volumes import is_volume
    from tomopilot.report.leave import leave_comparison, leave_simulation
    from tomopilot.scan.follow import RECORD
    from tomopilot.scan.judge_volume import judge_volumes
    from tomopilot.scan.notices import after, before
    from tomopilot.scan.run import read
    from tomopilot.scan.spread import follow_all

    sweep(out)
    with closing(Archive(out / RECORD)) as archive:
        run = read(archive)
        plan = run.plan
        for line in (*before(plan), *run.notices):
            typer.echo(line, err=True)
        with bar(len(plan.scans) * plan.budget, run.kind) as report:
            for number, row in enumerate(follow_all(plan, archive, pool), 1):
                report(number, sentence(row, plan.budget), True)
        facts = run.facts
        if any(map(is_volume, plan.images)):
            with bar(None, "slices") as report:
                for number, line in enumerate(judge_volumes(plan, facts, archive, pool), 1):
                    report(number, line, True)
        rows = [row for scan in plan.scans for row in archive.steps(scan.key)]
        if run.kind == "simulate":
            summary = leave_simulation(out, plan, facts, archive, rows)
        else:
            summary = leave_comparison(out, plan, facts, archive, rows)
    if as_json:
        typer.echo(json.dumps(summary))
    elif run.kind == "simulate":
        table_of_steps(rows)
    else:
        table_of_methods(summary["methods"], len(plan.images))
    for line in after(summary["images"], summary["kind"]):
        typer.echo(line, err=True)
    typer.echo(f"report: {out / 'report.html'}", err=as_json)
