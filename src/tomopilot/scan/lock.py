"""One process at a time writes a folder: `lock` names who does."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder; raises ValueError that names the owner where another process holds it.

    What a process of this machine left behind when it was killed is taken over.
    """
    path, own = folder / LOCK, json.dumps(_owner())
    while not (_make(path, own) or _take_over(path, own)):
        pass  # it was released in between
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _owner() -> dict[str, Any]:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now, "born": _born(os.getpid())}


def _make(path: Path, own: str) -> bool:
    """Whether the lock was free."""
    try:
        with path.open("x") as file:
            file.write(own)
    except FileExistsError:
        return False
    return True


def _take_over(path: Path, own: str) -> bool:
    """Writes over the lock of a process that is dead; False where the lock has vanished meanwhile."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # only processes of one machine take over from each other
            _check_dead(path, file.read())
            file.seek(0)
            file.truncate()
            file.write(own)
            file.flush()
            return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _check_dead(path: Path, text: str) -> None:
    try:
        owner = json.loads(text)
        host, pid, since, born = owner["host"], int(owner["pid"]), owner["since"], owner["born"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} does not say who is writing there; delete it if no tomopilot is, then start again"
        ) from None
    if host != socket.gethostname():
        raise ValueError(
            f"{path.parent} is being written by process {pid} on {host} since {since}; let it finish, or "
            f"delete {path} if that process is gone"
        )
    if _runs(pid, born):
        raise ValueError(
            f"{path.parent} is being written by process {pid} of this machine since {since}; let it finish, "
            "or stop it"
        )


def _runs(pid: int, born: str | None) -> bool:
    """Whether a process of this machine is still there, and not another of its number."""
    if born is not None:
        return born == _born(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _born(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; None where there is none, or no /proc."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]
