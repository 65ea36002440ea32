"""What takes long in a Bluesky plan: in threads, while the event loop stays free."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from bluesky.plan_stubs import wait_for
from bluesky.utils import FailedStatus, MsgGenerator

from tomopilot.live.held import Refused

log = logging.getLogger(__name__)
POLL = 0.5  # seconds between two attempts
T = TypeVar("T")


class Workers:
    """Two threads: one may wait for a suggestion while the other one tells."""

    def __init__(self) -> None:
        self._pool, self._closing = ThreadPoolExecutor(2, "tomopilot"), threading.Event()

    def start(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Begins a call."""
        return self._pool.submit(call, *args)

    def call(self, call: Callable[..., T], *args: Any) -> MsgGenerator[T]:
        """What a call returns; it is repeated while the scan is paused, or nothing can be put on disk."""

        def persist() -> T:
            while True:
                try:
                    return call(*args)
                except (OSError, Refused) as error:
                    passing = not isinstance(error, Refused) or error.code == "paused"
                    if not passing or self._closing.wait(POLL):
                        raise
                    log.info("waiting: %s", error)

        future = self.start(persist)
        yield from settled(future)
        return future.result()

    def close(self, last: Iterable[Callable[[], Any]]) -> None:
        """Ends them after some last calls; what is begun ends by itself."""
        self._closing.set()
        done = wait([self.start(call) for call in last]).done
        for error in filter(None, (each.exception() for each in done)):
            log.error("an exposure could not be told: %s", error)
        self._pool.shutdown(wait=False)


def settled(future: Future[Any]) -> MsgGenerator[None]:
    """Waits until a call has ended. The wait may be interrupted and repeated."""

    async def over() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        await done.wait()

    while not future.done():
        try:
            yield from wait_for([over])
        except FailedStatus as error:  # of a move or an exposure that was given up before
            log.warning("a device failed late: %s", error)
