"""Random views of training images: rotated, scaled, cropped (paper, Sec. 4.1), with other contrast."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Slices = Tensor | Sequence[Tensor]  # images (n, h, w), or a list of images (h, w) that may differ in size


def random_views(
    images: Slices,
    crop: int,
    *,
    zoom: tuple[float, float],
    rotated: float,
    rng: torch.Generator,
    turn: float = 180.0,
    reflect: bool = True,
) -> Float[Tensor, "b crop crop"]:
    """One random square of each image (h, w), `crop` pixels wide; images of one size come together.

    A share `rotated` of the views is turned by up to `turn` degrees either way, magnified by a factor within
    `zoom` (log-uniform), and interpolated bicubically; below 1, from a raster twice as fine. Where the turned
    square leaves the image, this is reflected at its edge, or, unless `reflect`, the square is magnified
    until it fits. The other views are exact pixels of a square cut on the grid, perhaps mirrored, and in any
    quarter turn if `turn` allows one.
    """
    sizes: dict[torch.Size, list[Tensor]] = {}
    for image in images:
        sizes.setdefault(image.shape, []).append(image)
    views = [
        _views(torch.stack(alike), crop, zoom, rotated, rng, turn / 90, reflect) for alike in sizes.values()
    ]
    return torch.cat(views)


def with_tone(views: Float[Tensor, "b h w"], spread: float, rng: torch.Generator) -> Float[Tensor, "b h w"]:
    """Views in [-1, 1] under random gamma curves: exponents exp(`spread` g) with standard Gaussian g."""
    exponent = torch.exp(spread * torch.randn(len(views), 1, 1, generator=rng))
    return 2 * ((views + 1) / 2).clamp(min=0) ** exponent - 1


def _views(
    images: Float[Tensor, "b h w"],
    crop: int,
    zoom: tuple[float, float],
    rotated: float,
    rng: torch.Generator,
    turn: float,
    reflect: bool,
) -> Float[Tensor, "b crop crop"]:
    count, side = len(images), images.shape[-1]
    if crop > side:
        raise ValueError(f"crops of {crop} pixels were asked for, but the training images are {side} wide")
    uniform = torch.rand(6, count, generator=rng)
    free = uniform[0] < rotated
    quarters = (4 * uniform[1]).floor() if turn >= 1 else torch.zeros(count)
    turns = torch.where(free, turn * (2 * uniform[1] - 1), quarters)
    cos, sin = torch.cos(turns * math.pi / 2), torch.sin(turns * math.pi / 2)
    cos, sin = (torch.where(free, part, part.round()) for part in (cos, sin))
    lowest, highest = map(math.log, zoom)
    magnified = torch.exp(lowest + (highest - lowest) * uniform[2])
    reach = cos.abs() + sin.abs()  # of a turned square, as a multiple of its side
    if not reflect:
        magnified = magnified.maximum(reach * crop / side)
    size = torch.where(free, 1 / magnified, 1.0) * crop / side
    mirror = torch.where(uniform[3] < 0.5, -1.0, 1.0)
    room = (1 - size * reach).clamp(min=0)
    centre = (2 * uniform[4:] - 1) * room
    centre = torch.where(free, centre, _on_grid(centre, crop, side))
    rows = [
        torch.stack([size * cos * mirror, -size * sin, centre[0]], -1),
        torch.stack([size * sin * mirror, size * cos, centre[1]], -1),
    ]
    small, placed = free & (magnified < 1), torch.stack(rows, 1)
    views = images.new_empty(count, crop, crop)
    for which, finer in ((~small, 1), (small, 2)):
        if bool(which.any()):
            views[which] = _sampled(images[which], placed[which], crop, finer)
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    return views.clamp(low, high)  # bicubic interpolation overshoots at edges


def _sampled(
    images: Float[Tensor, "b h w"], placed: Float[Tensor, "b 2 3"], crop: int, finer: int
) -> Float[Tensor, "b crop crop"]:
    """Squares of images at affine places, as means of `finer` x `finer` interpolated values a pixel."""
    grid = F.affine_grid(placed, [len(images), 1, finer * crop, finer * crop], align_corners=False)
    views = F.grid_sample(
        images[:, None], grid.to(images), mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return F.avg_pool2d(views, finer)[:, 0]


def _on_grid(centre: Tensor, crop: int, side: int) -> Tensor:
    """The nearest centre (in units of half the image) at which a crop's pixels are pixels of the image."""
    odd = (side - crop) % 2 / 2
    return ((centre * side / 2 - odd).round() + odd) * 2 / side
