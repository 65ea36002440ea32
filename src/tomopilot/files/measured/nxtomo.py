"""NXtomo files: projections, flats and darks in one stack, told apart by a key."""

from pathlib import Path
from typing import Any, TypedDict

import h5py
import numpy as np

from tomopilot.disk import typed
from tomopilot.files.measured.angles import radians
from tomopilot.files.measured.hdf5 import first_of, frames_of, length_at, numbers_at, text_at, unit_at
from tomopilot.files.measured.records import FanBeam, Frames, RawScan
from tomopilot.files.nexus import AXIS, NOTE
from tomopilot.files.reading import InputFileError, local_dataset
from tomopilot.measure.noise import Noise, from_words

PROJECTION, FLAT, DARK = 0, 1, 2  # values of image_key
DETECTOR = "instrument/detector"


def entries(file: h5py.File) -> list[str]:
    """The groups that say that they are NXtomo, wherever they are."""
    found = []

    def visit(path: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Group) and _is_nxtomo(file, f"/{path}"):
            found.append(f"/{path}")

    file.visititems(visit)  # follows neither soft links nor those to other files
    return sorted(found)


def _is_nxtomo(file: h5py.File, path: str) -> bool:
    group = file[path]
    if not isinstance(group.get("definition", getlink=True), h5py.HardLink):
        return False
    node = group["definition"]
    return isinstance(node, h5py.Dataset) and text_at(file, f"{path}/definition") == "NXtomo"


def read_nxtomo(path: Path, file: h5py.File, entry: str, angles_in: str | None) -> RawScan:
    """The scan of one entry: image_key 0 are projections, 1 flats, 2 darks; all others are left out."""
    group = file[entry]
    data = first_of(group, f"{DETECTOR}/data", "data/data")
    keys_at = first_of(group, f"{DETECTOR}/image_key", "data/image_key")
    angles_at = first_of(group, "sample/rotation_angle", "data/rotation_angle")
    if data is None or keys_at is None or angles_at is None:
        missing = {"detector data": data, "image_key": keys_at, "sample/rotation_angle": angles_at}
        absent = " and ".join(what for what, place in missing.items() if place is None)
        raise InputFileError(f"the NXtomo entry {entry} has no {absent}; expected all three: copy it again")
    frames, keys = frames_of(file, data), numbers_at(file, keys_at)
    control = first_of(group, f"{DETECTOR}/image_key_control", "data/image_key_control")
    if control is not None and len(said := numbers_at(file, control)) == len(keys):
        keys = np.where(said < 0, said, keys)  # -1: taken for alignment
    angles, unit = numbers_at(file, angles_at), unit_at(file, angles_at)
    for what, values in (("image keys", keys), ("rotation angles", angles)):
        if len(values) != len(frames):
            raise InputFileError(
                f"it has {len(values)} {what} for {len(frames)} frames; expected one for each frame"
            )
    taken = np.flatnonzero(keys == PROJECTION)
    flats, darks = np.flatnonzero(keys == FLAT), np.flatnonzero(keys == DARK)
    others = len(keys) - len(taken) - len(flats) - len(darks)
    return RawScan(
        name=text_at(file, first_of(group, "sample/name", "title")) or path.stem,
        format=f"NXtomo ({entry})",
        projections=frames[taken],
        angles=radians(angles[taken], unit, angles_in),
        counts=_quantity(file, data) != "line integral",
        flats=frames[flats] if len(flats) else None,
        flats_after=np.searchsorted(taken, flats) if len(flats) else None,
        darks=frames[darks] if len(darks) else None,
        pixel_size=length_at(file, first_of(group, f"{DETECTOR}/x_pixel_size")),
        monitor=_monitor(file, group, taken, flats, len(keys)),
        fan=_fan(file, group, data),
        ceiling=_ceiling(file, group),
        mask=_mask(file, group, taken, len(keys)),
        axis=_axis(file, group),
        noise=_noise(file, group),
        remarks=(f"{others} frames are neither projections, flats nor darks: left out",) * bool(others),
    )


def _quantity(file: h5py.File, data: str) -> str:
    said = local_dataset(file, data, whole=False).attrs.get("quantity", "")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _monitor(
    file: h5py.File, group: h5py.Group, taken: np.ndarray, flats: np.ndarray, count: int
) -> np.ndarray | None:
    """The incident intensity of each projection over that of the flats, where all were recorded."""
    place = first_of(group, "control/data")
    values = np.zeros(0) if place is None else numbers_at(file, place)
    if len(values) != count or not len(flats) or not (values[[*taken, *flats]] > 0).all():
        return None
    return values[taken] / values[flats].mean()


def _mask(file: h5py.File, group: h5py.Group, taken: np.ndarray, count: int) -> Frames | None:
    """NXdetector's pixel_mask, of the detector or of each frame."""
    place = first_of(group, f"{DETECTOR}/pixel_mask")
    if place is None:
        return None
    if local_dataset(file, place, whole=False).ndim == 2:
        return Frames.of(np.asarray(local_dataset(file, place)[()])[None])
    frames = frames_of(file, place)
    if len(frames) != count:
        raise InputFileError(f"its pixel_mask has {len(frames)} frames; expected {count}, as the detector")
    return frames[taken]


def _ceiling(file: h5py.File, group: h5py.Group) -> float | None:
    place = first_of(group, f"{DETECTOR}/saturation_value")
    return None if place is None else float(numbers_at(file, place)[0])


def _fan(file: h5py.File, group: h5py.Group, data: str) -> FanBeam | None:
    """As we write it: NXtomo itself is about parallel beams, and its distances say nothing of the rays."""
    if local_dataset(file, data, whole=False).attrs.get("beam") != "fan":
        return None
    source = numbers_at(file, first_of(group, "instrument/source/distance") or "source/distance")[0]
    detector = numbers_at(file, first_of(group, f"{DETECTOR}/distance") or "detector/distance")[0]
    return FanBeam(-float(source), float(detector - source))


def _axis(file: h5py.File, group: h5py.Group) -> float | None:
    """As we write it: other programs mean the detector's middle, its edge, or an estimate of a motor."""
    place = first_of(group, f"{DETECTOR}/x_rotation_axis_pixel_position")
    if place is None or local_dataset(file, place).attrs.get("meaning") != AXIS:
        return None
    return float(numbers_at(file, place)[0])


def _noise(file: h5py.File, group: h5py.Group) -> Noise | None:
    """Of line integrals that we wrote."""
    said = text_at(file, first_of(group, f"{NOTE}/data"))
    return None if said is None else from_words(typed(Note, said, "the note on its line integrals").noise)


class Note(TypedDict):
    """What we write of line integrals, as far as it is read."""

    noise: dict[str, Any]
