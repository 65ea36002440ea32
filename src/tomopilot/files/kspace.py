"""`scan.h5` of an MRI scan: plain HDF5 with its measured k-space rows."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tomopilot.disk import InputFileError
from tomopilot.files.nexus import write_h5
from tomopilot.files.reading import naming
from tomopilot.files.sets import local_dataset

FORMAT = "tomopilot k-space rows 1"
FIELDS = {  # axes, kinds of number and place of every array
    "values": ("n w", "c", "kspace/values"),
    "rows": ("n", "iu", "kspace/rows"),
    "reconstruction": ("h w", "c", "reconstruction/image"),
    "uncertainty": ("h w", "f", "reconstruction/uncertainty"),
    "samples": ("k h w", "c", "reconstruction/samples"),
    "scores": ("steps h", "f", "design/scores"),
}
MEANING = {
    "kspace/values": "measured rows in the order taken, of fftshift(fft2(ifftshift(image), norm='ortho'))",
    "kspace/rows": "their row numbers from 0 at the top; the constant image is in row h // 2, column w // 2",
    "reconstruction/image": "estimate, complex",
    "reconstruction/uncertainty": "sample standard deviation of the magnitude",
    "reconstruction/samples": "posterior samples, complex",
    "design/scores": "of every row when each next one was chosen; NaN where not scored",
}


@dataclass(frozen=True)
class KspaceFile:
    """Measured rows in the order taken, the estimate made of them, and how each next row was chosen."""

    values: np.ndarray  # (n, w) complex
    rows: np.ndarray  # (n,)
    reconstruction: np.ndarray  # (h, w) complex
    uncertainty: np.ndarray  # (h, w) sample standard deviation of the magnitude
    samples: np.ndarray  # (k, h, w) complex
    scores: np.ndarray  # (steps, h)
    name: str
    provenance: dict[str, str]

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for field, (axes, kinds, _) in FIELDS.items():
            array, names = getattr(self, field), axes.split()
            agree = [
                sizes.setdefault(axis, size) == size for axis, size in zip(names, array.shape, strict=False)
            ]
            if array.dtype.kind not in kinds or array.ndim != len(names) or not all(agree):
                raise ValueError(f"{field} is {array.dtype} {array.shape}; expected ({axes}) with {sizes}")


def write_kspace(path: Path, scan: KspaceFile) -> None:
    """Writes `scan` so that `path` is at every instant as it was before or complete."""

    def fill(file: h5py.File) -> None:
        for field, (_, _, place) in FIELDS.items():
            file[place] = getattr(scan, field)
            file[place].attrs["meaning"] = MEANING[place]
        file.attrs.update(format=FORMAT, name=scan.name, provenance=json.dumps(scan.provenance))

    write_h5(path, fill)


def read_kspace(path: Path) -> KspaceFile:
    """The scan that `write_kspace` wrote to `path`."""
    with naming(str(path)), h5py.File(path, "r") as file:
        if (found := file.attrs.get("format")) != FORMAT:
            raise InputFileError(f"its format is {found!r}; expected {FORMAT!r}, written by tomopilot")
        arrays = {field: local_dataset(file, place)[()] for field, (_, _, place) in FIELDS.items()}
        provenance = json.loads(str(file.attrs["provenance"]))
        return KspaceFile(**arrays, name=str(file.attrs["name"]), provenance=provenance)
