"""How far the samples can be trusted: the error they predict, surprise, strangeness, alarms."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from tomopilot.records import Told

WIDER = 1.5  # factor beyond the noise of a fit at which it still holds
OPENED = 4  # measurements that scans were opened with where cards' alarms were fitted
TOO_BAD = 2.0  # squared error over that without the prior, all since an alarm multiplied
WEIGHED = 3  # measurements after an alarm by which it is decided whether the prior is left
TINY = 1e-12  # what a mean square is at least, where its logarithm is taken


def surprise(
    predicted: Inexact[Tensor, "k *block"], values: Inexact[Tensor, "*block"], precision: Tensor
) -> float | None:
    """Squared error of the samples' mean prediction over the error predicted by spread and noise.

    About 1 where the prior holds. None for a single sample, whose spread is unknown, and where no value of
    the block is to be trusted (precision 0).
    """
    return mean_square(deviations(predicted, values, precision), precision)


def mean_square(apart: Inexact[Tensor, "*block"] | None, precision: Tensor) -> float | None:
    """The surprise of deviations: the mean of their squares, where the precision is above 0."""
    if apart is None or not bool((used := (precision > 0).expand(apart.shape)).any()):
        return None
    return apart[used].abs().square().mean().item()


def deviations(
    predicted: Inexact[Tensor, "k *block"], values: Inexact[Tensor, "*block"], precision: Tensor
) -> Inexact[Tensor, "*block"] | None:
    """How far each value is from the samples' mean prediction, over the error predicted by spread and noise.

    That error is averaged over the block, because the variance of a few samples is too uncertain a
    denominator for any single detector bin. 0 where the precision is 0. None where `surprise`, their mean
    square, is.
    """
    k, used = len(predicted), (precision > 0).expand(values.shape)
    if k < 2 or not bool(used.any()):
        return None
    expected = ((1 + 1 / k) * predicted.var(0) + 1 / precision)[used].mean()
    return ((values - predicted.mean(0)) / expected.sqrt()).masked_fill(~used, 0)


def worse(
    predicted: Inexact[Tensor, "k *block"],
    alone: Inexact[Tensor, "*block"],
    values: Inexact[Tensor, "*block"],
    precision: Tensor,
) -> float | None:
    """Squared error of the samples' mean prediction over that of a prediction without the prior.

    Above 1 where the prior does harm. None where no value of the block is to be trusted.
    """
    by_prior, by_none = (
        mean_square((values - guess) * precision.sqrt(), precision) for guess in (predicted.mean(0), alone)
    )
    return by_prior / max(by_none, TINY) if by_prior is not None and by_none is not None else None


def logarithm(ratio: float) -> float:
    """Of a ratio of mean squares; infinite where it is no number, as of samples that are none."""
    return math.inf if math.isnan(ratio) else math.log(max(ratio, TINY))


def expected_rmse(images: Float[Tensor, "k *image"]) -> float | None:
    """Root mean squared error that the spread of k samples predicts of their mean, in image units.

    sqrt((1 + 1/k) mean variance): truth and samples are alike, and the mean of k wavers too. None for a
    single sample, whose spread is unknown.
    """
    k = len(images)
    return math.sqrt((1 + 1 / k) * images.var(0).mean().item()) if k > 1 else None


def relative_noise(values: Inexact[Tensor, "*block"], precision: Tensor) -> float | None:
    """One over the root mean square of a value over its noise; None where no value says anything."""
    used = (precision > 0).expand(values.shape)
    ratios = (values.abs().square() * precision)[used]
    return ratios.mean().rsqrt().item() if bool((ratios > 0).any()) else None


@dataclass(frozen=True)
class Strangeness:
    """How unlike those of known scans the moves of samples are: squared Mahalanobis distance per number.

    About 1 for images like those it was fitted on. The distance from a Gaussian of denoising residuals is the
    test of Mahmood, Oliva and Styner 2021; `posterior.moves` says what the numbers are. Moves shrink as an
    image is resolved and depend on the noise: their mean is linear in the logarithms of both.

    mean: of each move, at the first measurement and a relative noise of 1
    slopes: of each move, by the logarithms of the number of measurements and of the relative noise
    precision: inverse covariance of the moves about that
    noise: least and highest relative noise that it was fitted for
    until: measurements that it was fitted for
    """

    mean: Sequence[float]
    slopes: Sequence[Sequence[float]]
    precision: Sequence[Sequence[float]]
    noise: tuple[float, float]
    until: int

    def __call__(self, moves: Sequence[float] | None, number: int, noise: float | None) -> float | None:
        """Of the samples that the `number`-th measurement was chosen by; None where that is not known."""
        if moves is None or not self.knows(number, noise):
            return None
        if len(moves) != len(self.mean):
            raise ValueError(
                f"samples came with {len(moves)} moves, but {len(self.mean)} are known; "
                "was this fitted for another posterior?"
            )
        assert noise is not None
        mean, slopes, precision = map(_double, (self.mean, self.slopes, self.precision))
        off = _double(moves) - mean - slopes @ _double([math.log(number), math.log(noise)])
        return (off @ precision @ off).item() / len(moves)

    def knows(self, number: int, noise: float | None) -> bool:
        """Whether it was fitted for such a measurement, or one that is little noisier or quieter."""
        lowest, highest = self.noise
        return number <= self.until and noise is not None and lowest / WIDER <= noise <= highest * WIDER


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
                total = max(0.0, total + logarithm(value) - self.drift)
            yield total

    def peak(self, surprises: Sequence[float | None]) -> float:
        """The highest sum."""
        return max(self.sums(surprises), default=0.0)


def left(told: Sequence[Told]) -> int | None:
    """The measurement, from 1, at which a scan that raised an alarm leaves the prior, or None.

    There the product of `worse` since the alarm is above `TOO_BAD`.
    """
    total = 0.0
    for count, one in enumerate(told, 1):
        if one.worse is not None:
            total += logarithm(one.worse)
            if total > math.log(TOO_BAD):
                return count
    return None


def decided(told: Sequence[Told]) -> bool:
    """Whether, after an alarm, the prior is left or has been weighed often enough."""
    return left(told) is not None or sum(one.worse is not None for one in told) >= WEIGHED


class Raised(NamedTuple):
    """An alarm: the measurement, from 1, that raised it, and by what."""

    at: int
    by: str  # surprise or strangeness


@dataclass(frozen=True)
class Watch:
    """The alarms of a scan, of which either may be missing: over its surprises, and over its strangeness.

    since: measurements before which nothing is judged: samples of fewer know little, much surprises them
    """

    surprise: Alarm | None = None
    strangeness: Alarm | None = None
    strange: Strangeness | None = None
    since: int = 0

    def __call__(self, told: Sequence[Told]) -> Raised | None:
        """The first alarm, or None."""
        surprises = [one.surprise if n > self.since else None for n, one in enumerate(told, 1)]
        heard = (("surprise", self.surprise, surprises), ("strangeness", self.strangeness, self.seen(told)))
        raised = [Raised(at, by) for by, alarm, values in heard if alarm and (at := alarm(values))]
        return min(raised, key=lambda alarm: alarm.at, default=None)

    def seen(self, told: Sequence[Told]) -> list[float | None]:
        """The strangeness of each measurement's samples."""
        strange, since = self.strange, self.since
        return [
            strange(one.moves, n, one.noise) if strange and n > since else None
            for n, one in enumerate(told, 1)
        ]


