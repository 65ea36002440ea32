"""Volumes of VGStudio: a text file `.vgi` that describes raw values in a second one, mostly `.vol`.

The layout is the one that public writers of such files agree on; its maker has published none.
"""

import re
from configparser import RawConfigParser
from pathlib import Path

import numpy as np

from tomopilot.disk import read_file
from tomopilot.files.reading import Found, InputFileError, Pick, check_named, square, stack

TEXT = 2**20  # bytes of the description
TYPES = {  # of a value: its name and bits
    ("float", 32): "<f4",
    ("unsigned integer", 8): "u1",
    ("unsigned integer", 16): "<u2",
    ("signed integer", 16): "<i2",
}


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The slices that were picked along z; x runs along rows, y downwards."""
    sections = _sections(path)
    if [name for name in sections.sections() if re.fullmatch("file[0-9]+", name)] != ["file1"]:
        raise InputFileError("its values are not in one file; expected one section [file1]: save one volume")
    file, geometry = dict(sections["file1"]), dict(sections["geometry"]) if "geometry" in sections else {}
    sides = [float(side) for side in geometry.get("resolution", "").split()]
    pixel_size = square("a pixel by its resolution", sides[:2], geometry.get("unit", ""))
    return Found(stack(_values(path, file), pick), pixel_size)


def _sections(path: Path) -> RawConfigParser:
    """The sections in brackets; the groups in braces, which hold them, only repeat their names."""
    lines = [line.strip() for line in read_file(path, TEXT).decode("latin-1").splitlines()]
    sections = RawConfigParser(strict=False, allow_no_value=True, delimiters="=")
    sections.read_string("\n".join(line for line in lines if not line.startswith("{")))
    if sum(line.lower() == "[file1]" for line in lines) > 1:
        raise InputFileError("it describes several volumes; expected one: save what you mean by itself")
    return sections


def _values(path: Path, file: dict[str, str]) -> np.ndarray:
    """The volume (z, y, x), of which nothing is read yet."""
    words = ("size", "datatype", "bitsperelement", "fileformat", "name", "skipheader")
    size, datatype, bits, layout, name, skipped = (file.get(word) or "" for word in words)
    shape = tuple(int(side) for side in size.split())[::-1]
    dtype = TYPES.get((datatype, int(bits or 0)))
    if len(shape) != 3 or min(shape) < 1 or dtype is None or layout != "raw":
        known = " or ".join(f"{kind} of {bits}" for kind, bits in TYPES)
        raise InputFileError(
            f"its values are {datatype} of {bits} bits, {size}, {layout}; expected {known} bits, x y z, raw"
        )
    data = path.with_name(name) if name and Path(name).name == name and "\\" not in name else None
    if data is None or data.resolve().parent != path.resolve().parent:
        raise InputFileError(
            f"its values are in {name!r}; expected a file in the same folder: put it beside, and correct Name"
        )
    check_named(data, f"the file {name} with its values")
    offset, length = int(skipped or 0), int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    found = data.stat().st_size
    if offset < 0 or offset + length != found:
        raise InputFileError(
            f"{name} has {found} bytes; expected {offset + length}, for {size} values of {bits} bits after "
            f"{offset}: copy it again"
        )
    return np.memmap(data, dtype, "r", offset, shape)
