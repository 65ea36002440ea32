"""Images to train on: all of some files, square, with their groups and their chances to be drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from tomopilot.files.images import count_images, labels, read_images


def read_slices(specs: Sequence[str]) -> list[Float[Tensor, "h w"]]:
    """All images of the specs, which must be square; of complex ones the magnitude."""
    images = [image for spec in specs for image in read_images(spec)]
    for image in images:
        high, wide = image.pixels.shape
        if high != wide:
            raise ValueError(f"{image.name} is {high} x {wide} pixels; training images are square: crop it")
    return [image.shown for image in images]


def read_groups(specs: Sequence[str], evenly: str) -> list[str] | None:
    """Of each image, the group that is drawn as often as any other: its file, or value in an npz array."""
    if not evenly:
        return None
    if evenly == "file":
        return [spec for spec in specs for _ in range(count_images(spec))]
    return [label for spec in specs for label in labels(spec, evenly)]


def read_chances(specs: Sequence[str], chances: Mapping[str, float]) -> list[float]:
    """Of each image, its chance to be drawn: that of its file's name, or 1."""
    unknown = set(chances) - {Path(spec.partition("::")[0]).name for spec in specs}
    if unknown:
        raise ValueError(f"the recipe has chances for {', '.join(sorted(unknown))}, which was not named")
    return [
        chances.get(Path(spec.partition("::")[0]).name, 1.0)
        for spec in specs
        for _ in range(count_images(spec))
    ]
