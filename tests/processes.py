"""Processes of a test that can be killed, or hold what the test does not."""

import multiprocessing
from multiprocessing.context import ForkServerContext

LOADED = ("pytest", "uvicorn", "tomopilot.beamline.service", "tomopilot.cli.serve", "tomopilot.prior.train")


def server() -> ForkServerContext:
    """Forks from a process that runs no threads, whose locks would be copied as they are, held or not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LOADED])
    return context
