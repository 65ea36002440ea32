"""Arrays in npz files, of which only those asked for are read, and nothing is unpickled."""

import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tomopilot.files.reading import affordable


def array_names(path: Path) -> list[str]:
    """The names of its arrays."""
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_array(path: Path, name: str) -> np.ndarray:
    """One of its arrays."""
    with zipfile.ZipFile(path) as archive:
        affordable(f"the array {name!r}", archive.getinfo(f"{name}.npy").file_size)
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(cast(BinaryIO, member), allow_pickle=False)
