"""NXtomo files: projections, flats and darks in one stack, told apart by a key."""

import json
from pathlib import Path

import h5py
import numpy as np

from tomopilot.files.nexus import AXIS
from tomopilot.files.reading import InputFileError, local_dataset
from tomopilot.measure.noise import Noise, from_words
from tomopilot.raw.angles import radians
from tomopilot.raw.hdf5 import Entry
from tomopilot.raw.records import FanBeam, Frames, RawScan

PROJECTION, FLAT, DARK = 0, 1, 2  # values of image_key
DETECTOR = "instrument/detector"
PROCESS = "line_integrals"  # our own group of an entry, about how its data were made of counts


def entries(file: h5py.File) -> list[str]:
    """The groups that say that they are NXtomo, wherever they are."""
    found = []

    def visit(path: str, node: h5py.Group | h5py.Dataset) -> None:
        is_here = isinstance(node, h5py.Group) and isinstance(
            node.get("definition", getlink=True), h5py.HardLink
        )
        if is_here and Entry(file, f"/{path}").text("definition") == "NXtomo":
            found.append(f"/{path}")

    file.visititems(visit)  # follows neither soft links nor those to other files
    return sorted(found)


def read_nxtomo(path: Path, file: h5py.File, group: str, angles_in: str | None) -> RawScan:
    """The scan of one entry: image_key 0 are projections, 1 flats, 2 darks; all others are left out."""
    entry = Entry(file, group)
    data = entry.place(f"{DETECTOR}/data", "data/data")
    at = entry.place("sample/rotation_angle", "data/rotation_angle")
    angles = entry.numbers("sample/rotation_angle", "data/rotation_angle")
    keys = entry.numbers(f"{DETECTOR}/image_key", "data/image_key")
    if data is None or keys is None or angles is None or at is None:
        parts = {"detector data": data, "image_key": keys, "sample/rotation_angle": angles}
        missing = " and ".join(what for what, found in parts.items() if found is None)
        raise InputFileError(f"the NXtomo entry {group} has no {missing}; expected all three: copy it again")
    frames = entry.frames(data)
    for what, values in (("image keys", keys), ("rotation angles", angles)):
        if len(values) != len(frames):
            raise InputFileError(f"it has {len(values)} {what} for {len(frames)} frames; expected as many")
    control = entry.numbers(f"{DETECTOR}/image_key_control", "data/image_key_control")
    if control is not None and len(control) == len(keys):
        keys = np.where(control < 0, control, keys)  # -1: taken for alignment
    taken, flats, darks = (np.flatnonzero(keys == key) for key in (PROJECTION, FLAT, DARK))
    others = len(keys) - len(taken) - len(flats) - len(darks)
    ceiling = entry.numbers(f"{DETECTOR}/saturation_value")
    return RawScan(
        name=entry.text("sample/name", "title") or path.stem,
        format=f"NXtomo ({group})",
        projections=frames[taken],
        angles=radians(angles[taken], entry.attribute(at, "units"), angles_in),
        counts=entry.attribute(data, "quantity") != "line integral",
        flats=frames[flats] if len(flats) else None,
        flats_after=np.searchsorted(taken, flats) if len(flats) else None,
        darks=frames[darks] if len(darks) else None,
        pixel_size=_size(entry),
        monitor=_monitor(entry.numbers("control/data"), taken, flats, len(keys)),
        fan=_fan(entry, data),
        ceiling=None if ceiling is None else float(ceiling[0]),
        mask=_mask(entry, taken, len(keys)),
        axis=_axis(entry),
        noise=_noise(entry),
        remarks=(f"{others} frames are neither projections, flats nor darks: left out",) * bool(others),
    )


def _size(entry: Entry) -> float | None:
    """The width of a pixel; files that hold something else there are as if it were not known."""
    size = entry.length(f"{DETECTOR}/x_pixel_size")
    return size if size is not None and 0 < size < np.inf else None


def _monitor(
    values: np.ndarray | None, taken: np.ndarray, flats: np.ndarray, count: int
) -> np.ndarray | None:
    """The incident intensity of each projection over that of the flats, where all were recorded."""
    if values is None or len(values) != count or not len(flats) or not (values[[*taken, *flats]] > 0).all():
        return None
    return values[taken] / values[flats].mean()


def _mask(entry: Entry, taken: np.ndarray, count: int) -> Frames | None:
    """NXdetector's pixel_mask, of the detector or of each frame."""
    place = entry.place(f"{DETECTOR}/pixel_mask")
    if place is None:
        return None
    node = local_dataset(entry.file, place, whole=False)
    if node.ndim == 2:
        return Frames.of(np.asarray(entry.small(place)[()])[None])
    frames = entry.frames(place)
    if len(frames) != count:
        raise InputFileError(f"its pixel_mask has {len(frames)} frames; expected {count}, as the detector")
    return frames[taken]


def _fan(entry: Entry, data: str) -> FanBeam | None:
    """As we write it: NXtomo itself is about parallel beams, and its distances say nothing of the rays."""
    if entry.attribute(data, "beam") != "fan":
        return None
    source, detector = entry.length("instrument/source/distance"), entry.length(f"{DETECTOR}/distance")
    if source is None or detector is None:
        raise InputFileError("its fan beam has no distances of source and detector; copy the file again")
    return FanBeam(-source, detector - source)


def _axis(entry: Entry) -> float | None:
    """As we write it: other programs mean the detector's middle, its edge, or an estimate of a motor."""
    place = entry.place(f"{DETECTOR}/x_rotation_axis_pixel_position")
    if place is None or entry.attribute(place, "meaning") != AXIS:
        return None
    values = entry.numbers(f"{DETECTOR}/x_rotation_axis_pixel_position")
    return None if values is None else float(values[0])


def _noise(entry: Entry) -> Noise | None:
    """Of line integrals that we wrote."""
    said = entry.text(f"{PROCESS}/provenance/data")
    return None if said is None else from_words(json.loads(said)["noise"])
