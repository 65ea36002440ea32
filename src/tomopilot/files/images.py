"""Known images for virtual scans, from the files people keep them in."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from tomopilot.files import arrays, dicom, dicom_series, hdf5, nifti, omezarr, tiff, vgstudio
from tomopilot.files.fastmri import check_image
from tomopilot.files.formats import EXPECTED, format_of
from tomopilot.files.reading import (
    LARGEST,
    Found,
    InputFileError,
    Pages,
    Pick,
    affordable,
    check_named,
    naming,
    scaled,
)

SEEDS = 10**6  # a phantom has this many
DEFECT = "defect:"  # before any spec: its images with a defect
VOLUME = "volume:"  # before any spec: its images as the slices of one volume, see `volumes`
PHANTOM = 128  # pixels along a side where none are said
MOST = 10**5  # images that are chosen at once
MANY = 16  # images; more are scanned only where they were chosen
ITEM = r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([1-9][0-9]{0,8}))?)?"  # of a choice: 12, 0-29 or 0-90:3


@dataclass(frozen=True)
class NamedImage:
    """An image, or a volume, with the name that finds it again: `validation.npz::12`, `phantom:chip::3`."""

    name: str
    pixels: Float32[Tensor, "*z h w"] | Complex64[Tensor, "h w"]
    pixel_size: float | None = None  # metres, where its file says so
    slices: tuple[str, ...] = ()  # names of a volume's slices
    notes: tuple[str, ...] = ()  # what was decided in reading its file

    @property
    def shown(self) -> Float32[Tensor, "*z h w"]:
        """The image as it is looked at: the magnitude of a complex one."""
        return self.pixels.abs() if self.pixels.is_complex() else self.pixels


def read_images(spec: str) -> list[NamedImage]:
    """The images of a file, a folder or `phantom:NAME`: all of them, or those chosen after `::`.

    `FILE::12` is image 12, `FILE::0-29` are thirty, `FILE::0-90:3` every third of them, `FILE::5,65,125`
    these three, `FILE::all` all. A file is known by its content. A folder is a zarr store, or the slices of
    one volume in DICOM or TIFF files.
    `FILE.h5:/path` names a data set, `FILE.npz:/name` an array, `STORE.zarr:/path` an array, `FOLDER:/2` the
    second DICOM series; the images of a phantom are its seeds, and `phantom:NAME@512` has 512 pixels along
    each side. `defect:` before all this paints a void with a bright rim into each image.
    Integers are divided by the largest value of their type, of which they must reach a quarter; floats and
    complex numbers are taken as they are; CT numbers (in DICOM, and in NIfTI where values tell) become
    attenuation in the LoDoPaB-CT scaling, the k-space of a fastMRI file complex images. Images are turned
    upright as their file says.
    Colours become grey: the common value where all channels are equal, else the luminance 0.2126 R + 0.7152 G
    + 0.0722 B; transparency is ignored.
    """
    if spec.startswith(DEFECT):
        from tomopilot.simulate.defects import defect

        plain = read_images(spec.removeprefix(DEFECT))
        return [
            replace(image, name=DEFECT + image.name, pixels=defect(image.pixels, image.name))
            for image in plain
        ]
    source, chosen = parts_of(spec)
    with naming(source):
        name, found = found_in(source, picker(chosen))
        alone = chosen is None and len(found.pages) == 1
        return [
            NamedImage(
                name if alone else f"{name}::{i}", image_of(i, pixels), found.pixel_size, notes=found.notes
            )
            for i, pixels in found.pages
        ]


def image_numbers(spec: str) -> list[int]:
    """The numbers, in their file, of the images that `spec` names; of most files only their header is read.

    >>> image_numbers("phantom:chip::0-2,7")
    [0, 1, 2, 7]
    """
    source, chosen = parts_of(spec.removeprefix(DEFECT))
    numbers: list[int] = []

    def note(count: int) -> list[int]:
        numbers.extend(picker(chosen)(count))
        return []

    with naming(source):
        found_in(source, note)
    return numbers


def count_images(spec: str) -> int:
    """How many images `spec` names."""
    return len(image_numbers(spec))


def single_specs(spec: str) -> list[str]:
    """The spec of each single image that `spec` names, so that one image can be read again later."""
    if spec.startswith(DEFECT):
        return [DEFECT + single for single in single_specs(spec.removeprefix(DEFECT))]
    source, _ = parts_of(spec)
    source = source if source.startswith("phantom:") else os.path.abspath(source)
    names = [image.name for image in read_images(spec)]
    return [f"{source}::{name.rpartition('::')[2]}" if "::" in name else source for name in names]


def without_folder(spec: str, but: int = 0) -> str:
    """A spec as it is shown; `but` so many of its folders.

    >>> without_folder("defect:/data/chip.npz::3"), without_folder("/data/chip/all.npz::3", but=1)
    ('defect:chip.npz::3', 'chip/all.npz::3')
    """
    for prefix in (VOLUME, DEFECT):
        if spec.startswith(prefix):
            return prefix + without_folder(spec.removeprefix(prefix), but)
    source, sign, chosen = spec.partition("::")
    path, part = split(source)
    return f"{Path(*path.parts[-1 - but :])}{':' if part else ''}{part}{sign}{chosen}"


def check_chosen(spec: str) -> None:
    """Raises where a file of many images is named without a choice: each would be a scan of its own."""
    if "::" not in spec and (count := count_images(spec)) > MANY:
        raise InputFileError(
            f"{spec} holds {count} images, and each would be a scan of its own: choose some, as "
            f"{spec}::0-{MANY - 1}, or write {spec}::all"
        )


def labels(spec: str, name: str) -> list[str]:
    """What the array `name` of an npz file says of each image of `spec`, as text."""
    source, chosen = parts_of(spec)
    with naming(source):
        path, _ = split(source)
        if format_of(path) != "npz":
            raise InputFileError(f"only npz files have an array {name!r} beside their images")
        values = arrays.npz_array(path, name)
        if values.ndim != 1:
            raise InputFileError(f"the array {name!r} has shape {values.shape}; expected one value an image")
        return [str(values[i]) for i in picker(chosen)(len(values))]


def parts_of(spec: str) -> tuple[str, str | None]:
    """The source of a spec, and what is chosen of it; None where nothing is said, a phantom's first seed."""
    source, sign, chosen = spec.rpartition("::")
    if sign:
        return source, chosen
    return spec, "0" if spec.startswith("phantom:") else None


