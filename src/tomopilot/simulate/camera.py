"""A detector that counts photons behind a known volume: a beamline to try things on."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor

from tomopilot.measure.radon import Radon
from tomopilot.randomness import stream

FULL = 2**16 - 1  # counts


@dataclass(frozen=True, eq=False)
class Camera:
    """Frames of a volume between a parallel beam and a detector of 16 bits.

    volume: (rows, size, size); `scale` is the absorption of one pixel of value 1
    Frames repeat: their noise follows from `seed`, what they are of, and `exposure`, the number of the frame.
    """

    volume: Float[Tensor, "rows size size"]
    scale: float = 0.02
    photons: float = 20_000.0
    dark: float = 100.0
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.volume.shape[0], self.volume.shape[-1]

    def frame(self, angle: float, exposure: int = 0, beam: float = 1.0) -> UInt16[np.ndarray, "rows columns"]:
        """At an angle in degrees; `beam` is the incident intensity."""
        size = self.volume.shape[-1]
        operator = Radon(size, torch.tensor([angle]).deg2rad())
        lines = operator.forward(self.volume)[:, 0]
        return self._counts(beam * self.photons * torch.exp(-self.scale * lines), f"{angle!r} {exposure}")

    def flats(self, count: int = 10) -> UInt16[np.ndarray, "n rows columns"]:
        """The open beam."""
        beam = torch.full(self.shape, float(self.photons))
        return np.stack([self._counts(beam, f"flat {n}") for n in range(count)])

    def darks(self, count: int = 5) -> UInt16[np.ndarray, "n rows columns"]:
        """No beam."""
        return np.stack([self._counts(torch.zeros(self.shape), f"dark {n}") for n in range(count)])

    def _counts(self, expected: Tensor, what: str) -> UInt16[np.ndarray, "rows columns"]:
        photons = torch.poisson(expected, generator=stream(self.seed, "camera", what))
        return (photons + self.dark).clamp(0, FULL).numpy().astype(np.uint16)
