"""The door for measured scans: what is this file, by its content, and who reads it."""

import re
from dataclasses import replace
from pathlib import Path

import h5py

from tomopilot.files.reading import InputFileError, NotAScan, check_named, naming, opened
from tomopilot.raw.arrays import read_arrays
from tomopilot.raw.dataexchange import read_dataexchange
from tomopilot.raw.hdf5 import Entry
from tomopilot.raw.lodopab import is_lodopab, read_lodopab
from tomopilot.raw.nxtomo import entries, read_nxtomo
from tomopilot.raw.records import RawScan
from tomopilot.raw.series import read_series

KNOWN = (
    "NXtomo or Data Exchange HDF5, LoDoPaB-CT observations, npz with projections or a sinogram, or TIFF "
    "files with a table of angles"
)
ZIP, TIFFS = b"PK\x03\x04", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_measured(source: str, *, angles_in: str | None = None, counts: bool | None = None) -> RawScan:
    """The measured scan in a file or folder; its frames are read when asked for.

    source: `FILE`, `FILE:/entry` or `FILE:/array` where it holds several, or a folder of TIFF files
    angles_in: "degrees" or "radians", where the file does not say it or is wrong
    counts: whether its values are counts (else line integrals), where the format does not say it
    Raises InputFileError: one sentence that says what came, what was expected and what to do.
    """
    named = re.fullmatch(r"(.+):(/.*)", source, re.DOTALL)
    file, inside = named.groups() if named and not Path(source).exists() else (source, "")
    path = Path(file)
    with naming(source):
        raw = _read(path, inside, angles_in)
        return raw if counts is None else replace(raw, counts=counts)


def _read(path: Path, inside: str, angles_in: str | None) -> RawScan:
    if path.is_dir():
        return read_series(path, angles_in)
    check_named(path, f"a scan: {KNOWN}")
    with path.open("rb") as file:
        begins = file.read(4)
    if begins == ZIP:
        return read_arrays(path, inside, angles_in)
    if begins in TIFFS:
        return read_series(path, angles_in)
    if h5py.is_hdf5(path):
        with opened(path) as file:
            return _read_hdf5(path, file, inside, angles_in)
    raise NotAScan(f"it begins with {begins!r}, as no scan does; expected {KNOWN}")


def _read_hdf5(path: Path, file: h5py.File, inside: str, angles_in: str | None) -> RawScan:
    found = entries(file)
    chosen = [entry for entry in found if entry == inside.rstrip("/")] if inside else found
    if len(chosen) == 1:
        return read_nxtomo(path, file, chosen[0], angles_in)
    if found:
        raise InputFileError(
            f"its NXtomo entries are {', '.join(found)}; expected one to be named, as {path.name}:{found[0]}"
        )
    if Entry(file).place("exchange/data"):
        return read_dataexchange(path, file, angles_in)
    if is_lodopab(file):
        return read_lodopab(path, file)
    held = ", ".join(sorted(file)[:9]) or "nothing"
    raise NotAScan(f"it holds {held}, and no group says that it is a scan; expected {KNOWN}")
