"""`scan.h5`: what a scan measured and what was made of it, as one NXtomo file."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from tomopilot.disk import replacing
from tomopilot.files.reading import InputFileError, local_dataset, naming, opened

DETECTOR = "entry/instrument/detector"
NOTE = "line_integrals/note"  # in the entry: how line integrals were made of counts
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
    "entry/reconstruction": "NXprocess",
    "entry/reconstruction/provenance": "NXnote",
    "entry/design": "NXcollection",
}


@dataclass(frozen=True)
class ScanFile:
    """Measurements in the order taken, the estimate made of them, and how each next design was chosen."""

    projections: np.ndarray  # (n, bins) line integrals: image value x pixel
    angles_deg: np.ndarray  # (n,)
    reconstruction: np.ndarray  # (h, w)
    uncertainty: np.ndarray  # (h, w) sample standard deviation
    samples: np.ndarray  # (k, h, w)
    scores: np.ndarray  # (steps, designs) when each next design was chosen; NaN where not scored
    settings_deg: np.ndarray  # (designs,) all candidate angles
    name: str  # of the sample
    provenance: dict[str, str]  # such as command, version, seed, prior, posterior, policy, noise
    pixel_size: float | None = None  # metres, of image and detector

    def __post_init__(self) -> None:
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise ValueError(f"the pixel size is {self.pixel_size} m; expected a number above 0, or None")
        sizes: dict[str, int] = {}
        for field, (axes, _) in FIELDS.items():
            array, names = getattr(self, field), axes.split()
            agree = [
                sizes.setdefault(axis, size) == size for axis, size in zip(names, array.shape, strict=False)
            ]
            if array.dtype.kind not in "iuf" or array.ndim != len(names) or not all(agree):
                raise ValueError(
                    f"{field} is {array.dtype} {array.shape}; expected real ({axes}) with {sizes}"
                )


def write_scan(path: Path, scan: ScanFile) -> None:
    """Writes `scan` so that `path` is at every instant as it was before or complete."""
    write_h5(path, lambda file: _fill(file, scan))


def write_h5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Writes an HDF5 file so that `path` is at every instant as it was before or complete."""
    with replacing(Path(path)) as partial, h5py.File(partial, "x") as file:
        fill(file)


def _fill(file: h5py.File, scan: ScanFile) -> None:
    for group, kind in GROUPS.items():
        file.create_group(group).attrs["NX_class"] = kind
    for field, (_, place) in FIELDS.items():
        file[place] = getattr(scan, field)[:, None] if field == "projections" else getattr(scan, field)
    texts = {
        "definition": "NXtomo",
        "title": scan.name,
        "experiment_description": LINE_INTEGRALS,
        "sample/name": scan.name,
        "reconstruction/program": "tomopilot",
        "reconstruction/version": scan.provenance.get("version", ""),
        "reconstruction/date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reconstruction/provenance/type": "application/json",
        "reconstruction/provenance/description": "how the scan was made",
    }
    for place, text in texts.items():
        file[f"entry/{place}"] = text
    note = json.dumps(scan.provenance).encode()
    file["entry/reconstruction/provenance/data"] = np.bytes_(note)  # NX_BINARY
    file["entry/reconstruction/sequence_index"] = 1
    for key in ("image_key", "image_key_control"):
        file[f"{DETECTOR}/{key}"] = np.zeros(len(scan.angles_deg), np.int32)  # 0 is a projection
    _describe(file, scan)
    file.attrs["default"], file["entry"].attrs["default"] = "entry", "data"


def _describe(file: h5py.File, scan: ScanFile) -> None:
    """Units, links and what the data are."""
    sizes = () if scan.pixel_size is None else PIXELS
    for place in sizes:
        file[place] = scan.pixel_size
    metres = dict.fromkeys(sizes, "m")
    degrees = dict.fromkeys(("entry/sample/rotation_angle", "entry/design/settings"), "degree")
    for place, unit in (metres | degrees).items():
        file[place].attrs["units"] = unit
    file[f"{DETECTOR}/data"].attrs.update(
        quantity="line integral", units="", long_name=f"line integrals: {LINE_INTEGRALS}"
    )
    for place in (f"{DETECTOR}/data", f"{DETECTOR}/image_key", "entry/sample/rotation_angle"):
        file[place].attrs["target"] = f"/{place}"  # NeXus tells a link from its target by this
        file[f"entry/data/{Path(place).name}"] = file[place]
    file["entry/data"].attrs.update(
        signal="data", axes=["rotation_angle", ".", "."], rotation_angle_indices=0
    )


def read_scan(path: Path) -> ScanFile:
    """The scan that `write_scan` wrote to `path`."""
    with naming(str(path)), opened(path) as file:
        if (definition := _text(file, "entry/definition")) != "NXtomo":
            raise InputFileError(f"its entry is {definition}; expected an NXtomo entry written by tomopilot")
        arrays = {field: local_dataset(file, place)[()] for field, (_, place) in FIELDS.items()}
        if local_dataset(file, f"{DETECTOR}/image_key")[()].any():
            raise InputFileError(
                "it has flats, darks or invalid frames; expected projections (image_key 0) only"
            )
        arrays["projections"] = arrays["projections"].squeeze(1)
        provenance = json.loads(_text(file, "entry/reconstruction/provenance/data"))
        known = PIXELS[0] in file and local_dataset(file, PIXELS[0]).attrs.get("units") == "m"
        size = float(local_dataset(file, PIXELS[0])[()]) if known else None  # earlier files say "pixel"
        return ScanFile(
            **arrays, name=_text(file, "entry/sample/name"), provenance=provenance, pixel_size=size
        )


def _text(file: h5py.File, place: str) -> str:
    """A text, or the bytes of one, as notes of earlier files hold it."""
    node = local_dataset(file, place)
    if node.dtype == np.uint8:
        return node[()].tobytes().decode()
    return str(node.asstr(errors="surrogateescape")[()])
