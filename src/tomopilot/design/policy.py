"""Policies: who decides what is measured next."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.ensemble import check_positive, conditioned
from tomopilot.design.lines import SAME, in_turn, lines
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.randomness import stream
from tomopilot.records import Data, Decision, Draws, Forecast, Told

OLDEST = 32  # measurements, after which samples to choose by are drawn anew


@dataclass(frozen=True)
class Choice:
    """What a policy may look at."""

    operator: Operator
    free: tuple[int, ...]  # designs neither measured nor asked for, ascending
    taken: int  # designs measured or asked for
    draw: Callable[[], Draws]  # posterior samples; costs time, so only who needs them calls it
    told: tuple[Told, ...] = ()  # the measurements so far
    noise: Noise | None = None  # of the measurement to come, where it is known
    data: Data | None = None  # what was measured
    pending: tuple[int, ...] = ()  # asked for, not told, in the order asked
    past: Callable[[int], tuple[Draws, int]] | None = None  # samples by a count of measurements, and theirs

    @property
    def travel(self) -> Float[Tensor, " n"]:
        """Degrees to each design from where the stage is, or was last sent, the shorter way round."""
        if self.operator.kind.period is None:
            raise ValueError(f"no stage turns from one {self.operator.kind.noun} to another; leave move out")
        settings = self.operator.settings.double().cpu()
        if not self.told and not self.pending:
            return torch.zeros_like(settings)
        stage = settings[self.pending[-1]] if self.pending else torch.tensor(self.told[-1].setting)
        apart = (settings - stage) % (2 * math.pi)
        return torch.minimum(apart, 2 * math.pi - apart).rad2deg()

    def drawn_by(self, count: int) -> tuple[Draws, list[int]]:
        """Samples of when `count` designs were taken, and the designs taken since; at most `OLDEST` ago."""
        draws, told = self.past(count) if self.past else (self.draw(), len(self.told))
        return draws, [*(one.design for one in self.told[told:]), *self.pending]


@runtime_checkable
class Policy(Protocol):
    """Who decides what is measured next."""

    def choose(self, choice: Choice) -> Decision: ...


@dataclass(frozen=True)
class InOrder:
    """A fixed order of designs, decided before the scan."""

    order: Sequence[int]

    def choose(self, choice: Choice) -> Decision:
        free = set(choice.free)
        for design in self.order:
            if design in free:
                return Decision(design)
        raise ValueError(
            f"the order of {len(self.order)} designs is used up, and {len(free)} others are free"
        )


@dataclass(frozen=True)
class Greedy:
    """The free design of highest score (paper, Algorithm 1), after `start` measurements by `opening`.

    With a `batch` above 1, samples are drawn for every so many designs: after the first one, the spread that
    those taken since would leave is scored. So are designs that were asked for and not told yet, whatever the
    batch. The designs of a batch are the same however they are asked and told.

    With a `move`, the score of a design is divided by its cost: one exposure, and so many more for each
    degree that the stage has to turn from where it is.
    """

    score: Callable[[Forecast], Float[Tensor, " n"]]
    opening: Policy
    start: int = 1
    batch: int = 1
    move: float = 0.0

    def __post_init__(self) -> None:
        if self.move != 0:
            check_positive("move", self.move, "0, or what a degree of motion costs in exposures, as 0.02")
        if type(self.batch) is not int or not 1 <= self.batch <= OLDEST:
            raise ValueError(
                f"batch is {self.batch!r}; expected how many designs are chosen by the same samples, a whole "
                f"number from 1 to {OLDEST}"
            )

    def choose(self, choice: Choice) -> Decision:
        if choice.taken < self.start:
            return self.opening.choose(choice)
        draws, since = choice.drawn_by(choice.taken - (choice.taken - self.start) % self.batch)
        if len(draws.images) < 2:
            raise ValueError(
                f"{_name(self.score)} compares samples, but the posterior gave {len(draws.images)} image; "
                "ask for at least 2 samples, or use a fixed order such as uniform"
            )
        index = torch.tensor(choice.free)
        scores = torch.full((len(choice.operator),), torch.nan)
        with torch.no_grad():
            # of all designs: cheaper than an operator of the free ones, which change
            forecast = conditioned(Forecast.of(choice.operator, draws, choice.noise), since)
            gains = self.score(forecast[index]).float().cpu()
        if self.move:
            gains = gains / (1 + self.move * choice.travel[index]).float()
        scores[index] = gains
        if not bool(scores[index].isfinite().all()):
            raise FloatingPointError(
                f"{_name(self.score)} gives scores that are NaN or infinite; are the posterior samples?"
            )
        return Decision(choice.free[int(scores[index].argmax())], scores)


def _name(score: Callable[[Forecast], Tensor]) -> str:
    return getattr(score, "__name__", type(score).__name__)


def bisect_order(n: int) -> list[int]:
    """Designs so that each new one halves a widest gap, within one design: the paper's uniform order.

    >>> bisect_order(8)
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    order: dict[int, None] = {}
    for step in count():
        if len(order) == n:
            return list(order)
        order.setdefault(int(n * _halved(step)))
    raise AssertionError("unreachable")


def _halved(step: int) -> Fraction:
    """0, 1/2, 1/4, 3/4, 1/8, 5/8 ...: each halves a widest gap (van der Corput 1935)."""
    return Fraction(int(f"{step:b}"[::-1], 2), 1 << step.bit_length())


def uniform_order(operator: Operator) -> list[int]:
    """`bisect_order`; where settings are angles, by the angles between the lines that can be seen.

    Each new line halves a widest gap, whatever the spacing of the candidates, and missing wedges are passed
    over. Opposite angles see the same lines, so the second of each pair comes after all of the first.
    """
    if operator.kind.period is None:
        return bisect_order(len(operator))
    places, designs = lines(operator)
    count = len(places)
    steps = range(2 ** (count.bit_length() + 1))
    halves = torch.tensor([float(_halved(step)) for step in steps], dtype=torch.float64)
    found = (torch.searchsorted(places, halves + SAME, right=True) - 1).tolist()
    order = list(dict.fromkeys(found))
    rest = sorted(set(range(count)) - set(order))  # closer together than all those halves
    return in_turn(designs[i] for i in (*order, *(rest[i] for i in bisect_order(len(rest)))))


def centre_order(n: int) -> list[int]:
    """Rows of k-space from the centre outwards, both sides in turn: the paper's low-to-high (App. B).

    >>> centre_order(6)
    [3, 2, 4, 1, 5, 0]
    """
    return sorted(range(n), key=lambda row: (abs(row - n // 2), row))


def equispaced_order(n: int, count: int) -> list[int]:
    """`count` equispaced rows from the centre outwards, then the others: the paper's uniform (App. B).

    >>> equispaced_order(8, 4)
    [4, 2, 6, 0, 3, 5, 1, 7]
    """
    count = max(1, min(n, count))
    pool = {n // 2 + int((i - count // 2) * n / count) for i in range(count)}
    return sorted(range(n), key=lambda row: (row not in pool, abs(row - n // 2), row))


def centred_bisection(n: int) -> list[int]:
    """Rows so that the first is the centre and each new one halves a widest gap, around the edge too.

    >>> centred_bisection(8)
    [4, 0, 6, 2, 5, 1, 7, 3]
    """
    return [(row + n // 2) % n for row in bisect_order(n)]


def random_order(n: int, seed: int) -> list[int]:
    """A random order, derived from the seed."""
    return torch.randperm(n, generator=stream(seed, "order")).tolist()
