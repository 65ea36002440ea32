"""Files that are whole at every instant: written beside, flushed, then put in place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


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
