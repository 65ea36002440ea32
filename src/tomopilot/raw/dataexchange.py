"""Data Exchange files (APS, TomoPy): projections, flats and darks in data sets of their own."""

from pathlib import Path

import h5py

from tomopilot.files.reading import InputFileError
from tomopilot.raw.angles import radians
from tomopilot.raw.hdf5 import Entry
from tomopilot.raw.records import RawScan

DEGREES = "degrees"  # of theta, by the format's definition, where the file says nothing
PIXELS = tuple(f"measurement/instrument/detector/{name}" for name in ("x_pixel_size", "pixel_size_x"))


def read_dataexchange(path: Path, file: h5py.File, angles_in: str | None) -> RawScan:
    """The scan of the group `exchange`; its flats and darks are averaged, as nothing says when they were."""
    root = Entry(file)
    theta, at = root.numbers("exchange/theta"), root.place("exchange/theta")
    if theta is None or at is None:
        raise InputFileError("it has no exchange/theta; expected the angle of every projection there")
    flats, darks = (root.place(f"exchange/data_{kind}") for kind in ("white", "dark"))
    return RawScan(
        name=root.text("measurement/sample/name") or path.stem,
        format="Data Exchange",
        projections=root.frames("/exchange/data"),
        angles=radians(theta, root.attribute(at, "units") or DEGREES, angles_in),
        counts=True,
        flats=None if flats is None else root.frames(flats),
        darks=None if darks is None else root.frames(darks),
        pixel_size=root.length(*PIXELS),
    )
