"""NXtomo files as we write them; `scan.h5`, one of them: what a scan measured and what was made of it."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomopilot.disk import replacing
from tomopilot.files.reading import InputFileError, local_dataset, naming, opened

DETECTOR = "entry/instrument/detector"
AXIS_AT = f"{DETECTOR}/x_rotation_axis_pixel_position"
AXIS = "column of the rotation axis, from 0, in the middle of a bin"
FIELDS = {  # axes and place of every array; the file has an axis of one detector row between n and bins
    "projections": ("n bins", f"{DETECTOR}/data"),
    "angles_deg": ("n", "entry/sample/rotation_angle"),
    "reconstruction": ("h w", "entry/reconstruction/data"),
    "uncertainty": ("h w", "entry/reconstruction/uncertainty"),
    "samples": ("k h w", "entry/reconstruction/samples"),
    "scores": ("steps designs", "entry/design/scores"),
    "settings_deg": ("designs", "entry/design/settings"),
}
ESTIMATE = ("reconstruction", "uncertainty", "samples")  # not in the file of a volume
LINE_INTEGRALS = (
    "the data are sums of image value x pixel along rays, -log(transmission) already: not counts, so that no "
    "flats, darks or logarithm are to be applied"
)
PIXELS = (  # in metres, where the size of a pixel is known
    f"{DETECTOR}/x_pixel_size",
    "entry/reconstruction/x_pixel_size",
    "entry/reconstruction/y_pixel_size",
)
GROUPS = {
    "entry": "NXentry",
    "entry/instrument": "NXinstrument",
    DETECTOR: "NXdetector",
    "entry/sample": "NXsample",
    "entry/data": "NXdata",
}


@dataclass(frozen=True)
class Frames:
    """Measurements of a volume, (n, rows, bins), each read when it is its turn."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], Iterator[np.ndarray]]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.read()


@dataclass(frozen=True)
class ScanFile:
    """Measurements in the order taken, the estimate made of them, and how each next design was chosen."""

    projections: "np.ndarray | Frames"  # (n, bins), of a volume (n, rows, bins): image value x pixel
    angles_deg: np.ndarray  # (n,)
    scores: np.ndarray  # (steps, designs) when each next design was chosen; NaN where not scored
    settings_deg: np.ndarray  # (designs,) all candidate angles
    name: str  # of the sample
    provenance: dict[str, str]  # such as command, version, seed, prior, posterior, policy, noise
    reconstruction: np.ndarray | None = None  # (h, w); of a volume, they are in a store of their own
    uncertainty: np.ndarray | None = None  # (h, w) sample standard deviation
    samples: np.ndarray | None = None  # (k, h, w)
    pixel_size: float | None = None  # metres, of image and detector
    offset: float = 0.0  # bins from the detector's middle to the rotation axis

    def __post_init__(self) -> None:
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise ValueError(f"the pixel size is {self.pixel_size} m; expected a number above 0, or None")
        sizes: dict[str, int] = {}
        for field, (axes, _) in FIELDS.items():
            if field in ESTIMATE and getattr(self, field) is None:
                continue
            array = getattr(self, field)
            frames = field == "projections" and self.reconstruction is None
            names = ["n", "rows", "bins"] if frames else axes.split()
            agree = [
                sizes.setdefault(axis, size) == size for axis, size in zip(names, array.shape, strict=False)
            ]
            if array.dtype.kind not in "iuf" or array.ndim != len(names) or not all(agree):
                raise ValueError(
                    f"{field} is {array.dtype} {array.shape}; expected real ({' '.join(names)}) with {sizes}"
                )


def write_scan(path: Path, scan: ScanFile) -> None:
    """Writes `scan` so that `path` is at every instant as it was before or complete."""
    write_h5(path, lambda file: _fill(file, scan))


