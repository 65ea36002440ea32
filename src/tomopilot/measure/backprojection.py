"""Filtered back-projection, for every beam whose geometry says what the steps need."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.operator import Numbers, numbers


@runtime_checkable
class Beam(Protocol):
    """Projections of a slice, of which a filtered back-projection is known."""

    def check_projections(self, y: Tensor) -> None:
        """Raises where `y` cannot be a batch of these projections."""
        ...

    def before_filter(self) -> Float[Tensor, "n *bins"]:
        """What each value counts for: its share of the lines, its slant, the width of a bin."""
        ...

    def ramp(self) -> Float[Tensor, " f"]:
        """The filter of a projection that is padded to twice its bins, see `ramp`."""
        ...

    def seen_at(self, like: Tensor) -> Iterator[tuple[Tensor, Tensor | float]]:
        """Of each angle, where on the detector the pixels (h, w) are seen, and what they count for.

        Places are counted in bins from the middle of the first one.
        """
        ...


def filtered_backprojection(beam: Beam, y: Numbers) -> Float[Tensor, "b h w"]:
    """The image by ramp filter and back-projection; unevenly spaced angles count by the gap they fill.

    Each pixel reads the filtered projections where its centre falls, between two bins: on a disc, a tenth of
    the error inside that the transpose of `forward` leaves, which is rough from pixel to pixel.
    Beyond the detector, a projection is continued by its outermost values: where the object is wider than the
    detector this is far better than zeros, and elsewhere it is the same.
    """
    y = numbers(y)
    beam.check_projections(y)
    bins, response = y.shape[-1], beam.ramp().to(y)
    length, margin = 2 * (len(response) - 1), bins // 2
    weighed = y * beam.before_filter().to(y)
    padded = torch.nn.functional.pad(weighed, (margin, bins - margin), mode="replicate")
    filtered = torch.fft.irfft(torch.fft.rfft(padded, length) * response, length)
    edged = torch.nn.functional.pad(filtered[..., margin : margin + bins], (1, 1))  # 0 beyond the detector
    image = torch.zeros((), dtype=y.dtype, device=y.device)
    for (place, weight), profile in zip(beam.seen_at(y), edged.unbind(1), strict=True):
        place = (place + 1).clamp(0, bins + 1)
        below = place.long().clamp(max=bins)
        image = image + weight * torch.lerp(profile[:, below], profile[:, below + 1], place - below)
    return image


@lru_cache(maxsize=8)
def ramp(bins: int, step: float = 0.0) -> Float[Tensor, " f"]:
    """The ramp filter of a band-limited detector, twice zero-padded (Kak & Slaney 2001, Eq. 3.61).

    step: radians between the bins of a curved detector (Sec. 3.4.1); 0 for bins on a straight line
    """
    length = 2 ** math.ceil(math.log2(2 * bins))
    lag = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64).round()
    kernel = torch.where(lag % 2 != 0, -1 / (math.pi * lag).square(), torch.zeros_like(lag))
    kernel[0] = 0.25
    bent = (step * lag / math.pi).clamp(-0.5, 0.5)  # sin(pi x) / (pi x) of angles up to a right one
    return torch.fft.rfft(kernel / bent.sinc().square()).real.float()


def pixels(size: int, like: Tensor) -> tuple[Float[Tensor, " w"], Float[Tensor, "h 1"]]:
    """x to the right and y upwards of the pixels of a square image, from its centre."""
    line = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    return line, -line[:, None]
