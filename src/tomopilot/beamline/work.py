"""Calls that block, in threads, so many at a time: STOP never waits for a suggestion."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
SLOW, QUICK = 8, 8  # calls at a time


class Busy(Exception):
    """Too much is asked for at once."""


class Work:
    """Threads of a service, in two groups that do not wait for each other."""

    def __init__(self) -> None:
        self._slow, self._quick = CapacityLimiter(SLOW), CapacityLimiter(QUICK)
        self._going_on = 0  # of those that take long, also such that have no thread yet

    async def quick(self, call: Callable[[], T]) -> T:
        """What takes milliseconds."""
        return await to_thread.run_sync(call, limiter=self._quick)

    async def slow(self, call: Callable[[], T]) -> T:
        """What may take long; raises `Busy` where too much of that is going on."""
        if self._going_on >= SLOW:
            raise Busy(f"{SLOW} requests that take long are being answered; ask again")
        self._going_on += 1
        try:
            return await to_thread.run_sync(call, limiter=self._slow, abandon_on_cancel=True)
        finally:
            self._going_on -= 1
