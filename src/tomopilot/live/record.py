"""The record of a live scan in its folder: how it begins, and what is read of it again."""

import hashlib
from contextlib import closing
from pathlib import Path

from torch import Tensor

from tomopilot import __version__
from tomopilot.files.logbook import Logbook
from tomopilot.live.setup import Setup

BOOK = "live.db"  # in the folder of a scan
ALIVE = "alive"  # touched while the scan is held
FORMAT = 1
KEY = "live"  # of the scan in its record
SLOTS = 4  # latest samples that are kept


def open_record(folder: Path, checked: bool = True) -> Logbook:
    """The record of the live scan in a folder; raises ValueError where there is none.

    checked: see `Archive`
    """
    check_record(folder)
    return Logbook(folder / BOOK, checked)


def check_record(folder: Path) -> None:
    """Raises where there is no live scan in a folder."""
    if not (folder / BOOK).is_file():
        raise ValueError(f"{folder} contains no live scan; start one with tomopilot serve --setup FILE.toml")


def begin(folder: Path, setup: Setup) -> None:
    """Makes the record of a scan; raises ValueError where there is one already."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(Logbook(folder / BOOK)) as book:
        if book.described("live") is not None:
            raise ValueError(f"{folder} already contains a live scan: resume it, or choose another folder")
        text = setup.settled().to_json()
        with book.at_once():
            book.describe("live", {"format": FORMAT, "version": __version__, "setup": text})
            book.add_event("begun", {"setup": hashlib.sha256(text.encode()).hexdigest()})


def read_setup(book: Logbook) -> Setup:
    """The setup of a scan's record; raises ValueError where it was changed, or another version wrote it."""
    about, place = book.described("live"), book.path.parent
    if about is None:
        raise ValueError(f"{place} contains no live scan; start one with a setup")
    if (
        not isinstance(about, dict)
        or about.get("format") != FORMAT
        or not isinstance(about.get("setup"), str)
    ):
        raise ValueError(f"the live scan in {place} was started by another version of tomopilot; use that")
    first = book.events(most=1)
    if not first or first[0].content["setup"] != hashlib.sha256(about["setup"].encode()).hexdigest():
        raise ValueError(f"the setup of the live scan in {place} was changed after it began; start a new one")
    return Setup.from_json(about["setup"])


def slot_of(number: int) -> str:
    """The name in the record of one of the latest samples."""
    return f"{KEY} samples {number}"


def keep_deviations(book: Logbook, number: int, values: Tensor) -> None:
    """Puts on disk how a projection deviated from what was predicted of it."""
    book.add_estimate(f"{KEY} deviations {number}", number, {"values": values})


def deviations_of(book: Logbook, number: int) -> Tensor | None:
    """How a projection deviated from what was predicted of it; None where nothing was."""
    found = book.estimate(f"{KEY} deviations {number}", number)
    return found["values"] if found else None
