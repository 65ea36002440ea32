"""Methods against each other on the same images, so that the difficulty of an image cancels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from tomopilot.scan.summary import mean_and_two_se

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


def estimator(method: Named) -> tuple[str, str | None]:
    return method["posterior"], method.get("prior") or None


def names(method: Named) -> tuple[str, str, str | None]:
    """What tells methods apart; `results.csv` writes no prior as nothing."""
    return method["posterior"], method["policy"], method.get("prior") or None
