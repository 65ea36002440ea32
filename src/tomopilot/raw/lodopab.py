"""Observations of LoDoPaB-CT: simulated low-dose sinograms of unrelated chest slices."""

from pathlib import Path

import h5py
import numpy as np

from tomopilot.measure.noise import Poisson
from tomopilot.raw.hdf5 import Entry
from tomopilot.raw.records import RawScan

ANGLES, BINS = 1000, 513
SCALE = 81.35858  # per metre, by which line integrals were divided
SIDE = 0.26  # metres, of the square image
PHOTONS = 4096.0  # a bin without a sample


def is_lodopab(file: h5py.File) -> bool:
    """Whether its only sign is there: the shape of its data."""
    node = file.get("data") if isinstance(file.get("data", getlink=True), h5py.HardLink) else None
    return isinstance(node, h5py.Dataset) and node.shape[1:] == (ANGLES, BINS)


def read_lodopab(path: Path, file: h5py.File) -> RawScan:
    """Each sample is a detector row. Angles are those at which images come out as the files hold them.

    Angle i of the data set is phi = (i + 1/2) pi / 1000, with x along the first axis of the image and y along
    the second (ODL's parallel-beam geometry): for rows downwards and columns to the right, phi - pi / 2.
    """
    return RawScan(
        name=path.stem,
        format="LoDoPaB-CT observations",
        projections=Entry(file).frames("/data", axis=1, factor=SCALE),
        angles=(np.arange(ANGLES) + 0.5) * np.pi / ANGLES - np.pi / 2,
        counts=False,
        pixel_size=SIDE * 2**0.5 / BINS,
        axis=(BINS - 1) / 2,
        noise=Poisson(PHOTONS, 1.0),
        remarks=("its rows are samples of different slices",),
    )
