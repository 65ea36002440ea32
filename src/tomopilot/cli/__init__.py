"""The command line, a file a command: parses, makes a plan, prints. Heavy imports wait."""

import sys
from typing import Annotated

import typer

from tomopilot import __version__
from tomopilot.cli.bench import bench
from tomopilot.cli.export import export
from tomopilot.cli.inspect import inspect
from tomopilot.cli.prepare import prepare
from tomopilot.cli.priors import priors
from tomopilot.cli.reconstruct import reconstruct
from tomopilot.cli.scan import compare, resume, simulate
from tomopilot.cli.serve import serve, watch
from tomopilot.cli.train import train

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
COMMANDS = (
    simulate, compare, resume, serve, watch, export, reconstruct, inspect, prepare, train, bench, priors,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Runs the command line; wrong use and unusable files end in one sentence and exit status 2."""
    try:
        app()
    except (ValueError, OSError, MemoryError) as error:
        typer.echo(f"tomopilot: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except FloatingPointError as error:
        typer.echo(f"tomopilot: {error}", err=True)
        sys.exit(1)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _tomopilot(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """An autopilot for tomographic acquisition: it chooses the next measurement while the scan runs."""