def found_in(source: str, pick: Pick) -> tuple[str, Found]:
    """The name of a source, and what was picked of it."""
    if source.startswith("phantom:"):
        return source, Found(_phantom(source.removeprefix("phantom:"), pick))
    return _file(source, pick)


def _file(source: str, pick: Pick) -> tuple[str, Found]:
    if not source:
        raise InputFileError(f"no file was named; expected {EXPECTED}")
    path, part = split(source)
    kind = format_of(path)
    if part and kind not in INSIDE:
        raise InputFileError(f"a {kind} file has no parts such as {part}; name the file alone")
    if kind in WHOLE:
        check_named(path, EXPECTED, LARGEST)
    name = path.absolute().name
    return f"{name}:{part}" if part else name, READERS[kind](path, part, pick)


def split(source: str) -> tuple[Path, str]:
    """A path that exists, and what is named inside of it after `:/`; all of the source where none does."""
    if not os.path.exists(source):
        for sign in re.finditer(":/", source):
            if os.path.exists(source[: sign.start()]):
                return Path(source[: sign.start()]), source[sign.start() + 1 :]
    return Path(source), ""


def _phantom(name: str, pick: Pick) -> Pages:
    from tomopilot.simulate.phantoms import PHANTOMS

    name, sized, side = name.partition("@")
    if name not in PHANTOMS or (sized and not re.fullmatch("[0-9]{1,9}", side)):
        raise InputFileError(
            f"there is no such phantom; the known ones are {', '.join(sorted(PHANTOMS))}, "
            "with @ and a number of pixels where another side is wanted"
        )
    size, seeds = {"size": int(side)} if sized else {}, pick(SEEDS)
    affordable(f"the choice of {len(seeds)} phantoms", len(seeds) * 4 * int(side or PHANTOM) ** 2)
    return [(seed, np.asarray(PHANTOMS[name](seed, **size))) for seed in seeds]


def picker(chosen: str | None) -> Pick:
    """Translates `0-3,7` or `0-90:3` into a function of the number of images, which checks the bounds.

    >>> picker("0-8:3,20")(21)
    [0, 3, 6, 20]
    """
    items = [] if chosen in (None, "all") else chosen.split(",")
    matches = [re.fullmatch(ITEM, item.strip()) for item in items]
    ranges = [range(int(m[1]), int(m[2] or m[1]) + 1, int(m[3] or 1)) for m in matches if m]
    if len(ranges) < len(items) or not all(ranges):
        raise InputFileError(
            f"the selection ::{chosen} is not understood; expected ::12, ::0-29, ::0-90:3, ::5,65,125 or "
            "::all"
        )

    def pick(count: int) -> list[int]:
        last = max((numbers[-1] for numbers in ranges), default=0)
        if last >= count and ranges:
            raise InputFileError(f"image {last} was asked for, but there are {count}, counted from 0")
        chosen_now = sum(map(len, ranges)) or count
        if chosen_now > MOST:
            raise InputFileError(f"{chosen_now} images were asked for; at most {MOST} are read: choose fewer")
        return [*chain(*ranges)] or list(range(count))

    return pick


def image_of(number: int, pixels: np.ndarray) -> Tensor:
    """Values as a reader gives them, as an image; raises where they cannot be one."""
    if pixels.ndim != 2 or not pixels.size:
        raise InputFileError(f"image {number} has shape {pixels.shape}; expected (height, width)")
    with np.errstate(over="ignore"):
        kind = np.complex64 if pixels.dtype.kind == "c" else np.float32
        image = torch.from_numpy(scaled(pixels).astype(kind))
    if not image.isfinite().all():
        bad = int((~image.isfinite()).sum())
        raise InputFileError(f"image {number} has {bad} NaN or infinite pixels; fill or crop them first")
    if image.is_complex():
        check_image(number, image.numpy())
    return image


Reader = Callable[[Path, str, Pick], Found]
READERS: dict[str, Reader] = {
    "NumPy": arrays.npy_images,
    "npz": arrays.npz_images,
    "PNG": arrays.png_images,
    "TIFF": tiff.images_in,
    "TIFF series": tiff.images_of_series,
    "HDF5": hdf5.images_in,
    "DICOM": dicom.images_in,
    "DICOM series": dicom_series.images_in,
    "NIfTI": nifti.images_in,
    "VGStudio": vgstudio.images_in,
    "zarr": omezarr.images_in,
}
INSIDE = ("npz", "HDF5", "DICOM series", "zarr")  # formats of which a part can be named, after `:/`
WHOLE = ("PNG", "DICOM")  # these libraries read a file as a whole, the others what is picked
