"""Known images for virtual scans, from the files people keep them in."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from tomopilot.files import dicom, hdf5, tiff
from tomopilot.files.fastmri import check_image
from tomopilot.files.npz import array_names, read_array
from tomopilot.files.reading import (
    LARGEST,
    Found,
    InputFileError,
    Pages,
    Pick,
    affordable,
    check_named,
    grey,
    naming,
    pages,
    scaled,
    stack,
)

SEEDS = 10**6  # a phantom has this many
DEFECT = "defect:"  # before any spec: its images with a defect
VOLUME = "volume:"  # before any spec: its images as the slices of one volume, see `volumes`
PHANTOM = 128  # pixels along a side where none are said
MOST = 10**5  # images that are chosen at once
MANY = 16  # images; more are scanned only where they were chosen


@dataclass(frozen=True)
class NamedImage:
    """An image, or a volume, with the name that finds it again: `validation.npz::12`, `phantom:chip::3`."""

    name: str
    pixels: Float32[Tensor, "*z h w"] | Complex64[Tensor, "h w"]
    pixel_size: float | None = None  # metres, where its file says so
    slices: tuple[str, ...] = ()  # names of a volume's slices

    @property
    def shown(self) -> Float32[Tensor, "*z h w"]:
        """The image as it is looked at: the magnitude of a complex one."""
        return self.pixels.abs() if self.pixels.is_complex() else self.pixels


def read_images(spec: str) -> list[NamedImage]:
    """The images of a file or `phantom:NAME`: all of them, or those chosen after `::`.

    `FILE::12` is image 12, `FILE::0-29` are thirty, `FILE::5,65,125` these three, `FILE::all` all.
    `FILE.h5:/path` names a data set, `FILE.npz:/name` an array; the images of a phantom are its seeds, and
    `phantom:NAME@512` has 512 pixels along each side. `defect:` before all this paints a void with a bright
    rim into each image.
    Integers are divided by the largest value of their type, of which they must reach a quarter; floats and
    complex numbers are taken as they are; CT in DICOM becomes attenuation in the LoDoPaB-CT scaling, the
    k-space of a fastMRI file complex images. Images are turned upright as their file says.
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
    source, chosen = _parts(spec)
    with naming(source):
        name, found = _found(source, _picker(chosen))
        alone = chosen is None and len(found.pages) == 1
        return [
            NamedImage(name if alone else f"{name}::{i}", _image(i, pixels), found.pixel_size)
            for i, pixels in found.pages
        ]


def image_numbers(spec: str) -> list[int]:
    """The numbers, in their file, of the images that `spec` names; of most files only their header is read.

    >>> image_numbers("phantom:chip::0-2,7")
    [0, 1, 2, 7]
    """
    source, chosen = _parts(spec.removeprefix(DEFECT))
    numbers: list[int] = []

    def note(count: int) -> list[int]:
        numbers.extend(_picker(chosen)(count))
        return []

    with naming(source):
        _found(source, note)
    return numbers


def count_images(spec: str) -> int:
    """How many images `spec` names."""
    return len(image_numbers(spec))


def single_specs(spec: str) -> list[str]:
    """The spec of each single image that `spec` names, so that one image can be read again later."""
    if spec.startswith(DEFECT):
        return [DEFECT + single for single in single_specs(spec.removeprefix(DEFECT))]
    source, _ = _parts(spec)
    source = source if source.startswith("phantom:") else os.path.abspath(source)
    names = [image.name for image in read_images(spec)]
    return [f"{source}::{name.rpartition('::')[2]}" if "::" in name else source for name in names]


def without_folder(spec: str) -> str:
    """A spec as it is shown.

    >>> without_folder("defect:/data/chip.npz::3")
    'defect:chip.npz::3'
    """
    for prefix in (VOLUME, DEFECT):
        if spec.startswith(prefix):
            return prefix + without_folder(spec.removeprefix(prefix))
    return Path(spec).name


def check_chosen(spec: str) -> None:
    """Raises where a file of many images is named without a choice: each would be a scan of its own."""
    if "::" not in spec and (count := count_images(spec)) > MANY:
        raise InputFileError(
            f"{spec} holds {count} images, and each would be a scan of its own: choose some, as "
            f"{spec}::0-{MANY - 1}, or write {spec}::all"
        )


