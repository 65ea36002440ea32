"""The nouns that travel from room to room. All are frozen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Numbers, Operator, numbers
from tomopilot.measure.solve import largest_eigenvalue

SAFETY = 1.05  # power iteration approaches the largest eigenvalue from below


@dataclass(frozen=True, eq=False)
class Observation:
    """Measured blocks of one geometry under one noise; values of precision 0 may be anything."""

    family: Operator
    settings: Float[Tensor, "m *setting"]  # as they were reached, designs of the family or not
    values: Numbers  # (m, *block), made a tensor
    noise: Noise

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", numbers(self.values))

    @cached_property
    def operator(self) -> Operator:
        return self.family.at(self.settings)

    @cached_property
    def precision(self) -> Float[Tensor, "m *block"]:
        return self.noise.precision(self.values)

    @cached_property
    def known(self) -> Inexact[Tensor, "m *block"]:
        """The values, and 0 where their precision is 0."""
        return self.values.masked_fill(self.precision == 0, 0)

    @cached_property
    def weight(self) -> Float[Tensor, "m *block"]:
        """Inverse variance of each real number; the two of a complex value share its variance."""
        return 2 * self.precision if self.values.is_complex() else self.precision

    def misfit(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, " b"]:
        """Half the weighted sum of squares, minus the log likelihood up to a constant (paper, Eq. 2)."""
        return (self.weight.to(x) * self.residual(x).abs().square()).flatten(1).sum(1) / 2

    def residual(self, x: Float[Tensor, "b *image"]) -> Inexact[Tensor, "b m *block"]:
        """A x - y."""
        measured = self.operator.forward(x)
        return measured - self.known.to(measured)

    def gradient(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b *image"]:
        """Derivative of `misfit`: A^T W (A x - y)."""
        return self.operator.adjoint(self.weight.to(x) * self.residual(x))

    def normal(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b *image"]:
        """A^T W A x, the curvature of `misfit`."""
        return self.operator.adjoint(self.weight.to(x) * self.operator.forward(x))


@dataclass(frozen=True, eq=False)
class Data:
    """All that was measured of one image, and nothing else. Without observations, every image fits."""

    image_shape: tuple[int, ...]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    observations: tuple[Observation, ...] = ()

    def __len__(self) -> int:
        """Number of measured blocks."""
        return sum(len(part.settings) for part in self.observations)

    @property
    def numel(self) -> int:
        """Number of measured real numbers that are used; a complex value is two."""
        return sum(
            int((part.precision > 0).sum()) * (2 if part.values.is_complex() else 1)
            for part in self.observations
        )

    def add(
        self, family: Operator, design: int, values: Numbers, noise: Noise, setting: Numbers | None = None
    ) -> "Data":
        """These data and one more block; blocks of a family are kept in the order of their settings.

        setting: that the hardware reached, where it is not the design's own
        """
        reached = family.settings[design] if setting is None else numbers(setting).to(family.settings)
        settings, block, others = reached[None], numbers(values)[None], []
        for part in self.observations:
            if part.family is family and part.noise == noise:
                settings, block = torch.cat([part.settings, settings]), torch.cat([part.values, block])
            else:
                others.append(part)
        order = sorted(range(len(settings)), key=settings.tolist().__getitem__)
        return replace(
            self, observations=(*others, Observation(family, settings[order], block[order], noise))
        )

    def batches(self, size: int) -> list["Data"]:
        """These data in parts of at most `size` designs a family, each spread over all the measured ones."""
        count = max((-(-len(part.settings) // size) for part in self.observations), default=0)
        return [
            replace(
                self,
                observations=tuple(
                    _every(part, first, count) for part in self.observations if first < len(part.settings)
                ),
            )
            for first in range(count)
        ]

    def misfit(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, " b"]:
        return sum((part.misfit(x) for part in self.observations), x.new_zeros(len(x)))

    def gradient(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b *image"]:
        return sum((part.gradient(x) for part in self.observations), torch.zeros_like(x))

    def normal(self, x: Float[Tensor, "b *image"]) -> Float[Tensor, "b *image"]:
        return sum((part.normal(x) for part in self.observations), torch.zeros_like(x))

    @cached_property
    def lipschitz(self) -> float:
        """An upper bound of the curvature: gradient steps of 1 / `lipschitz` neither diverge nor stall."""
        like = torch.zeros(1, *self.image_shape, device=self.device)
        return SAFETY * largest_eigenvalue(self.normal, like)


def _every(part: Observation, first: int, count: int) -> Observation:
    return replace(part, settings=part.settings[first::count], values=part.values[first::count])


@dataclass(frozen=True)
class Told:
    """One measurement, and how it agreed with what had been expected of it."""

    design: int
    setting: float | list[float]  # that was reached; radians or row
    surprise: float | None  # see `trust.surprise`; None where nothing was predicted
    moves: list[float] | None  # of the latest samples, if they are new; see `posterior.moves`
    noise: float | None = None  # see `trust.relative_noise`
    deviations: Inexact[Tensor, "*block"] | None = field(
        default=None, compare=False
    )  # see `trust.deviations`
    worse: float | None = None  # see `trust.worse`; None before an alarm


@dataclass(frozen=True, eq=False)
class Draws:
    """Samples of the posterior."""

    images: Float[Tensor, "k *image"]
    guess: Float[Tensor, "*image"]  # the best estimate; the mean unless the method has a better one
    carry: Mapping[str, Tensor] = field(default_factory=dict)  # what the posterior is handed back next time
    moves: Float[Tensor, " m"] | None = None  # of samples taken up again, see `posterior.moves`


@dataclass(frozen=True, eq=False)
class Forecast:
    """What the samples predict for each candidate design."""

    draws: Inexact[Tensor, "k n *block"]
    guess: Inexact[Tensor, "n *block"]
    noise: Noise | None = None  # of the measurements to come, where it is known
    images: Float[Tensor, "k *image"] | None = None  # the samples themselves
    operator: Operator | None = None  # of all designs
    designs: Int[Tensor, " n"] | None = None  # the candidates' numbers in it

    @staticmethod
    def of(operator: Operator, draws: Draws, noise: Noise | None = None) -> "Forecast":
        """For every design of an operator."""
        seen = operator.forward(torch.cat([draws.images, draws.guess[None]]))
        designs = torch.arange(len(operator), device=seen.device)
        return Forecast(seen[:-1], seen[-1], noise, draws.images, operator, designs)

    def __getitem__(self, index: Int[Tensor, " m"]) -> "Forecast":
        """The same forecast for fewer designs, by their place in this one."""
        designs = None if self.designs is None else self.designs[index.to(self.designs.device)]
        return replace(self, draws=self.draws[:, index], guess=self.guess[index], designs=designs)

    def turned(self, turn: Float[Tensor, "k k"]) -> "Forecast":
        """The same with other samples: their differences from the mean are mixed by a matrix."""
        images = None if self.images is None else _turned(self.images, turn)
        return replace(self, draws=_turned(self.draws, turn), images=images)


def _turned(samples: Inexact[Tensor, "k *any"], turn: Tensor) -> Inexact[Tensor, "k *any"]:
    mean = samples.mean(0)
    return mean + torch.tensordot(turn.to(samples), samples - mean, 1)


@dataclass(frozen=True, eq=False)
class Decision:
    """A chosen design, and the score of every design of the operator (NaN where none was made)."""

    design: int
    scores: Float[Tensor, " n"] | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One measurement taken, and the next one decided.

    Its `draws` stay those of this moment, also when the scan has gone on.
    """

    count: int  # measurements taken so far
    design: int
    setting: float | list[float]  # radians or row
    seconds: float  # from this measurement to the next design; 0 after the last one
    next: Decision | None
    draw: Callable[[], Draws] = field(repr=False)

    @property
    def draws(self) -> Draws:
        """Posterior samples given everything measured so far, drawn when first asked for."""
        return self.draw()
