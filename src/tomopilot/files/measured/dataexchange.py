"""Data Exchange files (APS, TomoPy): projections, flats and darks in data sets of their own."""

from pathlib import Path

import h5py

from tomopilot.files.measured.angles import radians
from tomopilot.files.measured.hdf5 import first_of, frames_of, length_at, numbers_at, text_at, unit_at
from tomopilot.files.measured.records import RawScan
from tomopilot.files.reading import InputFileError

DEGREES = "degrees"  # of theta, by the format's definition, where the file says nothing


def is_dataexchange(file: h5py.File) -> bool:
    return first_of(file["/"], "exchange/data") is not None


def read_dataexchange(path: Path, file: h5py.File, angles_in: str | None) -> RawScan:
    """The scan of the group `exchange`; its flats and darks are averaged, as nothing says when they were."""
    root = file["/"]
    theta = first_of(root, "exchange/theta")
    if theta is None:
        raise InputFileError("it has no exchange/theta; expected the angle of every projection there")
    flats, darks = (first_of(root, f"exchange/data_{kind}") for kind in ("white", "dark"))
    return RawScan(
        name=text_at(file, first_of(root, "measurement/sample/name")) or path.stem,
        format="Data Exchange",
        projections=frames_of(file, "/exchange/data"),
        angles=radians(numbers_at(file, theta), unit_at(file, theta) or DEGREES, angles_in),
        counts=True,
        flats=None if flats is None else frames_of(file, flats),
        darks=None if darks is None else frames_of(file, darks),
        pixel_size=length_at(file, first_of(root, *PIXELS)),
    )


PIXELS = tuple(f"measurement/instrument/detector/{name}" for name in ("x_pixel_size", "pixel_size_x"))
