"""Images in HDF5 files: fastMRI's k-space, or one stack of slices; raw scans are told from slices."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import cast

import h5py
import numpy as np

from tomopilot.files import lodopab
from tomopilot.files.fastmri import KSPACE, slices_of
from tomopilot.files.reading import Found, InputFileError, Pick, local_dataset, opened, square, stack

RAW = {
    "image_key",
    "image_key_control",
    "rotation_angle",
    "theta",
    "data_white",
    "data_dark",
}  # beside frames

PIXELS = ("x_pixel_size", "y_pixel_size", "pixel_size")


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked of the named data set, or of the only one there is."""
    with opened(path) as file:
        if KSPACE in set(file) and dataset.strip("/") in ("", KSPACE):
            return Found(slices_of(file, local_dataset(file, KSPACE), pick))
        node = local_dataset(file, dataset or _only_stack(file, path.name))
        if lodopab.is_lodopab(node):
            return lodopab.slices_of(node, pick)
        _check_slices(node)
        return Found(stack(node, pick), _pixel_size(node))


def _only_stack(file: h5py.File, name: str) -> str:
    """The only data set of two or more axes; complex ones count, and so do links to other files."""
    found: dict[str, str] = {}

    def visit(path: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim > 1 and node.dtype.kind in "biufcV":
            found[f"/{path}"] = f"{node.dtype if node.dtype.kind != 'V' else 'records'} {node.shape}"

    def visit_link(path: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found[f"/{path}"] = f"in the file {link.filename}"

    file.visititems(visit)  # follows neither soft links nor those to other files
    file.visititems_links(visit_link)
    if len(found) != 1:
        listed = ", ".join(f"{path} ({what})" for path, what in found.items()) or "none"
        raise InputFileError(f"expected one data set of images, found {listed}; name one, as {name}:/PATH")
    return next(iter(found))


def _check_slices(node: h5py.Dataset) -> None:
    """Raises where the frames of a data set are those of a detector."""
    groups = _groups_of(node)
    beside = sorted(RAW & {name for group in groups for name in group})
    if beside or "NXdetector" in {_text(group.attrs.get("NX_class")) for group in groups}:
        signs = f"lies beside {', '.join(beside)}" if beside else "lies in an NXdetector"
        raise InputFileError(
            f"the data set {node.name} {signs}: it is a raw scan, whose frames are radiographs, flats and "
            "darks; expected reconstructed slices: reconstruct it first, and name the volume"
        )


def _groups_of(node: h5py.Dataset) -> list[h5py.Group]:
    """Every group that a data set lies in; the links of NeXus files are hard ones."""
    file, found = node.file, [cast(h5py.Group, node.parent)]

    def visit(path: str, link: object) -> None:
        if isinstance(link, h5py.HardLink) and file[path] == node:
            found.append(cast(h5py.Group, file[f"/{path.rpartition('/')[0]}"]))

    if h5py.h5g.get_objinfo(node.id).nlink > 1:
        file.visititems_links(visit)
    return found


def _pixel_size(node: h5py.Dataset) -> float | None:
    """As fields beside the images say, or the axes of their NXdata group."""
    group = cast(h5py.Group, node.parent)
    if said := _fields(group, PIXELS):
        what, sides = "the pixel size", [float(field[()].flat[0]) for field in said]
    else:
        axes = [_text(name) for name in np.atleast_1d(group.attrs.get("axes", ()))]
        said = _fields(group, axes[-2:])
        what, sides = "the step of the axes", [_step(axis) for axis in said] if len(said) == 2 else []
    units = {_text(field.attrs.get("units", "")) for field in said}
    return square(what, sides, units.pop()) if len(units) == 1 else None


def _fields(group: h5py.Group, names: Iterable[str]) -> list[h5py.Dataset]:
    """Those that are there and hold numbers."""
    found = []
    for name in names:
        with suppress(InputFileError):
            found.append(local_dataset(group.file, f"{group.name}/{name}"))
    return [field for field in found if field.dtype.kind in "iuf" and field.size]


def _step(axis: h5py.Dataset) -> float:
    """The distance of an axis' neighbours; 0 where they are not equally far apart."""
    steps = np.abs(np.diff(np.asarray(axis[()], float).ravel()))
    return float(steps.mean()) if len(steps) and np.allclose(steps, steps[0], rtol=0.01) else 0.0


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
