"""Files that are whole at every instant, and what is read from disk: within bounds, and as it should be."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PARTIAL = ".partial"
MOUNTS = Path("/proc/mounts")
OWN = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"}  # never shared
TEXT = 64 * 2**20  # bytes of the largest text that is read: summaries, cards, recipes
KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


def check_file(path: Path, largest: int | None = None) -> None:
    """Raises OSError unless `path` is a regular file, of `largest` bytes at most."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        raise OSError("does not exist, or cannot be accessed") from None
    for test, kind in KINDS.items():
        if test(found.st_mode):
            raise OSError(f"is {kind}, not a file")
    if largest is not None and found.st_size > largest:
        raise OSError(f"has {found.st_size} bytes; at most {largest} are read")


def read_file(path: Path, largest: int = TEXT) -> bytes:
    """The content of a regular file that a user named; raises OSError, also where it has more bytes."""
    check_file(path, largest)
    with path.open("rb") as file:
        content = file.read(largest + 1)  # the size that a file states of itself may be wrong, as in /proc
    if len(content) > largest:
        raise OSError(f"has more than {largest} bytes, which are not read")
    return content


def read_text(path: Path) -> str:
    """The content of a small text file that a user named."""
    return read_file(path).decode()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write to, which takes the place of `path` in one step once it is on disk.

    A kill leaves either the old file or the new one, and perhaps a partial one beside, see `sweep`.
    """
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the content of `path` in one step."""
    try:
        with replacing(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror}); what was there before is kept: make room, "
            "then resume"
        ) from None


def sweep(folder: Path) -> None:
    """Removes what killed processes left half written."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def is_own(path: Path) -> bool:
    """Whether a file system is surely of this machine alone; False of NFS, Lustre, GPFS and unknown ones."""
    try:
        mounts = [line.split()[1:3] for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return False
    real = path.resolve()
    kinds = {Path(place.replace(r"\040", " ")): kind for place, kind in mounts}  # the last one hides others
    nearest = next((kinds[folder] for folder in (real, *real.parents) if folder in kinds), None)
    return nearest in OWN


def typed(kind: type[T] | Any, text: str | bytes, what: str) -> T:
    """JSON as an object of a type, checked field by field.

    Raises ValueError that begins with `what` and says which field is wrong.
    """
    from pydantic import TypeAdapter, ValidationError  # takes a while to import

    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first, *others = error.errors()
        place = ".".join(map(str, first["loc"])) or "the whole"
        more = f", and {len(others)} other faults" if others else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{what} cannot be used: {place}: {reason}{more}") from None
