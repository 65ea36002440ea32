"""What a file or folder is, by its content; the ending of a name decides only where content cannot."""

import os
import re
import zlib
from pathlib import Path

import h5py

from tomopilot.files.reading import InputFileError, check_named

HEAD = 560  # bytes that are looked at, inflated ones of a compressed file
BEGINS = {
    "NumPy": (b"\x93NUMPY",),
    "npz": (b"PK\x03\x04", b"PK\x05\x06"),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
NIFTI = {b"n+1\0": "NIfTI", b"n+2\0": "NIfTI", b"ni1\0": "NIfTI pair", b"ni2\0": "NIfTI pair"}
VGI = re.compile(rb"\s*\{[\w ]+\}\s*\[\w+\]")
REFUSED = {
    "NIfTI pair": "is one of a pair of NIfTI files (.hdr, .img); expected one .nii file: save it as that",
    "gzip": "is a gzip file of something else than NIfTI; expected the file itself: unpack it first",
}
ENDINGS = {".dcm": "DICOM", ".vgi": "VGStudio"}  # of files that may begin with anything
SERIES = {"DICOM": (".dcm",), "TIFF": (".tif", ".tiff")}  # a folder of which is one stack
ZARR = ("zarr.json", ".zarray", ".zgroup")
MANY = 10**5  # files of a folder
KNOWN = ("NumPy", "npz", "PNG", "TIFF", "HDF5", "DICOM", "NIfTI", "VGStudio (.vgi)", "zarr")
EXPECTED = f"an image file or a folder of them ({', '.join(KNOWN)}), or phantom:NAME"


def format_of(path: Path) -> str:
    """The name of the format of a file, or of what a folder holds: a series of files, or a zarr store."""
    if path.is_dir():
        if any((path / name).is_file() for name in ZARR):
            return "zarr"
        return f"{series_in(path)[0]} series"
    check_named(path, EXPECTED)
    found = _by_content(path) or ENDINGS.get(path.suffix.lower(), "")
    if found in REFUSED:
        raise InputFileError(REFUSED[found])
    if not found:
        with path.open("rb") as file:
            head = file.read(8)
        what = f"begins with {head!r}, as no format does that is known here" if head else "is empty"
        hint = "name the .vgi file beside it" if path.suffix.lower() == ".vol" else "export it as one of them"
        raise InputFileError(f"{what}; expected {', '.join(KNOWN)}: {hint}")
    return found


def series_in(folder: Path) -> tuple[str, list[Path]]:
    """The format and the files of a series, in the natural order of their names.

    A file belongs to it by its content or else by its ending, so that a damaged one is not passed over.
    """
    endings = {ending: kind for kind, ends in SERIES.items() for ending in ends}
    found: dict[str, list[Path]] = {}
    for path in sorted(_files(folder), key=natural):
        kind = _by_content(path)
        kind = kind if kind in SERIES else endings.get(path.suffix.lower())
        if kind:
            found.setdefault(kind, []).append(path)
    if len(found) != 1:
        held = " and ".join(f"{len(paths)} {kind} files" for kind, paths in found.items())
        raise InputFileError(
            f"the folder holds {held or 'no slices'}; expected those of one stack, in {' or '.join(SERIES)} "
            "files, or a zarr store: name a single file, or a folder with nothing else"
        )
    return next(iter(found.items()))


def natural(path: Path) -> tuple[list[str | int], str]:
    """What paths are sorted by so that numbers in names count: 2 before 10."""
    parts = re.split("([0-9]+)", path.name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _files(folder: Path) -> list[Path]:
    """The regular files that lie in a folder itself, hidden ones left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry, _ in zip(entries, range(MANY + 1), strict=False)]
    if len(names) > MANY:
        raise InputFileError(f"the folder holds more than {MANY} files; expected the slices of one stack")
    paths = [folder / name for name in names if not name.startswith(".")]
    return [path for path in paths if path.is_file()]


def _by_content(path: Path) -> str | None:
    """The format that the first bytes tell."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(b"\x1f\x8b"):
            return _inside(head + file.read(2**16))
    for name, marks in BEGINS.items():
        if head.startswith(marks):
            return name
    if head[128:132] == b"DICM":
        return "DICOM"
    if h5py.is_hdf5(path):
        return "HDF5"
    return _nifti(head) or ("VGStudio" if VGI.match(head) else None)


def _nifti(head: bytes) -> str | None:
    """NIfTI-1 or NIfTI-2, in either byte order: by its size, a header has its mark early or late."""
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    return NIFTI.get(head[344:348] if 348 in sizes else head[4:8] if 540 in sizes else b"")


def _inside(content: bytes) -> str:
    """What a gzip file holds."""
    try:
        head = zlib.decompressobj(wbits=31).decompress(content, HEAD)
    except zlib.error:
        head = b""
    return _nifti(head) or "gzip"
