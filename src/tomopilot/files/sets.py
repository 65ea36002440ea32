"""Data sets of HDF5 files that can be read here: local, of bounded size, with filters that are known."""

from contextlib import suppress
from typing import cast

import h5py

from tomopilot.disk import InputFileError
from tomopilot.files.reading import affordable


def local_dataset(file: h5py.File, path: str, hops: int = 16) -> h5py.Dataset:
    """The data set at `path` if its values lie in this very file and are of a size that can be read."""
    node: h5py.Group | h5py.Dataset | h5py.Datatype = file
    parts = [part for part in path.split("/") if part]
    for depth, part in enumerate(parts, 1):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if isinstance(link, h5py.SoftLink) and hops:
            start = "" if link.path.startswith("/") else f"{node.name}/"
            return local_dataset(file, "/".join([start + link.path, *parts[depth:]]), hops - 1)
        if not isinstance(link, h5py.HardLink):
            what = "leads to another file" if isinstance(link, h5py.ExternalLink) else "does not exist"
            raise InputFileError(f"the data set {path} {what}; expected one whose values lie in this file")
        node = cast(h5py.Group, node)[part]
    if not isinstance(node, h5py.Dataset):
        raise InputFileError(f"{path} is a group; expected a data set inside it")
    if node.external or node.is_virtual:
        raise InputFileError(f"the values of the data set {path} lie in other files; copy them here first")
    affordable(f"the data set {path}", node.nbytes)
    check_filters(node, path)
    return node


def check_filters(node: h5py.Dataset, path: str) -> None:
    """Raises where values are compressed by a filter that is not installed."""
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  registers its filters  # pyright: ignore[reportMissingImports]
    filters = node.id.get_create_plist()
    for number in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise InputFileError(
                f"the data set {path} is compressed by {name.decode()} (HDF5 filter {code}), which is not "
                "installed: pip install hdf5plugin"
            )
