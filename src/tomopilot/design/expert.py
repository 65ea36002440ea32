"""What an experienced operator would measure next, without samples: where projections are sharpest."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.design.ensemble import check_positive
from tomopilot.design.lines import between
from tomopilot.design.policy import Choice, Policy
from tomopilot.measure.kind import PROJECTION
from tomopilot.measure.operator import Operator
from tomopilot.records import Data, Decision

APART = math.radians(30)  # two directions of an object are at least this far apart


@dataclass(frozen=True)
class Expert:
    """Fans of angles about the two directions in which the projections so far are sharpest.

    After `start` angles by `opening`, the two directions take turns. The next angle is the one nearest to
    the direction that keeps `step` radians from all that were taken; where none does, half of it, and so on.
    An edge along the rays leaves a sharp step in its projection, all others leave slopes.
    """

    opening: Policy
    start: int = 4
    step: float = math.radians(4)

    def __post_init__(self) -> None:
        check_positive("step", self.step, "radians between neighbouring angles, such as 0.07")

    def choose(self, choice: Choice) -> Decision:
        if choice.taken < max(2, self.start) or not choice.data:
            return self.opening.choose(choice)
        directions = strongest(*sharpness(choice.data))
        direction = directions[choice.taken % len(directions)]
        return Decision(_nearest(choice.operator, choice.free, direction, self.step))


def sharpness(data: Data) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Measured angles (radians), and the mean squared step between neighbouring bins of each projection.

    Steps to a bin of precision 0 do not count.
    """
    sharp = []
    projections = [part for part in data.observations if part.family.kind.name == PROJECTION.name]
    for part in projections:
        used = part.precision > 0
        pairs = used[..., 1:] & used[..., :-1]
        steps = (pairs * part.known.diff().square()).flatten(1).sum(1)
        sharp.append(steps / pairs.flatten(1).sum(1).clamp(min=1))
    return torch.cat([part.settings for part in projections]), torch.cat(sharp)


def strongest(angles: Float[Tensor, " m"], sharp: Float[Tensor, " m"]) -> list[float]:
    """The angle of the sharpest projection, then of the sharpest one far enough from it."""
    first = int(sharp.argmax())
    others = sharp.where(between(angles, angles[first]) >= APART, -1.0)
    second = int(others.argmax())
    return [angles[i].item() for i in ([first, second] if others[second] >= 0 else [first])]


def _nearest(operator: Operator, free: tuple[int, ...], direction: float, step: float) -> int:
    angles = operator.settings.double().cpu()
    taken = torch.ones(len(angles), dtype=torch.bool)
    taken[list(free)] = False
    gaps = between(angles[:, None], angles[taken]).amin(1)
    gaps[taken] = -1.0
    away = between(angles, direction)
    while not bool((allowed := gaps >= step - 1e-6).any()):
        step = step / 2 if step > 1e-5 else -0.5  # views of the same lines are left
    return int(away.where(allowed, math.inf).argmin())
