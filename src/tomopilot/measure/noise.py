"""Noise of a measurement: how to simulate it, and how much each measured number is to be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor

from tomopilot.measure.operator import Numbers

BRIGHTEST = 10.0  # more photons than this many times the open beam are an error, not a certainty


@runtime_checkable
class Noise(Protocol):
    """How a measurement differs from its noiseless value."""

    def sample(self, clean: Inexact[Tensor, "*any"], *, rng: torch.Generator) -> Inexact[Tensor, "*any"]:
        """A noisy measurement of noiseless values."""
        ...

    def precision(self, values: Inexact[Tensor, "*any"]) -> Tensor:
        """Inverse variance of each measured value; of a complex one, E|y - clean|^2 is the variance.

        0 where a value is not to be used: it may then be anything, NaN too.
        """
        ...


@dataclass(frozen=True)
class Gaussian:
    """White noise of standard deviation `std`, in the unit of the measurement.

    `std` 0 measures without noise; the misfit is then the plain sum of squares of the paper (Eq. 2), unless a
    `floor` says how small an error is not worth fitting: values are trusted to that standard deviation.

    Of complex values, std^2 is the variance of the whole number, E|y - clean|^2: real and imaginary part have
    std^2 / 2 each. Their precision is 1 / std^2, their misfit |y - A x|^2 / std^2 without the half that real
    values have, so it is minus the log likelihood in both cases.
    """

    std: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("standard deviation", self.std), ("floor", self.floor)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"the noise's {name} is {value}; expected a finite number, 0 or more")

    def sample(self, clean: Inexact[Tensor, "*any"], *, rng: torch.Generator) -> Inexact[Tensor, "*any"]:
        return clean + self.std * torch.randn(clean.shape, generator=rng, dtype=clean.dtype).to(clean.device)

    def precision(self, values: Inexact[Tensor, "*any"]) -> Tensor:
        trusted = max(self.std, self.floor)
        return torch.full_like(values.real, trusted**-2 if trusted else 1.0)


@dataclass(frozen=True)
class Poisson:
    """Photon counts, `i0` per detector bin without a sample, turned into line integrals by the logarithm.

    value = -log(counts / i0) / attenuation; `attenuation` is the absorption of one unit of image value over
    one pixel. The logarithm's variance, 1 / counts, is the weight in the misfit. Bins that saw no photon
    count as a tenth of one, and none weighs more than `BRIGHTEST` times a bin without a sample.
    """

    i0: float
    attenuation: float

    def __post_init__(self) -> None:
        for name in ("i0", "attenuation"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"Poisson noise with {name} = {value}; expected a finite number above 0")

    def sample(self, clean: Inexact[Tensor, "*any"], *, rng: torch.Generator) -> Inexact[Tensor, "*any"]:
        if clean.is_complex():
            raise ValueError(
                "photons are counted of real measurements only; complex ones have Gaussian noise"
            )
        expected = self.i0 * torch.exp(-self.attenuation * clean.cpu())
        counts = torch.poisson(expected, generator=rng).clamp(min=0.1)
        return (-torch.log(counts / self.i0) / self.attenuation).to(clean)

    def precision(self, values: Inexact[Tensor, "*any"]) -> Tensor:
        relative = torch.exp(-self.attenuation * values).clamp(max=BRIGHTEST)
        return self.i0 * relative * self.attenuation**2


@dataclass(frozen=True)
class Masked:
    """Another noise, and detector bins that are not to be used: dead, hot, or behind a beam stop.

    Their precision is 0, so whatever they hold changes nothing, NaN included: no estimate, no surprise, no
    alarm. `bins` are numbers of the last axis of a measurement, the same in all slices of a volume, or places
    (slice, bin); or a mask of (bins) or of (slices, bins) that is true where one is dead.

    >>> Masked(Gaussian(0.3), (60, 61)) == Masked(Gaussian(0.3), [n in (60, 61) for n in range(128)])
    True
    """

    noise: Noise
    bins: Numbers

    def __post_init__(self) -> None:
        bins = np.asarray(self.bins)
        if bins.dtype == bool:
            bins = bins.nonzero()[0] if bins.ndim == 1 else np.argwhere(bins)
        if not bins.size:
            bins = np.zeros(0, int)
        one_way = bins.ndim == 1 or (bins.ndim == 2 and bins.shape[-1] == 2)
        if not one_way or (bins.size and (bins.dtype.kind not in "iu" or bins.min() < 0)):
            raise ValueError(
                f"masked bins are {self.bins!r}; expected whole numbers from 0, or true or false for each"
            )
        places = {tuple(place) if isinstance(place, list) else place for place in bins.tolist()}
        object.__setattr__(self, "bins", tuple(sorted(places)))

    def sample(self, clean: Inexact[Tensor, "*any"], *, rng: torch.Generator) -> Inexact[Tensor, "*any"]:
        return self.noise.sample(clean, rng=rng)

    def precision(self, values: Inexact[Tensor, "*any"]) -> Tensor:
        if not self.bins:
            return self.noise.precision(values)
        places = torch.tensor(self.bins, dtype=torch.long).reshape(len(self.bins), -1)
        shape = values.shape[max(0, values.ndim - places.shape[1]) :]
        if len(shape) < places.shape[1] or bool((places >= torch.tensor(shape)).any()):
            raise ValueError(
                f"bin {self.bins[-1]} is masked, but a measurement has bins 0 to {values.shape[-1] - 1}"
                f"{f' in {shape[0]} slices' if places.shape[1] > 1 else ''}; was the detector binned?"
            )
        dead = torch.zeros(shape, dtype=torch.bool, device=values.device)
        dead[tuple(places.T)] = True
        return self.noise.precision(values.masked_fill(dead, 0)).masked_fill(dead, 0)

    def of_slices(self, numbers: Sequence[int]) -> "Noise":
        """Of some slices of a volume, in this order."""
        if not self.bins or not isinstance(self.bins[0], tuple):
            return self
        own = [
            (place, bin) for place, number in enumerate(numbers) for row, bin in self.bins if row == number
        ]
        return replace(self, bins=own) if own else self.noise

    def of_slice(self, number: int) -> "Noise":
        """Of one slice of a volume, by itself."""
        if not self.bins or not isinstance(self.bins[0], tuple):
            return self
        own = [bin for row, bin in self.bins if row == number]
        return replace(self, bins=own) if own else self.noise


KNOWN: dict[str, Any] = {kind.__name__: kind for kind in (Gaussian, Poisson, Masked)}


def in_words(noise: Noise) -> dict[str, Any]:
    """A noise as JSON can hold it.

    >>> in_words(Masked(Gaussian(0.3), (60,)))
    {'kind': 'Masked', 'noise': {'kind': 'Gaussian', 'std': 0.3, 'floor': 0.0}, 'bins': (60,)}
    """
    kind = type(noise).__name__
    if KNOWN.get(kind) is not type(noise):
        raise ValueError(f"{noise!r} cannot be recorded; a recorded scan knows {', '.join(KNOWN)}")
    held = {field.name: getattr(noise, field.name) for field in fields(KNOWN[kind])}
    return {"kind": kind} | {n: in_words(v) if isinstance(v, Noise) else v for n, v in held.items()}


def from_words(words: dict[str, Any]) -> Noise:
    """The inverse of `in_words`."""
    held = {name: from_words(value) if isinstance(value, dict) else value for name, value in words.items()}
    return KNOWN[words["kind"]](**{name: value for name, value in held.items() if name != "kind"})
