"""Images in HDF5 and NeXus files."""

from pathlib import Path

import h5py

from tomopilot.disk import InputFileError
from tomopilot.files.fastmri import KSPACE, slices_of
from tomopilot.files.reading import Pages, Pick, stack
from tomopilot.files.sets import local_dataset


def read_hdf5(path: Path, dataset: str, pick: Pick) -> Pages:
    """The data set that was named, or the only one that could be images."""
    with h5py.File(path, "r") as file:
        if KSPACE in file and dataset.strip("/") in ("", KSPACE):
            return slices_of(file, local_dataset(file, KSPACE), pick)
        found = local_dataset(file, dataset or _only_stack(file, path.name))
        parent = found.parent
        if isinstance(parent, h5py.Group) and "image_key" in parent:
            raise InputFileError(
                f"{found.name} holds the projections, flats and darks of a scan (NXtomo), not slices; "
                "reconstruct it first, or name a reconstruction in the file"
            )
        return stack(found, pick)


def _only_stack(file: h5py.File, name: str) -> str:
    found: dict[str, tuple[int, ...]] = {}
    _visit(file, "", found)
    if any(path.endswith("/image_key") for path in found):
        raise InputFileError(
            "it is a scan (NXtomo) with an image_key: it holds projections, flats and darks, not slices; "
            f"reconstruct it first, or name a reconstruction in it, as {name}:/PATH"
        )
    images = {path: shape for path, shape in found.items() if len(shape) > 1}
    if len(images) != 1:
        listed = ", ".join(f"{path} {shape}" for path, shape in images.items()) or "none"
        raise InputFileError(f"expected one data set of images, found {listed}; name one, as {name}:/PATH")
    return next(iter(images))


def _visit(group: h5py.Group, place: str, found: dict[str, tuple[int, ...]]) -> None:
    """All data sets of numbers; a link to another file is an error, not nothing."""
    for name in group:
        link, path = group.get(name, getlink=True), f"{place}/{name}"
        if isinstance(link, h5py.ExternalLink):
            raise InputFileError(f"the link {path} leads to another file; copy its values here")
        if not isinstance(link, h5py.HardLink):
            continue
        node = group[name]
        if isinstance(node, h5py.Group):
            _visit(node, path, found)
        elif isinstance(node, h5py.Dataset) and node.dtype.kind in "biufc":
            found[path] = node.shape
