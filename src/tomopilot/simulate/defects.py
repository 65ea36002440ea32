"""A defect that no training has shown: a round void with a bright rim, as of a blown wire."""

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from tomopilot.randomness import stream

SMALLEST, LARGEST = 1 / 16, 7 / 64  # radius over the image's side: 8 to 14 of 128 pixels
EDGE = 0.1  # width of the void's edge, of its radius
RIM = 0.12  # width of the rim, of the void's radius

Image = Float32[Tensor, "h w"] | Complex64[Tensor, "h w"]


def void(image: Image, radius: float, row: float, column: float) -> Image:
    """The image with a void around a point, in pixels; its rim as bright as the brightest pixel."""
    high, wide = image.shape
    rows, columns = np.mgrid[:high, :wide]
    apart = torch.from_numpy(np.hypot(rows - row, columns - column) / radius).float()
    hole, rim = ((apart - 1 + EDGE) / EDGE).clamp(0, 1), torch.exp(-(((apart - 1) / RIM) ** 2))
    return image * hole * (1 - rim) + image.abs().max() * rim


def defect(image: Image, name: str) -> Image:
    """The image with one void of random size and place, the same for the same name."""
    side = min(image.shape)
    size, *place = torch.rand(3, generator=stream("defect", name), dtype=torch.float64).tolist()
    radius = side * (SMALLEST + (LARGEST - SMALLEST) * size)
    row, column = (2 * radius + share * (n - 4 * radius) for share, n in zip(place, image.shape, strict=True))
    return void(image, radius, row, column)
