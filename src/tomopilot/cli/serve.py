"""`tomopilot serve` and `tomopilot watch`."""

import importlib.util
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tomopilot.cli.options import Out

if TYPE_CHECKING:
    from tomopilot.live.live import Live

PORT = 8765
NEEDED = ("fastapi", "uvicorn", "plotly")

Host = Annotated[
    str, typer.Option(help="Address to listen on; others than of this machine need --allow-remote.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File that keeps the token; default: token in the folder of the scan.")
]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Let other machines connect; put TLS in front of it.")
]


def serve(
    out: Out,
    setup: Annotated[
        Path | None, typer.Option(help="TOML file of a new scan; default: the scan in --out goes on.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    token_file: TokenFile = None,
    allow_remote: AllowRemote = False,
) -> None:
    """Hold a live scan: ask and tell over HTTP, and a page for its operators.

    Example: tomopilot serve --out scans/chip --setup chip.toml
    """
    _check(host, allow_remote)
    from tomopilot.live.live import hold
    from tomopilot.live.setup import Setup

    with hold(out, None if setup is None else Setup.read(setup)) as live:
        _run(out, host, port, token_file, allow_remote, live)


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder of a live scan that another process holds.")],
    host: Host = "127.0.0.1",
    port: Port = PORT,
    token_file: TokenFile = None,
    allow_remote: AllowRemote = False,
) -> None:
    """Show a live scan that another process holds, such as a plan of Bluesky, and pass on operators' wishes.

    Example: tomopilot watch scans/chip
    """
    _check(host, allow_remote)
    _run(folder, host, port, token_file, allow_remote, None)


def _check(host: str, allow_remote: bool) -> None:
    """Raises before anything begins that could not be served."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ValueError(f"the service needs {', '.join(missing)}: pip install 'tomopilot[live]'")
    from tomopilot.beamline.security import is_loopback

    if not is_loopback(host) and not allow_remote:
        raise ValueError(
            f"--host {host} can be reached from other machines; add --allow-remote if that is meant, or use "
            "an SSH tunnel to 127.0.0.1"
        )


def _run(
    folder: Path, host: str, port: int, token_file: Path | None, allow_remote: bool, live: "Live | None"
) -> None:
    """Serves until the process is interrupted."""
    from tomopilot.beamline.security import TOKEN, Gate, token_of
    from tomopilot.beamline.server import address_of, listen, names_of, server_of
    from tomopilot.beamline.service import make_app
    from tomopilot.beamline.viewer import Viewer

    with closing(Viewer(folder)) as viewer, listen(host, port) as listening:
        token = token_of(token_file or folder / TOKEN)
        gate = Gate(token, names_of(host) if allow_remote else frozenset(), allow_remote)
        typer.echo(f"open {address_of(listening)}/?token={token}")
        with suppress(KeyboardInterrupt), _ended_by_sigterm():
            server_of(make_app(viewer, gate, live)).run([listening])


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what is inside as the end of the program does, so that the scan is let go."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
