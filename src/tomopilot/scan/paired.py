"""Methods against each other on the same images, so that the difficulty of an image cancels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from tomopilot.scan.summary import TARGET, mean_and_two_se, reaches

Named = Mapping[str, Any]  # a row, or a method of a summary: both say posterior, policy and prior


class Difference(NamedTuple):
    """Mean over pairs of scans, two standard errors (None of a single pair), and how many pairs."""

    mean: float
    two_se: float | None
    n: int


def differences(
    rows: Iterable[Named], first: Named, second: Named, metric: str = "psnr"
) -> dict[int, Difference]:
    """The first method minus the second on the same images and seeds, by number of measurements."""
    ours, others = {}, {}
    for row in rows:
        for method, judged in ((first, ours), (second, others)):
            if names(row) == names(method) and row[metric] not in (None, ""):
                judged[int(row["count"]), row["image"], row["seed"]] = float(row[metric])
    apart: dict[int, list[float]] = {}
    for key in sorted(ours.keys() & others.keys()):
        apart.setdefault(key[0], []).append(ours[key] - others[key])
    return {count: Difference(*mean_and_two_se(values), len(values)) for count, values in apart.items()}


def contrasts(methods: Sequence[Named]) -> Iterator[tuple[Named, Named]]:
    """The differences worth a look, of the methods of a summary.

    Of each posterior, adaptive minus fixed policies; of each policy, the first posterior minus the others.
    """
    for first, second in product(methods, methods):
        if estimator(first) == estimator(second) and first["adaptive"] and not second["adaptive"]:
            yield first, second
    for first, second in product(methods, methods):
        if first["policy"] == second["policy"] and estimator(first) == estimator(methods[0]) != estimator(
            second
        ):
            yield first, second


class Saving(NamedTuple):
    """Measurements after which two methods have a PSNR on average; None of one that never does."""

    target: float  # dB
    first: float | None
    second: float | None

    @property
    def saved(self) -> float | None:
        """The share of the second method's dose that the first saves."""
        return 1 - self.first / self.second if self.first and self.second else None


def saving(first: Named, second: Named) -> Saving | None:
    """Measurements to 30 dB, where both methods pass it between two counts that were judged.

    Elsewhere to what the second method has at its last judged count; None where it was never judged.
    """
    ours, theirs = first["curve"], second["curve"]
    if not ours or not theirs:
        return None
    counts = [(reaches(curve, TARGET), int(next(iter(curve)))) for curve in (ours, theirs)]
    passed = all(count is not None and count > earliest for count, earliest in counts)
    target = TARGET if passed else [*theirs.values()][-1]["psnr_mean"]
    return Saving(target, reaches(ours, target), reaches(theirs, target))


def findings(methods: Sequence[Named], rows: Sequence[Named]) -> list[dict[str, Any]]:
    """Each contrast as a summary has it: what the first method saves, and by how much it is better."""
    found = []
    for first, second in contrasts(methods):
        if (known := saving(first, second)) is None:
            continue
        apart = differences(rows, first, second)
        found.append(
            {
                **{place: said(method) for place, method in (("first", first), ("second", second))},
                "target_db": known.target,
                "measurements": [known.first, known.second],
                "saved": known.saved,
                "difference_db": {str(count): [*difference] for count, difference in apart.items()},
            }
        )
    return found


def said(method: Named) -> dict[str, Any]:
    return {key: method.get(key) for key in ("posterior", "policy", "prior")}


def estimator(method: Named) -> tuple[str, str | None]:
    return method["posterior"], method.get("prior") or None


def names(method: Named) -> tuple[str, str, str | None]:
    """What tells methods apart; `results.csv` writes no prior as nothing."""
    return method["posterior"], method["policy"], method.get("prior") or None
