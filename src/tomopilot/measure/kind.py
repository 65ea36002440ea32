"""How a measurement is presented: its name, the unit of its setting, how its images are shown."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def as_it_is(image: Tensor) -> Tensor:
    """The picture of a real image."""
    return image


def magnitude(image: Float[Tensor, "*b 2 h w"]) -> Float[Tensor, "*b h w"]:
    """The picture of a complex image of two channels, its real and its imaginary part."""
    return image.square().sum(-3).sqrt()


@dataclass(frozen=True)
class Kind:
    """A kind of measurement, as tables, pages and pictures present it."""

    name: str  # of one measurement
    noun: str  # of its setting
    unit: str  # of the setting, as it is shown
    period: float | None = None  # settings this far apart read the same; None: settings on a line
    fixed: str = "in a fixed order"  # how settings are taken that nothing chooses
    picture: Callable[[Tensor], Tensor] = (
        as_it_is  # real images (*b, h, w) of reconstructed ones (*b, *image)
    )

    def apart(self, shown: Tensor, setting: float) -> Tensor:
        """How far shown settings are from one, the shorter way round where they repeat."""
        apart = (shown - setting).abs()
        return apart if self.period is None else torch.minimum(apart % self.period, -apart % self.period)

    @property
    def words(self) -> dict[str, Any]:
        """What a summary says about it."""
        return {name: getattr(self, name) for name in ("name", "noun", "unit", "period", "fixed")}


SETTING = Kind("measurement", "setting", "setting")
PROJECTION = Kind("projection", "angle", "degrees", period=180.0, fixed="in uniform order")
FULL_TURN = replace(PROJECTION, period=360.0)  # opposite angles of a divergent beam see other lines
PRESCAN = Kind("pre-scan", "pre-scan", "pre-scan")
ROW = Kind("k-space row", "row", "row", fixed="from low to high", picture=magnitude)
