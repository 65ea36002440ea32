"""`tomopilot bench fig4` and the other figures and tables of the paper."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tomopilot import __version__
from tomopilot.cli.origin import command_line, writable
from tomopilot.cli.terminal import bar, sentence

if TYPE_CHECKING:
    from tomopilot.bench.protocol import Scale


def make_figure(name: str, out: Path, scale: "Scale", on: str) -> None:
    """Runs what is left of a figure's comparisons, each in a folder of its own in `out`, and draws it."""
    from tomopilot.bench.figures import FIGURES, leave
    from tomopilot.bench.protocol import carry_out, plan, scaled
    from tomopilot.scan.executors import executor
    from tomopilot.scan.virtual import check

    if not out.exists():
        writable(out)
    runs, notes = {}, []
    with executor(on, out / "jobs") as pool:
        for panel in FIGURES[name].panels:
            made = plan(panel, scale, out)
            check(made)
            notes.append(scaled(panel, made))
            typer.echo(notes[-1], err=True)
            with bar(len(made.scans) * made.budget, panel) as report:
                done = 0

                def watch(row: dict, budget: int = made.budget, report=report) -> None:
                    nonlocal done
                    done += 1
                    report(done, sentence(row, budget), True)

                runs[panel] = carry_out(panel, made, out, pool, __version__, command_line(), watch)
    typer.echo(leave(out, name, runs, notes, command_line()))
    typer.echo(f"figure: {out / f'{name}.md'}", err=True)
