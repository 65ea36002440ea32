"""Frames as a detector gives them, and the line integrals that a scan is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.live.setup import FLATS, Setup
from tomopilot.measure.noise import Masked, Noise, Poisson
from tomopilot.measure.operator import Operator
from tomopilot.measure.stack import Stack
from tomopilot.raw.counts import averaged, line_integrals_of, photons_of
from tomopilot.raw.faults import AIR, air_level, to_quarantine
from tomopilot.raw.records import Frames, RawScan
from tomopilot.raw.reshape import filled, rebinned

KINDS = "uif"  # of numbers that a frame may hold


class Unusable(ValueError):
    """A projection that says nothing of the sample: what is known stays as it was."""


@dataclass(frozen=True, eq=False)
class Fields:
    """Flat and dark fields that are in use, averaged, and what the flats say of photons."""

    flat: Float[np.ndarray, "1 rows columns"]
    dark: Float[np.ndarray, "1 rows columns"] | None = None
    photons: float | None = None  # a column of the open beam

    @staticmethod
    def of(flats: np.ndarray, darks: np.ndarray | None) -> "Fields":
        """Of frames (n, rows, columns)."""
        dark = None if darks is None else averaged(darks)[None]
        signal = flats.astype(np.float32) - (0 if dark is None else dark)
        return Fields(averaged(flats)[None], dark, photons_of(signal))


class Exposure(NamedTuple):
    """One projection as the scan is told it."""

    values: Tensor  # (bins,) or (rows, bins) in units of the prior
    noise: Noise | None  # None: the scan's


@dataclass(frozen=True)
class Detector:
    """The detector of a setup: makes line integrals of frames, and rejects those that are unusable."""

    setup: Setup

    @property
    def shape(self) -> tuple[int, int]:
        return (self.setup.rows, self.setup.columns)

    def frame(self, values: np.ndarray) -> np.ndarray:
        """A frame (rows, columns); a single row may come as (columns,). Raises `Unusable` on other shapes."""
        frame = np.asarray(values)
        if self.setup.rows == 1 and frame.ndim == 1:
            frame = frame[None]
        if frame.shape != self.shape:
            raise Unusable(
                f"the frame has shape {np.shape(values)}; expected {self.shape} (rows, columns): was the "
                "detector binned or cropped since the scan was set up?"
            )
        if frame.dtype.kind not in KINDS:
            raise Unusable(f"the frame holds {frame.dtype}; expected integers or real numbers")
        return frame

    def fields(self, frames: np.ndarray) -> np.ndarray:
        """Flat or dark fields (n, rows, columns); of a single row also (n, columns); one may be a frame."""
        frames = np.asarray(frames)
        if frames.ndim == 2 and self.setup.rows == 1:
            frames = frames[:, None]
        elif frames.ndim < 3:
            frames = frames[None]
        return np.stack([self.frame(frame) for frame in frames])

    def expose(
        self,
        frame: np.ndarray,
        angle: float,
        fields: Fields | None,
        monitor: float | None = None,
        air: Sequence[float] = (),
    ) -> Exposure:
        """Line integrals of a frame; raises `Unusable` with the reason where it says nothing of the sample.

        angle: radians
        monitor: incident intensity, 1 as for the flat fields
        air: `air_level` of projections before it, by which the beam is judged
        """
        setup = self.setup
        if setup.counts and fields is None:
            raise ValueError("counts came before flat fields; send flats of the open beam first")
        if monitor is not None and not 1 - setup.drop < monitor < 1 / (1 - setup.drop):
            raise Unusable(f"the beam monitor reads {monitor:g} of what it read for the flat fields")
        taken = line_integrals_of(self._raw(frame, angle, fields, monitor), np.array([0]), slice(None))
        found = to_quarantine(taken.values, taken.faults, np.array([angle]), None, setup.drop)
        if found:
            raise Unusable(found[0])
        mask = np.isnan(taken.values)
        if mask.all():
            raise Unusable("no value of it is usable")
        values, mask = rebinned(filled(taken.values, mask), mask, setup.bins or setup.columns)
        values = filled(values, mask)[0]
        self._check_beam(values, air)
        told = ((values - self._offset(angle)) / np.float32(setup.scale)).astype(np.float32)
        told = told if setup.rows > 1 else told[0]
        return Exposure(torch.from_numpy(told), self._noise(fields, mask[0]))

    def faults(self, frame: np.ndarray, fields: Fields | None) -> dict[str, np.ndarray]:
        """What is wrong with single values of a frame (rows, columns): where."""
        taken = line_integrals_of(self._raw(frame, 0.0, fields, None), np.array([0]), slice(None))
        return {what: bad if bad.ndim == 2 else bad[0] for what, bad in taken.faults.items()}

    def line_integrals(self, values: Tensor, angle: float) -> np.ndarray:
        """(rows, bins), of what the scan was told."""
        rows = values.cpu().numpy().reshape(self.setup.rows, -1)
        return rows * np.float32(self.setup.scale) + self._offset(angle)

    def _raw(self, frame: np.ndarray, angle: float, fields: Fields | None, monitor: float | None) -> RawScan:
        setup = self.setup
        raw = RawScan("the frame", "live", Frames.of(frame[None]), np.array([angle]), setup.counts)
        if not setup.counts or fields is None:
            return raw
        return replace(
            raw,
            flats=Frames.of(fields.flat),
            darks=None if fields.dark is None else Frames.of(fields.dark),
            ceiling=setup.ceiling,
            monitor=None if monitor is None else np.array([monitor]),
        )

    def _check_beam(self, values: np.ndarray, air: Sequence[float]) -> None:
        """Raises where the open beam beside the sample differs from that of earlier projections.

        Where one sees no air, only a monitor can tell: projections of few angles differ as a whole.
        """
        if not self.setup.counts:
            return
        levels = [level for level in air if not np.isnan(level)]
        if len(levels) < 2 or abs(usual := np.median(levels)) > AIR:
            return
        change = float(np.exp(usual - air_level(values))) - 1
        if not (np.isnan(change) or -self.setup.drop < change < 1 / (1 - self.setup.drop) - 1):
            word = "weaker" if change < 0 else "stronger"
            raise Unusable(f"its beam is {abs(change):.0%} {word} than before")

    def _noise(self, fields: Fields | None, mask: np.ndarray) -> Noise | None:
        setup, noise = self.setup, None
        if setup.counts and setup.noise == FLATS and fields and fields.photons:
            noise = Poisson(fields.photons * setup.columns / (setup.bins or setup.columns), setup.scale)
        if mask.any():
            return Masked(noise or setup.usual_noise(), mask if setup.rows > 1 else mask[0])
        return noise

    def _offset(self, angle: float) -> np.ndarray | np.float32:
        """What an image of value 0 projects to, (bins,)."""
        if not self.setup.offset:
            return np.float32(0)
        ray = self._single.at(torch.tensor([angle]))
        return np.float32(self.setup.offset) * ray.forward(torch.ones(1, *ray.image_shape))[0, 0].numpy()

    @cached_property
    def _single(self) -> Operator:
        """The geometry of one slice."""
        operator = self.setup.operator()
        return operator.operator if isinstance(operator, Stack) else operator
