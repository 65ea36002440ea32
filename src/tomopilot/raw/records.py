"""What a measured scan is: frames in their file, and the line integrals made of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from tomopilot.files.reading import InputFileError, affordable
from tomopilot.measure.fan import Fan
from tomopilot.measure.noise import Gaussian, Masked, Noise, Poisson
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon


class Source(Protocol):
    """Where frames lie."""

    def read(self, numbers: np.ndarray, rows: slice) -> np.ndarray:
        """These frames by their number, and these rows of each: (m, rows, bins)."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Frames that are in memory already, (n, rows, bins)."""

    values: np.ndarray

    def read(self, numbers: np.ndarray, rows: slice) -> np.ndarray:
        return self.values[numbers, rows]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of a detector, which are read when asked for; some of them are frames, too."""

    source: Source
    numbers: np.ndarray  # (n,) in the source
    rows: int
    bins: int
    dtype: np.dtype

    @staticmethod
    def of(values: np.ndarray) -> "Frames":
        """These values, (n, rows, bins)."""
        count, rows, bins = values.shape
        return Frames(InMemory(values), np.arange(count), rows, bins, values.dtype)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> "Frames":
        return replace(self, numbers=self.numbers[index])

    def read(self, rows: slice = slice(None)) -> np.ndarray:
        """The values of some detector rows in all frames, (n, rows, bins)."""
        count = len(range(self.rows)[rows])
        affordable(f"{len(self)} frames of {count} rows", len(self) * count * self.bins * self.dtype.itemsize)
        if not len(self):
            return np.zeros((0, count, self.bins), self.dtype)
        return self.source.read(self.numbers, rows)


@dataclass(frozen=True)
class FanBeam:
    """Where source and detector are, in metres; without one, rays are parallel."""

    source_axis: float
    source_detector: float

    def __post_init__(self) -> None:
        if not 0 < self.source_axis < self.source_detector < math.inf:
            raise InputFileError(
                f"the source is {self.source_axis:g} m from the axis and {self.source_detector:g} m from the "
                "detector; expected 0 < source to axis < source to detector: check the unit of both"
            )


@dataclass(frozen=True, eq=False)
class RawScan:
    """A measured scan as its file holds it, in the order of acquisition."""

    name: str
    format: str
    projections: Frames
    angles: np.ndarray  # (n,) radians
    counts: bool  # else line integrals, -log(transmission), already
    flats: Frames | None = None
    flats_after: np.ndarray | None = None  # (f,) projections taken before each flat; None: not known
    darks: Frames | None = None
    pixel_size: float | None = None  # metres, the width of a detector bin
    monitor: np.ndarray | None = None  # (n,) incident intensity, 1 as for the flats
    fan: FanBeam | None = None
    axis: float | None = None  # column of the rotation axis, from 0, where the file says it
    ceiling: float | None = None  # counts at which the detector is saturated, where the file says it
    mask: Frames | None = None  # (1, rows, bins) or (n, rows, bins): not 0 where a value is unusable
    noise: Noise | None = None  # of line integrals, where the file says it
    quarantined: Mapping[int, str] = field(default_factory=dict)  # projections that cannot be read, and why
    remarks: tuple[str, ...] = ()  # what the reader took for granted

    def __post_init__(self) -> None:
        frames = self.projections
        if not len(frames) or not frames.rows or not frames.bins:
            raise InputFileError(
                f"it has {len(frames)} projections of {frames.rows} x {frames.bins} values; expected some"
            )
        if len(self.angles) != len(frames):
            raise InputFileError(
                f"it has {len(self.angles)} angles for {len(frames)} projections; expected one angle each: "
                "leave out the angles of flats and darks, or those that were not exposed"
            )
        if not np.isfinite(self.angles).all():
            raise InputFileError(
                f"{int((~np.isfinite(self.angles)).sum())} of {len(self.angles)} angles are not finite; "
                "expected the angle of every projection"
            )
        others = {"flats": self.flats, "darks": self.darks, "masks": self.mask}
        for what, other in others.items():
            if other is not None and (other.rows, other.bins) != (frames.rows, frames.bins):
                raise InputFileError(
                    f"its {what} have {other.rows} x {other.bins} values, but its projections "
                    f"{frames.rows} x {frames.bins}; expected the same part of the detector: crop both alike"
                )
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise InputFileError(f"its pixel size is {self.pixel_size:g} m; expected a number above 0")

    @property
    def unit(self) -> str:
        return "counts" if self.counts else "line integrals"


@dataclass(frozen=True, eq=False)
class LineIntegrals:
    """What reconstruction starts from: -log(transmission), which values to trust, where the axis is."""

    name: str
    values: np.ndarray  # (n, rows, bins) float32; where masked, on the line between the known neighbours
    mask: np.ndarray  # (n, rows, bins) true where dead, saturated or opaque: to be given precision 0
    angles: np.ndarray  # (n,) radians
    numbers: np.ndarray  # (n,) which projections of the scan these are
    offset: float  # bins from the detector's middle to the axis, as of `Radon`
    noise: Noise
    pixel_size: float | None = None  # metres, the width of a bin
    fan: FanBeam | None = None
    quarantined: Mapping[int, str] = field(default_factory=dict)  # number of a projection, and why
    log: Mapping[str, Any] = field(default_factory=dict)  # what was done, step by step, with its parameters

    def only(self, keep: np.ndarray) -> "LineIntegrals":
        """Those of some projections alone."""
        return replace(
            self,
            values=self.values[keep],
            mask=self.mask[keep],
            angles=self.angles[keep],
            numbers=self.numbers[keep],
        )

    def noise_of(self, projection: int, row: int = 0) -> Noise:
        """The noise of one row of one projection; masked values have precision 0."""
        bad = self.mask[projection, row]
        return Masked(self.noise, bad) if bad.any() else self.noise

    def operator(self, size: int | None = None) -> Radon | Fan:
        """The geometry, for images of `size` pixels a side, by default as many as there are bins.

        A pixel is as wide as a bin, with a fan beam as a bin seen from the source at the axis.
        """
        bins = self.values.shape[-1]
        if self.fan is None:
            return Radon(size or bins, self.angles, bins, self.offset)
        if self.pixel_size is None:
            raise ValueError(
                f"the width of the bins of {self.name} is not known, but its fan beam is in metres; expected "
                "pixel_size in the scan: replace it there"
            )
        magnified = self.fan.source_detector / self.fan.source_axis
        pixel = self.pixel_size / magnified
        source = self.fan.source_axis / pixel
        return Fan(
            size or bins, self.angles, bins, source=source, detector=source * magnified, offset=self.offset
        )

    def mapped(self, scale: float, offset: float, operator: Operator) -> "LineIntegrals":
        """Those of the image `(image - offset) / scale`, as `operator` projects it; see `intensity`."""
        ones = operator.forward(torch.ones(1, *operator.image_shape))[0].numpy()[:, None]
        values = ((self.values - offset * ones) / scale).astype(np.float32)
        log = {**self.log, "intensity": {"scale": scale, "offset": offset}}
        return replace(self, values=values, noise=_scaled(self.noise, scale), log=log)


def _scaled(noise: Noise, scale: float) -> Noise:
    """The noise of values divided by `scale`."""
    if isinstance(noise, Poisson):
        return replace(noise, attenuation=noise.attenuation * scale)
    if isinstance(noise, Gaussian):
        return replace(noise, std=noise.std / scale, floor=noise.floor / scale)
    raise ValueError(f"the noise is {noise!r}; expected Poisson or Gaussian")