@dataclass(frozen=True)
class Trust:
    """What a prior's card says about how far its samples can be trusted, by name of the posterior.

    inflation: factors by number of measurements; margins: of the error that a pair of posteriors expects
    strangeness: with its alarm
    """

    inflation: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    strangeness: Mapping[str, tuple[Strangeness, Alarm]] = field(default_factory=dict)
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

    def watch(self, chooser: str, start: int = OPENED) -> Watch | None:
        """The alarms over a scan that chooses by these samples, once `start` measurements have opened it.

        None where none was fitted, or for scans that more measurements open: samples of fewer are strange.
        """
        if start < OPENED:
            return None
        alarm, (strange, strangeness) = self.alarms.get(chooser), self.strangeness.get(chooser, (None, None))
        return Watch(alarm, strangeness, strange, OPENED) if alarm or strange else None


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


def _known(values: Mapping[str, Any]) -> tuple[Strangeness, Alarm]:
    mean, slopes, precision = values["mean"], values["slopes"], values["precision"]
    lengths = {len(mean), len(slopes), len(precision), *map(len, precision)}
    if len(lengths) > 1 or any(len(row) != 2 for row in slopes):
        raise ValueError(f"slopes or a precision of other lengths than {len(mean)} moves")
    lowest, highest = map(_positive, values["noise"])
    strange = Strangeness(
        [*map(_finite, mean)], [[*map(_finite, row)] for row in slopes],
        [[*map(_finite, row)] for row in precision], (lowest, highest), int(_positive(values["until"])),
    )  # fmt: skip
    return strange, _alarm(values)


def _double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