def labels(spec: str, name: str) -> list[str]:
    """What the array `name` of an npz file says of each image of `spec`, as text."""
    source, chosen = _parts(spec)
    with naming(source):
        path = re.fullmatch(r"(.+\.npz)(?::/.*)?", source, re.IGNORECASE | re.DOTALL)
        if path is None:
            raise InputFileError(f"only npz files have an array {name!r} beside their images")
        check_named(Path(path[1]), "an npz file")
        values = _array(Path(path[1]), name)
        if values.ndim != 1:
            raise InputFileError(f"the array {name!r} has shape {values.shape}; expected one value an image")
        return [str(values[i]) for i in _picker(chosen)(len(values))]


def _parts(spec: str) -> tuple[str, str | None]:
    """The source of a spec, and what is chosen of it; None where nothing is said, a phantom's first seed."""
    source, sign, chosen = spec.rpartition("::")
    if sign:
        return source, chosen
    return spec, "0" if spec.startswith("phantom:") else None


def _found(source: str, pick: Pick) -> tuple[str, Found]:
    if source.startswith("phantom:"):
        return source, Found(_phantom(source.removeprefix("phantom:"), pick))
    return _file(source, pick)


def _file(source: str, pick: Pick) -> tuple[str, Found]:
    named = re.fullmatch(r"(.+\.(?:h5|hdf5|nxs|npz)):(/.*)", source, re.IGNORECASE | re.DOTALL)
    file, dataset = named.groups() if named else (source, "")
    path = Path(file)
    whole = LARGEST if path.suffix.lower() in WHOLE else None
    check_named(path, f"an image file ({', '.join(READERS)}) or phantom:NAME", whole)
    if path.suffix.lower() not in READERS:
        raise InputFileError(f"has the ending {path.suffix!r}; expected one of {', '.join(READERS)}")
    name = f"{path.name}:{dataset}" if dataset else path.name
    return name, READERS[path.suffix.lower()](path, dataset, pick)


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


def _picker(chosen: str | None) -> Pick:
    """Translates `0-3,7` into a function of the number of images, which checks the bounds."""
    items = [] if chosen in (None, "all") else chosen.split(",")
    matches = [re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", item.strip()) for item in items]
    bounds = [(int(match[1]), int(match[2] or match[1])) for match in matches if match]
    if len(bounds) < len(items) or any(first > last for first, last in bounds):
        raise InputFileError(
            f"the selection ::{chosen} is not understood; expected ::12, ::0-29, ::5,65,125 or ::all"
        )

    def pick(count: int) -> list[int]:
        last = max((last for _, last in bounds), default=0)
        if last >= count and bounds:
            raise InputFileError(f"image {last} was asked for, but there are {count}, counted from 0")
        chosen_now = sum(last + 1 - first for first, last in bounds) or count
        if chosen_now > MOST:
            raise InputFileError(f"{chosen_now} images were asked for; at most {MOST} are read: choose fewer")
        return [i for first, last in bounds for i in range(first, last + 1)] or list(range(count))

    return pick


def _image(number: int, pixels: np.ndarray) -> Tensor:
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


def _npy(path: Path, dataset: str, pick: Pick) -> Found:
    return Found(stack(np.lib.format.open_memmap(path, mode="r"), pick))


def _npz(path: Path, dataset: str, pick: Pick) -> Found:
    return Found(stack(_array(path, dataset.strip("/")), pick))


def _array(path: Path, name: str) -> np.ndarray:
    """An array of an npz file by name; without one, its only array or `images`."""
    names = array_names(path)
    name = name or (names[0] if len(names) == 1 else "images")
    if name not in names:
        listed = ", ".join(names) or "none at all"
        raise InputFileError(
            f"its arrays are {listed}, not {name}; name one of them, images as {path.name}:/NAME"
        )
    return read_array(path, name)


def _png(path: Path, dataset: str, pick: Pick) -> Found:
    from PIL import Image, ImageOps

    with Image.open(path, formats=["PNG"]) as stored:
        image = ImageOps.exif_transpose(stored)
        pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "PA") else image)
    stored = pages(lambda _: pixels, 1, pixels.nbytes, pick)
    return Found([(i, grey(found) if found.ndim == 3 else found) for i, found in stored])


Reader = Callable[[Path, str, Pick], Found]
READERS: dict[str, Reader] = {".npy": _npy, ".npz": _npz, ".png": _png, ".dcm": dicom.images_in}
READERS |= {".tif": tiff.images_in, ".tiff": tiff.images_in}
READERS |= dict.fromkeys((".h5", ".hdf5", ".nxs"), hdf5.images_in)
WHOLE = (".png", ".dcm")  # these libraries read a file as a whole, the others what is picked
