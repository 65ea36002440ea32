"""The lines that angles see: from opposite angles the same ones, so they repeat after half a turn."""

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.measure.angles import widest
from tomopilot.measure.operator import Operator

SAME = 1e-5  # radians, within which lines are one


def between(angles: Tensor, angle: Tensor | float) -> Tensor:
    """Radians between directions, which repeat after half a turn."""
    apart = (angles - angle) % math.pi
    return torch.minimum(apart, math.pi - apart)


class Lines(NamedTuple):
    """The directions in which an operator can see lines."""

    places: Float[Tensor, " lines"]  # on the part of the half turn that can be reached, from 0 to below 1
    designs: list[list[int]]  # that see each of them


def lines(operator: Operator) -> Lines:
    """Directions in ascending order; missing wedges take no more room between them than a usual gap."""
    turn, order = (operator.settings.double().cpu() + SAME).remainder(math.pi).sort()
    first = turn.diff(prepend=turn[:1] - 1) > SAME
    designs: list[list[int]] = [[] for _ in range(int(first.sum()))]
    for line, design in zip((first.cumsum(0) - 1).tolist(), order.tolist(), strict=True):
        designs[line].append(design)
    gaps = turn[first].diff(append=turn[:1] + math.pi)
    room = gaps.clamp(max=widest(gaps))
    return Lines((room.cumsum(0) - room) / room.sum(), [sorted(views) for views in designs])


def in_turn(views: Iterable[Sequence[int]]) -> list[int]:
    """One design that sees each line, then a second one, and so on.

    >>> in_turn([[0, 4], [2, 6], [1]])
    [0, 2, 1, 4, 6]
    """
    return [design for again in zip_longest(*views) for design in again if design is not None]
