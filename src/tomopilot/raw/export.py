"""Measured scans as NXtomo files, written a frame at a time."""

from pathlib import Path

import h5py
import numpy as np

from tomopilot.files.nexus import DETECTOR, begin_entry, finish_entry, write_h5, write_length, write_process
from tomopilot.measure.noise import in_words
from tomopilot.raw.nxtomo import DARK, FLAT, PROCESS, PROJECTION
from tomopilot.raw.records import FanBeam, Frames, LineIntegrals, RawScan

AT_ONCE = 16  # frames


def write_counts(path: Path, raw: RawScan) -> None:
    """A scan as it was measured, flats and darks in their places in the order of acquisition.

    Projections that cannot be read are left out. `path` is at every instant as it was before or complete.
    """

    def fill(file: h5py.File) -> None:
        begin_entry(file)
        kept = np.array([i for i in range(len(raw.angles)) if i not in raw.quarantined], int)
        parts = _in_order(raw, kept)
        _write_frames(file, [frames for _, frames in parts], f"{DETECTOR}/data", raw.projections.dtype)
        keys = np.concatenate([np.full(len(frames), key) for key, frames in parts])
        angles = np.zeros(len(keys))
        angles[keys == PROJECTION] = np.rad2deg(raw.angles[kept])
        if raw.monitor is not None:
            monitor = np.where(keys == FLAT, 1.0, 0.0)
            monitor[keys == PROJECTION] = raw.monitor[kept]
            file.create_group("entry/control").attrs["NX_class"] = "NXmonitor"
            file["entry/control/data"] = monitor
        if raw.mask is not None and len(raw.mask) == 1:
            file[f"{DETECTOR}/pixel_mask"] = raw.mask.read()[0].astype(np.uint32)
        elif raw.mask is not None:
            mask = np.zeros((len(keys), raw.projections.rows, raw.projections.bins), np.uint8)
            mask[keys == PROJECTION] = raw.mask[kept].read()
            _write_mask(file, mask)
        if raw.ceiling is not None:
            file[f"{DETECTOR}/saturation_value"] = raw.ceiling
        _geometry(file, raw.pixel_size, raw.fan)
        finish_entry(file, raw.name, angles, keys, raw.axis, raw.counts)

    write_h5(path, fill)


def write_line_integrals(path: Path, lines: LineIntegrals, version: str = "") -> None:
    """Line integrals, what was masked of them, and how they were made.

    Masked values are those between their neighbours, so that other programs can reconstruct them;
    `pixel_mask` of each frame says which. `path` is at every instant as it was before or complete.
    """

    def fill(file: h5py.File) -> None:
        begin_entry(file)
        file[f"{DETECTOR}/data"] = lines.values
        if lines.mask.any():
            _write_mask(file, lines.mask.astype(np.uint8))
        _geometry(file, lines.pixel_size, lines.fan)
        axis = (lines.values.shape[-1] - 1) / 2 + lines.offset
        keys = np.full(len(lines.angles), PROJECTION)
        finish_entry(file, lines.name, np.rad2deg(lines.angles), keys, axis, counts=False)
        note = {
            "noise": in_words(lines.noise),
            "numbers": lines.numbers.tolist(),
            "quarantined": {str(number): why for number, why in lines.quarantined.items()},
            "log": dict(lines.log),
        }
        write_process(file, f"entry/{PROCESS}", version, "how the line integrals were made", note)

    write_h5(path, fill)


def _in_order(raw: RawScan, kept: np.ndarray) -> list[tuple[int, Frames]]:
    """Darks, then flats and projections as they were taken, each with its key."""
    parts = [(DARK, raw.darks)] if raw.darks is not None else []
    begun = 0
    if raw.flats is not None:
        after = np.zeros(len(raw.flats), int) if raw.flats_after is None else raw.flats_after
        for time in np.unique(after):
            until = int(np.searchsorted(kept, time))
            parts += [(PROJECTION, raw.projections[kept[begun:until]]), (FLAT, raw.flats[after == time])]
            begun = until
    return [*parts, (PROJECTION, raw.projections[kept[begun:]])]


def _write_frames(file: h5py.File, parts: list[Frames], place: str, dtype: np.dtype) -> None:
    dtype = np.result_type(dtype, *(frames.dtype for frames in parts))
    shape = (sum(map(len, parts)), parts[-1].rows, parts[-1].bins)
    data, done = file.create_dataset(place, shape, dtype), 0
    for frames in parts:
        for first in range(0, len(frames), AT_ONCE):
            some = frames[first : first + AT_ONCE]
            data[done : done + len(some)] = some.read()
            done += len(some)


def _write_mask(file: h5py.File, mask: np.ndarray) -> None:
    """NXdetector's pixel_mask of each frame."""
    chunks = (1, *mask.shape[1:])
    file.create_dataset(f"{DETECTOR}/pixel_mask", data=mask, chunks=chunks, compression="gzip")


def _geometry(file: h5py.File, pixel_size: float | None, fan: FanBeam | None) -> None:
    """Pixels, and the distances of a fan beam along the beam from the sample."""
    if pixel_size is not None:
        write_length(file, f"{DETECTOR}/x_pixel_size", pixel_size)
    if fan is not None:
        file.create_group("entry/instrument/source").attrs["NX_class"] = "NXsource"
        write_length(file, "entry/instrument/source/distance", -fan.source_axis)
        write_length(file, f"{DETECTOR}/distance", fan.source_detector - fan.source_axis)
        file[f"{DETECTOR}/data"].attrs["beam"] = "fan"
