"""How far the samples can be trusted: the error they predict, surprise, strangeness, alarms."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from tomopilot.records import Told


def surprise(
    predicted: Inexact[Tensor, "k *block"], values: Inexact[Tensor, "*block"], precision: Tensor
) -> float | None:
    """Squared error of the samples' mean prediction over the error predicted by spread and noise.

    About 1 where the prior holds. Both are averaged over the block first, because the variance of a few
    samples is too uncertain a denominator for any single detector bin. None for a single sample, whose
    spread is unknown, and where no value of the block is to be trusted (precision 0).
    """
    k, used = len(predicted), (precision > 0).expand(values.shape)
    if k < 2 or not bool(used.any()):
        return None
    error = (values - predicted.mean(0)).abs().square()
    expected = (1 + 1 / k) * predicted.var(0) + 1 / precision
    if bool(used.all()):
        return (error.mean() / expected.mean()).item()
    return (error[used].mean() / expected[used].mean()).item()


def expected_rmse(images: Float[Tensor, "k *image"]) -> float | None:
    """Root mean squared error that the spread of k samples predicts of their mean, in image units.

    sqrt((1 + 1/k) mean variance): truth and samples are alike, and the mean of k wavers too. None for a
    single sample, whose spread is unknown.
    """
    k = len(images)
    return math.sqrt((1 + 1 / k) * images.var(0).mean().item()) if k > 1 else None


@dataclass(frozen=True)
class Strangeness:
    """How unlike those of known scans the moves of samples are: squared Mahalanobis distance per number.

    About 1 for images like those it was fitted on. The distance from a Gaussian of denoising residuals is the
    test of Mahmood, Oliva and Styner 2021; `posterior.moves` says what the numbers are.
    """

    mean: Sequence[float]
    precision: Sequence[Sequence[float]]  # inverse covariance

    def __call__(self, moves: Sequence[float] | None) -> float | None:
        """None for samples of which no moves were noted."""
        if moves is None:
            return None
        if len(moves) != len(self.mean):
            raise ValueError(
                f"samples came with {len(moves)} moves, but {len(self.mean)} are known; "
                "was this fitted for another posterior?"
            )
        off = torch.tensor(moves, dtype=torch.float64) - torch.tensor(self.mean, dtype=torch.float64)
        return (off @ torch.tensor(self.precision, dtype=torch.float64) @ off).item() / len(moves)


@dataclass(frozen=True)
class Alarm:
    """Cumulative sum (Page 1954) of log surprises in excess of `drift`; rings above `threshold`.

    Takes strangeness as it takes surprises: both are about 1 where the prior holds.
    """

    drift: float
    threshold: float

    def __call__(self, surprises: Sequence[float | None]) -> int | None:
        """The measurement, from 1, at which the alarm was raised, or None."""
        sums = enumerate(self.sums(surprises), 1)
        return next((count for count, total in sums if total > self.threshold), None)

    def sums(self, surprises: Sequence[float | None]) -> Iterator[float]:
        """The cumulative sum after each measurement; one that was not predicted leaves it as it is.

        What is no number was predicted by samples that are none: it counts as infinitely surprising.
        """
        total = 0.0
        for value in surprises:
            if value is not None:
                excess = math.inf if math.isnan(value) else math.log(max(value, 1e-12)) - self.drift
                total = max(0.0, total + excess)
            yield total

    def peak(self, surprises: Sequence[float | None]) -> float:
        """The highest sum."""
        return max(self.sums(surprises), default=0.0)


class Raised(NamedTuple):
    """An alarm: the measurement, from 1, that raised it, and by what."""

    at: int
    by: str  # surprise or strangeness


@dataclass(frozen=True)
class Watch:
    """The alarms of a scan, of which either may be missing: over its surprises, and over its strangeness.

    since: measurements before which nothing is judged: samples of fewer know little, much surprises them
    until: measurements after which it is not known what is strange; moves shrink as an image is resolved
    """

    surprise: Alarm | None = None
    strangeness: Alarm | None = None
    strange: Strangeness | None = None
    since: int = 0
    until: int = sys.maxsize

    def __call__(self, told: Sequence[Told]) -> Raised | None:
        """The first alarm, or None."""
        surprises = [one.surprise if n > self.since else None for n, one in enumerate(told, 1)]
        heard = (("surprise", self.surprise, surprises), ("strangeness", self.strangeness, self.seen(told)))
        raised = [Raised(at, by) for by, alarm, values in heard if alarm and (at := alarm(values))]
        return min(raised, key=lambda alarm: alarm.at, default=None)

    def seen(self, told: Sequence[Told]) -> list[float | None]:
        """The strangeness of each measurement's samples."""
        strange, known = self.strange, range(self.since + 1, self.until + 1)
        return [strange(one.moves) if strange and n in known else None for n, one in enumerate(told, 1)]


@dataclass(frozen=True)
class Known:
    """Strangeness as a card holds it: of one noise, and for so many measurements."""

    strange: Strangeness
    alarm: Alarm
    noise: str
    until: int


@dataclass(frozen=True)
class Trust:
    """What a prior's card says about how far its samples can be trusted, by name of the posterior.

    inflation: factors by number of measurements; margins: of the error that a pair of posteriors expects
    """

    inflation: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    strangeness: Mapping[str, Known] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def from_card(card: Mapping[str, Any]) -> "Trust":
        """Raises ValueError where the card's `trust` is not what the studies write."""
        found = card.get("trust", {})
        try:
            return Trust(
                {name: _factors(values) for name, values in found.get("inflation", {}).items()},
                {name: _alarm(values) for name, values in found.get("alarm", {}).items()},
                {name: _known(values) for name, values in found.get("strangeness", {}).items()},
                {name: _positive(value) for name, value in found.get("margin", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"the card of prior {card.get('name')!r} has a `trust` that cannot be read "
                f"({type(error).__name__}: {error}); fit it again with `tomopilot bench ... --into`"
            ) from None

    def watch(self, chooser: str, noise: str, since: int = 0) -> Watch | None:
        """The alarms over a scan that chooses by these samples.

        Surprise allows for the noise; how far data move samples depends on it, so strangeness is for one.
        """
        alarm, known = self.alarms.get(chooser), self.strangeness.get(chooser)
        watch = Watch(alarm, since=since) if alarm else None
        if known is None or known.noise != noise:
            return watch
        watch = watch or Watch(since=since)
        return replace(watch, strangeness=known.alarm, strange=known.strange, until=known.until)


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _factors(values: Mapping[str, Any]) -> dict[int, float]:
    if not values:
        raise ValueError("no factors of inflation")
    return {int(_positive(int(count))): _positive(factor) for count, factor in values.items() if factor}


def _alarm(values: Mapping[str, Any]) -> Alarm:
    return Alarm(_finite(values["drift"]), _finite(values["threshold"]))


def _known(values: Mapping[str, Any]) -> Known:
    mean, precision = values["mean"], values["precision"]
    if len(precision) != len(mean) or any(len(row) != len(mean) for row in precision):
        raise ValueError(f"a precision of {len(precision)} rows for {len(mean)} moves")
    strange = Strangeness([*map(_finite, mean)], [[*map(_finite, row)] for row in precision])
    return Known(strange, _alarm(values), str(values["noise"]), int(_positive(values["until"])))
