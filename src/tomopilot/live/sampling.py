"""Samples drawn in the background: a scan never waits for them longer than it wants to."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future

from tomopilot.experiment import Snapshot
from tomopilot.records import Draws

Outcome = Callable[[Snapshot, Draws | BaseException], None]


class Sampler:
    """Draws one snapshot after the other in a pool of its own; what fails is reported, never raised."""

    def __init__(self, pool: Callable[[], Executor], tell: Outcome) -> None:
        self._make, self._tell = pool, tell
        self._pool, self._closed = pool(), False
        self.drawing: Snapshot | None = None  # at the moment
        self.failed: Snapshot | None = None  # the latest one that could not be drawn

    def start(self, snapshot: Snapshot) -> None:
        """Draws the samples to choose by, unless others are being drawn or these have failed before."""
        idle = not self._closed and self.drawing is None
        if not idle or snapshot is self.failed or snapshot.chosen_by is not None:
            return
        self.drawing = snapshot
        try:
            future = self._pool.submit(_choosing, snapshot.anew())
        except BrokenExecutor as error:  # a worker had died
            self._pool = self._make()
            self._over(snapshot, error)
            return
        future.add_done_callback(lambda done: self._done(snapshot, done))

    def close(self) -> None:
        """Nothing is drawn any more; what is being drawn is of no use."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, snapshot: Snapshot, done: "Future[Draws]") -> None:
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, BrokenExecutor):
            self._pool = self._make()
        self._over(snapshot, error or done.result())

    def _over(self, snapshot: Snapshot, outcome: Draws | BaseException) -> None:
        self.drawing = None
        if isinstance(outcome, BaseException):
            self.failed = snapshot
        self._tell(snapshot, outcome)


def _choosing(snapshot: Snapshot) -> Draws:
    return snapshot.choosing()
