"""Stopping rules: functions of an experiment that say when it is enough."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from tomopilot.design.trust import expected_rmse, logarithm
from tomopilot.records import Draws, Told

PREDICTED = 3  # measurements, before samples are believed
UNKNOWN = 4.0  # surprise of measurements, above which the prior does not hold; 0.3 to 3.7 where it does


@runtime_checkable
class Scanned(Protocol):
    """What a rule may look at."""

    @property
    def count_told(self) -> int: ...

    @property
    def told(self) -> Sequence[Told]: ...

    @property
    def raised(self) -> object: ...

    def choosing(self) -> Draws: ...


Rule = Callable[[Scanned], bool]


def budget(measurements: int) -> Rule:
    """Stop after this many measurements."""
    if measurements < 1:
        raise ValueError(f"a budget of {measurements} measurements; expected at least 1")
    return lambda experiment: experiment.count_told >= measurements


def certain(
    rmse: float, margin: float = 1.0, picture: Callable[[Tensor], Tensor] = lambda images: images
) -> Rule:
    """Stop once the estimate is expected to be within `rmse` (image units) of the truth.

    Images are judged as `picture` shows them, complex ones for example by magnitude. The expected error is
    `margin` times the `expected_rmse` of the samples by which the next design is chosen; the margin comes
    from scans of known images. Samples are believed once they have predicted `PREDICTED` measurements,
    the latest of them with a surprise of at most `UNKNOWN` in the (geometric) mean, and until an alarm.
    """
    for name, value in (("error", rmse), ("margin", margin)):
        if not 0 < value < math.inf:
            raise ValueError(f"certain was given the {name} {value}; expected a finite number above 0")

    def enough(experiment: Scanned) -> bool:
        if not experiment.count_told or experiment.raised:
            return False
        expected = expected_rmse(picture(experiment.choosing().images))
        if expected is None:
            raise ValueError("a single sample has no spread to judge certainty by; use a count of at least 2")
        return margin * expected <= rmse and _right(experiment.told)

    return enough


def _right(told: Sequence[Told]) -> bool:
    """Whether the latest measurements were as the samples had predicted."""
    latest = [one.surprise for one in told if one.surprise is not None][-PREDICTED:]
    logs = [logarithm(value) for value in latest]
    return len(logs) == PREDICTED and sum(logs) / PREDICTED <= math.log(UNKNOWN)


def either(*rules: Rule) -> Rule:
    """Stop as soon as one of the rules says so; a later one is only asked where the earlier ones go on."""
    return lambda experiment: any(rule(experiment) for rule in rules)
