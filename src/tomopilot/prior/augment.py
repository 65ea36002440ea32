"""Random views of training images: rotated, scaled, cropped (paper, Sec. 4.1), with other contrast."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Slices = Tensor | Sequence[Tensor]  # images (n, h, w), or a list of images (h, w) that may differ in size


def random_views(
    images: Slices, crop: int, *, zoom: float, rotated: float, rng: torch.Generator
) -> Float[Tensor, "b crop crop"]:
    """One random square of each image (h, w), `crop` pixels wide; images of one size come together.

    A share `rotated` of the views is turned by any angle and magnified by 1 ... `zoom`, bicubically, within
    the image where the turned square fits (reflected at its edge where not). The others are exact pixels: a
    quarter turn, perhaps mirrored, of a square cut on the grid.
    """
    sizes: dict[torch.Size, list[Tensor]] = {}
    for image in images:
        sizes.setdefault(image.shape, []).append(image)
    views = [_views(torch.stack(alike), crop, zoom, rotated, rng) for alike in sizes.values()]
    return torch.cat(views)


def with_tone(views: Float[Tensor, "b h w"], spread: float, rng: torch.Generator) -> Float[Tensor, "b h w"]:
    """Views in [-1, 1] under random gamma curves: exponents exp(`spread` g) with standard Gaussian g."""
    exponent = torch.exp(spread * torch.randn(len(views), 1, 1, generator=rng))
    return 2 * ((views + 1) / 2).clamp(min=0) ** exponent - 1


def _views(
    images: Float[Tensor, "b h w"], crop: int, zoom: float, rotated: float, rng: torch.Generator
) -> Float[Tensor, "b crop crop"]:
    count, side = len(images), images.shape[-1]
    if crop > side:
        raise ValueError(f"crops of {crop} pixels were asked for, but the training images are {side} wide")
    uniform = torch.rand(6, count, generator=rng)
    free = uniform[0] < rotated
    turns = torch.where(free, 4 * uniform[1], (4 * uniform[1]).floor())
    size = torch.where(free, 1 / (1 + (zoom - 1) * uniform[2]), 1.0) * crop / side
    cos, sin = torch.cos(turns * math.pi / 2), torch.sin(turns * math.pi / 2)
    cos, sin = (torch.where(free, part, part.round()) for part in (cos, sin))
    mirror = torch.where(uniform[3] < 0.5, -1.0, 1.0)
    room = (1 - size * (cos.abs() + sin.abs())).clamp(min=0)
    centre = (2 * uniform[4:] - 1) * room
    centre = torch.where(free, centre, _on_grid(centre, crop, side))
    rows = [
        torch.stack([size * cos * mirror, -size * sin, centre[0]], -1),
        torch.stack([size * sin * mirror, size * cos, centre[1]], -1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [count, 1, crop, crop], align_corners=False)
    views = F.grid_sample(
        images[:, None], grid.to(images), mode="bicubic", padding_mode="reflection", align_corners=False
    )[:, 0]
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return views.clamp(low, high)  # bicubic interpolation overshoots at edges


def _on_grid(centre: Tensor, crop: int, side: int) -> Tensor:
    """The nearest centre (in units of half the image) at which a crop's pixels are pixels of the image."""
    odd = (side - crop) % 2 / 2
    return ((centre * side / 2 - odd).round() + odd) * 2 / side
