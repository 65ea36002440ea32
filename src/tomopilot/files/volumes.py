"""Known volumes for virtual scans: the images of one spec as slices, one above the other."""

import os

import torch

from tomopilot.files.images import DEFECT, VOLUME, NamedImage, count_images, read_images, without_folder
from tomopilot.files.reading import InputFileError


def is_volume(spec: str) -> bool:
    """Whether a spec names a volume.

    >>> is_volume("volume:slices.npy::0-63"), is_volume("slices.npy::0-63")
    (True, False)
    """
    return spec.startswith(VOLUME)


def volume_spec(spec: str) -> str:
    """The spec of a volume by which it can be read again later, from any folder."""
    slices = spec.removeprefix(VOLUME)
    count_images(slices)  # raises where there are none
    painted = DEFECT if slices.startswith(DEFECT) else ""
    source = slices.removeprefix(DEFECT)
    return VOLUME + painted + (source if source.startswith("phantom:") else os.path.abspath(source))


def read_volume(spec: str) -> NamedImage:
    """The volume `volume:SPEC`, whose slices are the images that SPEC names, in their order.

    Raises InputFileError where these are complex, or of more than one size.
    """
    images = read_images(spec.removeprefix(VOLUME))
    first = images[0]
    for image in images:
        if image.pixels.is_complex():
            raise InputFileError(f"{image.name} is complex; a volume has real slices: save their magnitude")
        if image.pixels.shape != first.pixels.shape:
            came, expected = (" x ".join(map(str, one.pixels.shape)) for one in (image, first))
            raise InputFileError(
                f"{image.name} is {came} pixels, but {first.name} is {expected}: the slices of a volume have "
                "one size; crop or pad them"
            )
    pixels = torch.stack([image.pixels for image in images])
    return NamedImage(
        without_folder(spec), pixels, first.pixel_size, slices=tuple(image.name for image in images)
    )
