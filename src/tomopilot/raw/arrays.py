"""Scans as arrays with names, in npz files: plain ones, and those of the Helsinki challenge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomopilot.files.npz import array_names, read_array
from tomopilot.files.reading import InputFileError, NotAScan
from tomopilot.raw.angles import radians
from tomopilot.raw.records import FanBeam, Frames, RawScan
from tomopilot.units import metres

EXPECTED = (
    "expected projections (n, rows, bins) with flats and darks, or sinogram (n, bins) or (rows, n, bins), "
    "beside angles_deg or angles_rad"
)
FIRST = ("projections", "sinogram", "fan_sinogram")  # where several are there


def read_arrays(path: Path, inside: str, angles_in: str | None) -> RawScan:
    """The scan in an npz file; `inside` names one of several, as in `FILE.npz:/parallel_sinogram`.

    `projections` are counts, (n, rows, bins) or (n, bins), with `flats` and `darks` of the same shape. A
    `sinogram` holds line integrals, (n, bins) or (rows, n, bins). Angles are `angles_deg` or `angles_rad`;
    lengths such as `pixel_size_m` or `pixel_mm` end with their unit. What stands before `sinogram` may also
    stand before the names of its angles and pixels; `fan_sinogram` has `distance_source_origin_mm` and
    `distance_source_detector_mm`, and its pixels are those of the detector.
    """
    names = array_names(path)
    name = inside.strip("/") or _chosen(names)
    if name not in names or not name.endswith(("projections", "sinogram")):
        kind = InputFileError if inside else NotAScan
        raise kind(f"its arrays are {', '.join(names) or 'none'}; {EXPECTED}")
    prefix = name.removesuffix("projections").removesuffix("sinogram")
    angles_at = _named(names, prefix, ("angles_deg", "angles_rad", "angles", "theta"))
    if angles_at is None:
        raise InputFileError(f"it has no angles beside {name}; {EXPECTED}")
    counts = name.endswith("projections")
    fan = prefix == "fan_"
    source, detector = (_length(path, names, (f"distance_source_{end}",)) for end in ("origin", "detector"))
    if fan and (source is None or detector is None):
        raise InputFileError(f"{name} has no distance_source_origin_mm and distance_source_detector_mm")
    flats, darks = (_frames(path, kind, True) if kind in names else None for kind in ("flats", "darks"))
    return RawScan(
        name=path.stem,
        format=f"npz ({name})",
        projections=_frames(path, name, counts),
        angles=radians(_array(path, angles_at), angles_at, angles_in),
        counts=counts,
        flats=flats,
        darks=darks,
        pixel_size=_length(
            path, names, (f"{prefix}pixel", f"{prefix}pixel_size", "pixel_size", "detector_pixel")
        ),
        fan=FanBeam(source, detector) if fan and source and detector else None,
    )


def _chosen(names: Sequence[str]) -> str:
    others = [name for name in names if name.endswith("_sinogram")]
    known = [name for name in FIRST if name in names] or others[: len(others) == 1]
    return known[0] if known else ""


def _named(names: Sequence[str], prefix: str, stems: Sequence[str]) -> str | None:
    """The first of some names that is there, better with the prefix."""
    return next((n for n in [*(prefix + s for s in stems), *stems] if n in names), None)


def _array(path: Path, name: str) -> np.ndarray:
    values = read_array(path, name)
    if values.dtype.kind not in "biuf":
        raise InputFileError(f"the array {name} is {values.dtype}; expected real numbers")
    return values


def _frames(path: Path, name: str, counts: bool) -> Frames:
    values = _array(path, name)
    if values.ndim not in (2, 3):
        raise InputFileError(f"the array {name} has shape {values.shape}; {EXPECTED}")
    if values.ndim == 2:
        return Frames.of(values[:, None])
    return Frames.of(values if counts else np.swapaxes(values, 0, 1))


def _length(path: Path, names: Sequence[str], stems: Sequence[str]) -> float | None:
    """A length by its name, which ends with the unit, in metres."""
    for stem in stems:
        for name in names:
            unit = metres(name.removeprefix(f"{stem}_")) if name.startswith(f"{stem}_") else None
            if unit is not None:
                values = _array(path, name)
                if values.size != 1:
                    raise InputFileError(f"{name} has {values.size} values; expected one")
                return float(values.ravel()[0]) * unit
    return None
