"""What a file of images holds, in numbers and words."""

from collections.abc import Callable
from typing import Any

import torch

from tomopilot.files.formats import format_of
from tomopilot.files.images import found_in, image_of, parts_of, picker, split
from tomopilot.files.reading import Found, few, naming


def described(spec: str) -> dict[str, Any]:
    """What `read_images` would find under a spec: the format, and the number, size and values of its images.

    `low` and `high` are of the values as they are read, of integers after the division by their largest,
    over `looked_at` images that are spread over all; `type` is that in the file. `pixel_size` is in metres,
    None where no file says it; `notes` tell what was decided in reading. Raises `InputFileError`.
    """
    source, chosen = parts_of(spec)
    with naming(source):
        _, count, first = _found(source, chosen, lambda count: range(1))
        each = first.pages[0][1].nbytes
        name, _, found = _found(source, chosen, lambda count: few(count, each))
        images = [image_of(i, pixels) for i, pixels in found.pages]
    values = torch.stack([image.abs() if image.is_complex() else image for image in images])
    return {
        "name": name,
        "format": "phantom" if source.startswith("phantom:") else format_of(split(source)[0]),
        "images": count,
        "height": values.shape[1],
        "width": values.shape[2],
        "type": found.stored or str(found.pages[0][1].dtype),
        "low": float(values.min()),
        "high": float(values.max()),
        "looked_at": len(images),
        "pixel_size": found.pixel_size,
        "unit": found.unit,
        "notes": list(found.notes),
    }


def _found(source: str, chosen: str | None, which: Callable[[int], range]) -> tuple[str, int, Found]:
    """The name of a source, the number of images chosen of it, and some of them."""
    numbers: list[int] = []

    def pick(count: int) -> list[int]:
        numbers[:] = picker(chosen)(count)
        return [numbers[i] for i in which(len(numbers))]

    name, found = found_in(source, pick)
    return name, len(numbers), found
