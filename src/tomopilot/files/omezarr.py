"""Images in zarr stores on disk: an array, or the finest scale of an OME-Zarr image that is there."""

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tomopilot.files.multiscale import Axis, Multiscale, Scale, multiscale_of
from tomopilot.files.reading import IMAGE, Found, InputFileError, Pick, affordable, pages, square

if TYPE_CHECKING:
    from zarr import Array

    from tomopilot.files.inside import Inside

SLAB = 2**26  # bytes of images that lie in the same chunks, which are kept until others are read


class Picture(NamedTuple):
    """An array, and what is said of it."""

    array: "Array[Any]"
    axes: tuple[Axis, ...] = ()
    steps: tuple[float, ...] = ()  # along each axis, in its unit
    notes: tuple[str, ...] = ()


def images_in(path: Path, dataset: str, pick: Pick) -> Found:
    """The images that were picked, along z or the first axis; only chunks that hold them are read."""
    try:
        import zarr

        from tomopilot.files.inside import Inside
    except ImportError as error:
        raise InputFileError("zarr needs zarr-python: pip install 'tomopilot[volumes]'") from error
    store = Inside(path, read_only=True)
    with zarr.config.set({"async.concurrency": 1}):  # one chunk at a time in memory
        picture = _picture(store, [part for part in dataset.split("/") if part])
        store.expect(picture.array)
        affordable("a chunk", store.chunk, IMAGE)
        return _images(picture, pick)


def _picture(store: "Inside", parts: list[str]) -> Picture:
    """The array that a path leads to; an OME-Zarr image on the way describes it, or chooses it."""
    if {".", ".."} & set(parts):
        raise InputFileError("the path inside has steps of dots; expected names alone, as in /scale0/image")
    place, node = "", None
    for depth in range(len(parts) + 1):
        place, wanted = "/".join(parts[:depth]), "/".join(parts[depth:])
        node = _node(store, place)
        image = multiscale_of(dict(node.attrs)) if node is not None else None
        if image and any(_leads(wanted, scale) for scale in image.scales):
            return _scale(store, place, image, wanted)
    if node is None:
        raise InputFileError(f"there is no array {place!r} inside; expected the path of one that is there")
    arrays = [(place, node)] if hasattr(node, "chunks") else list(_arrays(store, place))
    if len(arrays) != 1:
        listed = ", ".join(f"/{name} {array.shape}" for name, array in arrays) or "none"
        raise InputFileError(f"expected one array, found {listed}; name one, as {store.root.name}:/PATH")
    ((place, array),) = arrays
    return _plain(store, place, array)


def _scale(store: "Inside", group: str, image: Multiscale, wanted: str) -> Picture:
    """The finest scale of which values are there, or the one that was asked for."""
    for number, scale in enumerate(image.scales):
        place = f"{group}/{scale.path}".strip("/")
        if not _leads(wanted, scale) or not _is_there(store, place):
            continue
        array = _node(store, place)
        if array is None or array.ndim != len(image.axes):
            raise InputFileError(f"{place} is no array of {len(image.axes)} axes, as its multiscales say")
        note = f"scale {number} of {len(image.scales)} is read ({scale.path}); finer ones are not there"
        return Picture(array, image.named, image.steps(scale), (note,) if number and not wanted else ())
    listed = ", ".join(scale.path for scale in image.scales)
    raise InputFileError(f"none of its scales {wanted or listed} has values here; copy them to their place")


def _leads(wanted: str, scale: Scale) -> bool:
    """Whether a path is that of a scale or of a group that holds it."""
    return not wanted or f"{scale.path}/".startswith(f"{wanted}/")


