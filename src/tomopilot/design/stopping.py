"""Stopping rules: functions of an experiment that say when it is enough."""

from collections.abc import Callable
from typing import Protocol


class Counted(Protocol):
    @property
    def count_told(self) -> int: ...


def budget(measurements: int) -> Callable[[Counted], bool]:
    """Stop after this many measurements."""
    if measurements < 1:
        raise ValueError(f"a budget of {measurements} measurements; expected at least 1")
    return lambda experiment: experiment.count_told >= measurements
