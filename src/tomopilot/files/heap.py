"""A look at the texts of an HDF5 file before HDF5 looks: it never returns from some damaged ones."""

from pathlib import Path

SIGN, HEAD, ALIGNED = b"GCOL\1\0\0\0", 16, 8
WRAP = 2**64  # where HDF5's numbers begin again: half of it and more leads back
LOOKED_AT = 4 * 2**20  # bytes at either end of the file, where its texts are


def is_endless(path: Path) -> bool:
    """Whether a global heap (HDF5 format specification, III.E) holds an object that leads to itself.

    HDF5 walks from object to object without end there (HDFGroup/hdf5 issue 1707).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in {0, max(0, size - LOOKED_AT)}:
            file.seek(start)
            content = file.read(LOOKED_AT)
            place = content.find(SIGN)
            while place >= 0:
                if _leads_nowhere(content, place):
                    return True
                place = content.find(SIGN, place + 1)
    return False


def _leads_nowhere(content: bytes, start: int) -> bool:
    end = min(len(content), start + int.from_bytes(content[start + 8 : start + HEAD], "little"))
    place = start + HEAD
    while place + HEAD <= end:
        index = int.from_bytes(content[place : place + 2], "little")
        size = int.from_bytes(content[place + 8 : place + HEAD], "little")
        step = (size if index == 0 else HEAD + -(-size // ALIGNED) * ALIGNED) % WRAP
        if step == 0 or step >= WRAP // 2:
            return True
        place += step
    return False
