"""Files cut short or with a bit turned, and a process of its own to read them in, for tests."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

STATM = Path("/proc/self/statm")
SHORT, TRUNCATIONS, FLIPS = 3, 40, 50  # of each kind of file
MEMORY, SECONDS = 500 * 2**20, 60  # at most, beyond that of the program itself; thirty times what is usual
STILL, FORKS = (
    60,
    3,
)  # seconds asleep that are taken for a lock that nobody holds, and forks until one is free
needs_proc = pytest.mark.skipif(not STATM.exists(), reason="memory of processes is read from /proc")


@dataclass(frozen=True)
class Trial:
    """How a process ended, what it said, and what it took."""

    status: int
    err: str
    seconds: float  # of a processor
    memory: int  # bytes at the most, with those of the program


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def damages(content: bytes, cuts: int, flips: int, chance: random.Random) -> Iterator[bytes]:
    """The content cut short, then with one bit turned, at random places."""
    for _ in range(cuts):
        yield content[: chance.randrange(len(content))]
    for _ in range(flips):
        place = chance.randrange(len(content))
        turned = bytes([content[place] ^ 1 << chance.randrange(8)])
        yield content[:place] + turned + content[place + 1 :]


def tried(action: Callable[[], tuple[int, str]], said: Path) -> Trial:
    """An action in a process of its own, which costs no start; it gives a status, and what goes to `said`.

    A fork copies the locks of threads that earlier tests have left, held or not: a process that waits for one
    never ends, and is made again.
    """
    trials = (_tried(action, said) for _ in range(FORKS))
    return next((trial for trial in trials if trial.status != -signal.SIGALRM), Trial(-14, "hangs", 0, 0))


def _tried(action: Callable[[], tuple[int, str]], said: Path) -> Trial:
    if not (child := os.fork()):
        status = 70
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            status, err = action()
            said.write_text(err)
        except BaseException as error:
            said.write_text(f"Traceback: {type(error).__name__}: {error}")
        finally:
            os._exit(status)
    _, status, usage = _ended(child)
    err = said.read_text() if said.exists() else "killed"
    seconds = usage.ru_utime + usage.ru_stime
    return Trial(os.waitstatus_to_exitcode(status), err, seconds, 1024 * usage.ru_maxrss)


def _ended(child: int) -> tuple[int, int, resource.struct_rusage]:
    """Waits for a process; ends it where it sleeps for long, without a moment of a processor."""
    used, since, pause = "", time.monotonic(), 0.001
    while not (found := os.wait4(child, os.WNOHANG))[0]:
        state, *fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        now = " ".join(fields[10:12])  # clock ticks, of its own and of the system for it
        if now != used or state == "R":
            used, since = now, time.monotonic()
        if time.monotonic() - since > STILL:
            os.kill(child, signal.SIGALRM)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return found


def summary(name: str, trials: list[Trial]) -> str:
    """What a test of full counts prints."""
    rejected = sum(trial.status == 2 for trial in trials)
    worst, memory = max(trial.seconds for trial in trials), max(trial.memory for trial in trials) / 2**20
    return f"\n{name}: {len(trials)} trials, {rejected} rejected, 0 failed, {worst:.1f} s, {memory:.0f} MB"