def write_h5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Writes an HDF5 file so that `path` is at every instant as it was before or complete."""
    with replacing(Path(path)) as partial, h5py.File(partial, "x") as file:
        fill(file)


def begin_entry(file: h5py.File) -> None:
    """The groups of every NXtomo entry."""
    for group, kind in GROUPS.items():
        file.create_group(group).attrs["NX_class"] = kind


def finish_entry(
    file: h5py.File, name: str, angles_deg: np.ndarray, keys: np.ndarray, axis: float | None, counts: bool
) -> None:
    """What an NXtomo entry says of the frames in it: angles and keys of all, units, links, names."""
    for place, text in {"definition": "NXtomo", "title": name, "sample/name": name}.items():
        file[f"entry/{place}"] = text
    for key in ("image_key", "image_key_control"):
        file[f"{DETECTOR}/{key}"] = keys.astype(np.int32)  # 0 is a projection, 1 a flat, 2 a dark
    file["entry/sample/rotation_angle"] = angles_deg
    file["entry/sample/rotation_angle"].attrs["units"] = "degree"
    if axis is not None:
        file[AXIS_AT] = float(axis)
        file[AXIS_AT].attrs.update(units="pixel", meaning=AXIS)
    if not counts:
        file["entry/experiment_description"] = LINE_INTEGRALS
        file[f"{DETECTOR}/data"].attrs.update(
            quantity="line integral", units="", long_name=f"line integrals: {LINE_INTEGRALS}"
        )
    for place in (f"{DETECTOR}/data", f"{DETECTOR}/image_key", "entry/sample/rotation_angle"):
        file[place].attrs["target"] = f"/{place}"  # NeXus tells a link from its target by this
        file[f"entry/data/{Path(place).name}"] = file[place]
    file["entry/data"].attrs.update(
        signal="data", axes=["rotation_angle", ".", "."], rotation_angle_indices=0
    )
    file.attrs["default"], file["entry"].attrs["default"] = "entry", "data"


def write_process(
    file: h5py.File, place: str, version: str, description: str, note: Mapping[str, Any]
) -> None:
    """An NXprocess of ours, with a note on how it was done."""
    file.require_group(place).attrs["NX_class"] = "NXprocess"
    file.create_group(f"{place}/provenance").attrs["NX_class"] = "NXnote"
    texts = {
        "program": "tomopilot",
        "version": version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance/type": "application/json",
        "provenance/description": description,
    }
    for name, text in texts.items():
        file[f"{place}/{name}"] = text
    file[f"{place}/provenance/data"] = np.bytes_(json.dumps(note).encode())  # NX_BINARY
    file[f"{place}/sequence_index"] = 1


def write_length(file: h5py.File, place: str, size: float) -> None:
    """A length in metres."""
    file[place] = size
    file[place].attrs["units"] = "m"


def _fill(file: h5py.File, scan: ScanFile) -> None:
    begin_entry(file)
    n, *rows, bins = scan.projections.shape
    frames = file.create_dataset(FIELDS["projections"][1], (n, *(rows or [1]), bins), scan.projections.dtype)
    for number, frame in enumerate(scan.projections):
        frames[number] = frame
    for field, (_, place) in FIELDS.items():
        if field not in ("projections", "angles_deg") and getattr(scan, field) is not None:
            file[place] = getattr(scan, field)
    axis = (bins - 1) / 2 + scan.offset
    finish_entry(file, scan.name, scan.angles_deg, np.zeros(len(scan.angles_deg)), axis, counts=False)
    version = scan.provenance.get("version", "")
    write_process(file, "entry/reconstruction", version, "how the scan was made", scan.provenance)
    file["entry/design"].attrs["NX_class"] = "NXcollection"
    file["entry/design/settings"].attrs["units"] = "degree"
    if scan.pixel_size is not None:
        for place in PIXELS:
            write_length(file, place, scan.pixel_size)


def read_scan(path: Path) -> ScanFile:
    """The scan that `write_scan` wrote to `path`."""
    with naming(str(path)), opened(path) as file:
        if (definition := _text(file, "entry/definition")) != "NXtomo":
            raise InputFileError(f"its entry is {definition}; expected an NXtomo entry written by tomopilot")
        arrays: dict[str, Any] = {
            field: None if field in ESTIMATE and place not in file else local_dataset(file, place)[()]
            for field, (_, place) in FIELDS.items()
        }
        if local_dataset(file, f"{DETECTOR}/image_key")[()].any():
            raise InputFileError(
                "it has flats, darks or invalid frames; expected projections (image_key 0) only"
            )
        if arrays["reconstruction"] is not None:
            arrays["projections"] = arrays["projections"].squeeze(1)
        provenance = json.loads(_text(file, "entry/reconstruction/provenance/data"))
        known = PIXELS[0] in file and local_dataset(file, PIXELS[0]).attrs.get("units") == "m"
        size = float(local_dataset(file, PIXELS[0])[()]) if known else None  # earlier files say "pixel"
        middle = (arrays["projections"].shape[1] - 1) / 2
        axis = (
            float(local_dataset(file, AXIS_AT)[()]) if AXIS_AT in file else middle
        )  # earlier files have none
        return ScanFile(
            **arrays,
            name=_text(file, "entry/sample/name"),
            provenance=provenance,
            pixel_size=size,
            offset=axis - middle,
        )


def read_row(path: Path, row: int) -> np.ndarray:
    """What one row of the detector measured, (n, bins), of a scan that `write_scan` wrote."""
    with naming(str(path)), opened(path) as file:
        return local_dataset(file, FIELDS["projections"][1])[:, row]


def _text(file: h5py.File, place: str) -> str:
    """A text, or the bytes of one, as notes of earlier files hold it."""
    node = local_dataset(file, place)
    if node.dtype == np.uint8:
        return node[()].tobytes().decode()
    return str(node.asstr(errors="surrogateescape")[()])
