"""How a slice becomes training images: in crops beside each other, or as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32


@dataclass(frozen=True, eq=False)
class Crop:
    """An image to train on, in the unit of its source, and where it comes from."""

    pixels: Float32[np.ndarray, "size size"]
    source: str  # what is never in training and validation both: a file, a patient, a design
    depth: float  # number of the slice; of a layout, the height in um
    x: float  # of its upper left corner, in pixels of the slice; of a layout, the lower left in um
    y: float
    pixel: float | None  # side of one of its pixels in metres, where it is known
    held: bool  # for validation


@dataclass(frozen=True)
class Cut:
    """Squares of `crop` pixels that do not overlap, each rescaled bilinearly to `size` (paper, Sec. 4.1).

    Crops of twice the size become means of 2 x 2 pixels. `crop` None takes the largest square in the middle.
    """

    crop: int | None = 256
    size: int = 128

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096 or (self.crop is not None and self.crop < self.size):
            raise ValueError(
                f"crops of {self.crop} pixels were asked for, to be rescaled to {self.size}; expected a size "
                "from 16 to 4096, and crops no smaller: what is magnified shows nothing new"
            )

    def side(self, shape: tuple[int, ...]) -> int:
        """Of the squares that are cut out of an image of this shape; raises where it is too small."""
        side = self.crop or min(shape)
        if min(shape) < max(side, self.size):
            raise ValueError(
                f"a slice is {shape[0]} x {shape[1]} pixels, too small for crops of {max(side, self.size)}: "
                "take --crop and --size smaller, or resample the volume"
            )
        return side

    def __call__(self, image: Float32[np.ndarray, "h w"]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Row, column and rescaled pixels of each crop; what is left over is shared by opposite edges."""
        side = self.side(image.shape)
        rows, columns = (1, 1) if self.crop is None else (length // side for length in image.shape)
        top, left = (image.shape[0] - rows * side) // 2, (image.shape[1] - columns * side) // 2
        for row in range(top, top + rows * side, side):
            for column in range(left, left + columns * side, side):
                crop = image[row : row + side, column : column + side]
                yield row, column, rescaled(crop, self.size)


def rescaled(image: Float32[np.ndarray, "n n"], size: int) -> Float32[np.ndarray, "size size"]:
    """A square image, bilinearly; more than halved, over as wide a triangle as no pixel is left out by."""
    if len(image) == size:
        return image
    wide = len(image) > 2 * size
    values = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    small = F.interpolate(values, (size, size), mode="bilinear", antialias=wide, align_corners=False)
    return small[0, 0].numpy()
