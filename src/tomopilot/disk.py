"""Files that are whole at every instant, and text from disk that is what it should be."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PARTIAL = ".partial"
TEXT = 2**26  # bytes of the largest text (a summary, a card, a recipe) that is read


class InputFileError(ValueError):
    """A file that cannot be used: one sentence that says what came, what was expected and what to do."""


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


def check_regular(path: Path, most: int | None = None) -> None:
    """Raises where a path is no regular file: pipes hang, devices never end; `most` is in bytes."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a device or a socket"
        raise InputFileError(f"{path} is {what}; expected a regular file")
    if most is not None and found.st_size > most:
        raise InputFileError(f"{path} has {found.st_size} bytes; at most {most} are read")


def read_text(path: Path) -> str:
    """A text of bounded size."""
    check_regular(path, TEXT)
    return path.read_text()
