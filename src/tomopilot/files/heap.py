"""A look at the texts of an HDF5 file before HDF5 looks: some damaged ones it never returns from."""

from pathlib import Path

import numpy as np

SIGN, HEAD, ALIGNED = b"GCOL\1\0\0\0", 16, 8
VIRTUAL = b"\4\3"  # ahead of the place of a heap that lists the files of a virtual data set
WRAP = 2**64  # where HDF5's numbers begin again: half of it and more leads back
LOOKED_AT = 4 * 2**20  # bytes at either end of the file, where its texts are


def has_damaged_texts(path: Path) -> bool:
    """Whether a global heap leads to itself, or a text in one says it is longer than the file.

    HDF5 (format specification, III.E) walks from object to object without end in the first
    (HDFGroup/hdf5 issue 1707), and takes as much memory as the second says before it looks.
    """
    size, heaps = path.stat().st_size, {}
    starts = sorted({0, max(0, size - LOOKED_AT)})
    with path.open("rb") as file:
        parts = [(file.seek(start), file.read(LOOKED_AT))[1] for start in starts]
    for start, content in zip(starts, parts, strict=True):
        place = content.find(SIGN)
        while place >= 0:
            texts = _texts(content, place)
            if texts is None:
                return True
            heaps[start + place] = texts
            place = content.find(SIGN, place + 1)
    return any(_too_long(content, heaps, size) for content in parts)


def _texts(content: bytes, start: int) -> set[int] | None:
    """The numbers of the texts in a heap; None where it leads to itself."""
    end = min(len(content), start + int.from_bytes(content[start + 8 : start + HEAD], "little"))
    place, found = start + HEAD, set()
    while place + HEAD <= end:
        index = int.from_bytes(content[place : place + 2], "little")
        size = int.from_bytes(content[place + 8 : place + HEAD], "little")
        step = (size if index == 0 else HEAD + -(-size // ALIGNED) * ALIGNED) % WRAP
        if step == 0 or step >= WRAP // 2:
            return None
        found.add(index)
        place += step
    return found - {0}


def _too_long(content: bytes, heaps: dict[int, set[int]], most: int) -> bool:
    """Whether anything is said to be longer: a length, the place of its heap, and its number there."""
    places = np.array([*heaps], "<u8")
    for first in range(8 if heaps else 0):
        words = np.frombuffer(content, "<u8", max(0, len(content) - first) // 8, first)
        for word in np.flatnonzero(np.isin(words, places)):
            place = first + 8 * int(word)
            before, number = content[max(0, place - 4) : place], content[place + 8 : place + 12]
            if before.endswith(VIRTUAL) or int.from_bytes(number, "little") not in heaps[words[word]]:
                continue
            if int.from_bytes(before, "little") > most:
                return True
    return False