def _plain(store: "Inside", place: str, array: "Array[Any]") -> Picture:
    """An array that no OME-Zarr image describes; ours say the size of a pixel themselves."""
    if not _is_there(store, place):
        raise InputFileError(f"the array /{place} has metadata, but no values; copy them to their place")
    said: dict[str, Any] = dict(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or said.get("_ARRAY_DIMENSIONS") or ()
    unit, step = str(said.get("pixel_size_unit", "")), said.get("pixel_size")
    axes = tuple(Axis(name=str(name), unit=unit) for name in named)
    return Picture(array, axes, (float(step or 0),) * len(axes))


def _node(store: "Inside", place: str) -> Any:
    """The array or group at a place, by its own metadata; None where there is none."""
    import zarr
    from numcodecs.errors import UnknownCodecError as UnknownFilterError
    from zarr.errors import NodeNotFoundError, UnknownCodecError

    try:
        return zarr.open(store=store, path=place, mode="r", use_consolidated=False)
    except NodeNotFoundError:
        return None
    except (UnknownCodecError, UnknownFilterError) as error:
        raise InputFileError(
            f"the array /{place} is encoded by what is missing here ({error}); save it with zstd"
        ) from None


def _is_there(store: "Inside", place: str) -> bool:
    """Whether anything but metadata lies in the folder of an array."""
    folder = store.root / place
    if not folder.resolve().is_relative_to(store.root.resolve()) or not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(not entry.name.startswith(".z") and entry.name != "zarr.json" for entry in entries)


def _arrays(store: "Inside", place: str) -> "Iterator[tuple[str, Array[Any]]]":
    """Every array in a group; links to folders are not followed."""
    from zarr import Array

    for folder, folders, files in os.walk(store.root / place):
        if not {"zarr.json", ".zarray"} & set(files):
            continue
        name = "/".join(Path(folder).relative_to(store.root).parts)
        if isinstance(node := _node(store, name), Array):
            folders.clear()
            yield name, node


def _images(picture: Picture, pick: Pick) -> Found:
    array, names = picture.array, [axis.name for axis in picture.axes]
    by_name = {"y", "x"} <= set(names)
    rows, columns = (names.index("y"), names.index("x")) if by_name else (array.ndim - 2, array.ndim - 1)
    long = [a for a, side in enumerate(array.shape) if a not in (rows, columns) and side > 1]
    if array.ndim < 2 or 0 in array.shape or array.dtype.kind not in "biufc":
        raise InputFileError(
            f"the array is {array.dtype} {array.shape}; expected numbers (h, w) or (images, h, w)"
        )
    if len(long) > 1 or (long and names[long[0] : long[0] + 1] == ["c"]):
        raise InputFileError(
            f"the array has {array.shape} values along {', '.join(names) or 'its axes'}; expected one stack "
            "of images in grey: save what you mean by itself"
        )
    count = array.shape[long[0]] if long else 1
    each = array.shape[rows] * array.shape[columns] * array.dtype.itemsize
    read = _reader(array, long[0] if long else None, rows, columns, each)
    size, doubts = _pixel_size(picture, rows, columns)
    notes = (*picture.notes, *doubts)
    return Found(pages(read, count, each, pick), size, str(array.attrs.get("unit", "")), notes)


def _reader(
    array: "Array[Any]", along: int | None, rows: int, columns: int, each: int
) -> Callable[[int], np.ndarray]:
    """What reads the i-th image, with others that lie in the same chunks where these are small."""
    chunk = 1 if along is None else array.chunks[along]
    depth = chunk if chunk * each <= SLAB else 1

    @lru_cache(1)
    def slab(number: int) -> np.ndarray:
        where: list[Any] = [slice(None) if axis in (rows, columns) else 0 for axis in range(array.ndim)]
        if along is not None:
            where[along] = slice(number * depth, (number + 1) * depth)
        values = np.asarray(array[tuple(where)])
        left = [axis for axis in range(array.ndim) if isinstance(where[axis], slice)]
        order = [left.index(axis) for axis in (along, rows, columns) if axis is not None]
        return values.transpose(order).reshape(-1, array.shape[rows], array.shape[columns])

    return lambda i: slab(i // depth)[i % depth]


def _pixel_size(picture: Picture, rows: int, columns: int) -> tuple[float | None, tuple[str, ...]]:
    """The side of a pixel in metres, or why it is not known."""
    if not picture.steps:
        return None, ()
    units = {picture.axes[axis].unit for axis in (rows, columns)}
    sides = [picture.steps[axis] for axis in (rows, columns)]
    size = square("a pixel by its scale", sides, units.pop() if len(units) == 1 else "")
    unknown = size is None and max(sides) > 0
    return size, (f"its pixels are {sides[0]:g} in a unit that it does not say",) if unknown else ()
