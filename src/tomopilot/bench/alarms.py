"""When the alarm rings: on scans it was fitted for (it should not) and on foreign ones (soon)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import mean, median, stdev
from typing import Any, ClassVar

import torch

from tomopilot.design.stopping import budget
from tomopilot.design.trust import Alarm, Strangeness, Watch
from tomopilot.experiment import run
from tomopilot.report.charts import alarms
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import virtual

QUIET = 0.95  # share of the scans it was fitted on that an alarm leaves quiet ...
RESERVE = 1.25  # ... with this factor between their highest sum and the threshold
FEWEST = 4  # times as many warm draws as a draw has moves, to fit a Gaussian to them

Moves = Sequence[float] | None


def fit(scanned: Sequence[Sequence[float | None]]) -> Alarm:
    """The alarm that nearly all of these scans' surprises, or strangeness, leave quiet.

    Its drift is one standard deviation above their mean logarithm, its threshold a quarter above the highest
    cumulative sum of a share `QUIET` of them: one odd scan does not make it deaf.
    """
    logs = [math.log(value) for surprises in scanned for value in surprises if value]
    if len(logs) < 2:
        raise ValueError(f"{len(logs)} predicted measurements are too few to fit an alarm; scan longer")
    drift = mean(logs) + stdev(logs)
    quiet = Alarm(drift, math.inf)
    peaks = sorted(quiet.peak(surprises) for surprises in scanned)
    return Alarm(drift, RESERVE * peaks[math.ceil(QUIET * len(peaks)) - 1])


def fit_strangeness(scanned: Sequence[Sequence[Moves]]) -> Strangeness | None:
    """Mean and inverse covariance of the moves of all these scans' samples; None where they are too few."""
    known = torch.tensor([move for moves in scanned for move in moves if move], dtype=torch.float64)
    if known.ndim < 2 or len(known) < FEWEST * known.shape[1]:
        return None
    return Strangeness(known.mean(0).tolist(), torch.linalg.pinv(known.T.cov(), hermitian=True).tolist())


def fit_all(
    surprises: Sequence[Sequence[float | None]], moves: Sequence[Sequence[Moves]]
) -> dict[str, dict[str, Any]]:
    """What goes into a card for both alarms, by kind; an alarm with too few scans is left out."""
    fitted = {}
    if sum(value is not None for scan in surprises for value in scan) > 1:
        fitted["alarm"] = asdict(fit(surprises))
    if strange := fit_strangeness(moves):
        seen = [[strange(move) for move in scan] for scan in moves]
        fitted["strangeness"] = asdict(strange) | asdict(fit(seen))
    return fitted


def highest(alarm: Alarm | None, values: Sequence[float | None]) -> float:
    """The highest sum, also beyond the threshold; without an alarm, of the logarithms themselves."""
    return Alarm(alarm.drift if alarm else 0.0, math.inf).peak(values)


@dataclass(frozen=True)
class Alarms:
    """Adaptive scans of known kinds of images and of `foreign` ones; nothing is estimated."""

    plan: Plan
    foreign: tuple[str, ...] = ()
    columns: ClassVar[tuple[str, ...]] = (
        "image", "prior", "posterior", "seed", "foreign", "measurements", "alarm", "alarm_by", "delay",
        "peak", "strangeness_peak", "surprise",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if len(self.plan.methods) > 1:
            raise ValueError(
                f"an alarm is fitted for one prior and posterior, but {len(self.plan.methods)} were given; "
                "study one at a time"
            )

    def __len__(self) -> int:
        return len(self._everything.scans)

    @property
    def _everything(self) -> Plan:
        return replace(self.plan, images=(*self.plan.images, *self.foreign))

    def parts(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {scan.key: partial(self._scanned, scan) for scan in self._everything.scans}

    def _scanned(self, scan: Scan) -> Iterator[Row]:
        cell = virtual(self.plan, scan)
        experiment, watch = cell.parts.experiment, cell.parts.alarm or Watch()
        for _ in run(experiment, cell.instrument, until=budget(self.plan.budget)):
            pass
        surprises, moves = experiment.surprises, [told.moves for told in experiment.told]
        predicted = [value for value in surprises if value]
        at, by = cell.judge.raised() or (None, None)
        strangeness = watch.seen(experiment.told)
        yield {
            "image": self._everything.label(scan.image), **asdict(scan.method), "seed": self.plan.seed,
            "foreign": scan.image in self.foreign, "measurements": len(surprises), "alarm": at,
            "alarm_by": by,
            "delay": at and sum(value is not None for value in surprises[:at]),
            "peak": highest(watch.surprise, surprises),
            "strangeness_peak": highest(watch.strangeness, strangeness),
            "surprise": math.exp(mean(map(math.log, predicted))) if predicted else None,
            "surprises": surprises, "strangeness": strangeness, "moves": moves,
        }  # fmt: skip

    def line(self, row: Row) -> str:
        rung = f"alarm at {row['alarm']} by {row['alarm_by']}" if row["alarm"] else "quiet"
        return f"{row['image']} {row['posterior']}: {rung}, mean surprise {row['surprise'] or math.nan:.2f}"

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        kinds = {}
        for kind, foreign in (("known", False), ("foreign", True)):
            own = [row for row in rows if row["foreign"] == foreign]
            delays = [row["delay"] for row in own if row["alarm"]]
            kinds[kind] = {
                "scans": len(own),
                "alarms": len(delays),
                "by_strangeness": sum(row["alarm_by"] == "strangeness" for row in own),
                "median_delay": median(delays) if delays else None,  # predicted measurements until the alarm
                "highest_peak": max((row["peak"] for row in own), default=None),
                "highest_strangeness_peak": max((row["strangeness_peak"] for row in own), default=None),
            }
        known = [row for row in rows if not row["foreign"]]
        fitted = fit_all([row["surprises"] for row in known], [row["moves"] for row in known])
        if "strangeness" in fitted:
            fitted["strangeness"] |= {"noise": self.plan.noise, "until": self.plan.budget}
        chooser = self.plan.methods[0].chooser
        series = {key: {row["image"]: row[key] for row in rows} for key in ("surprises", "strangeness")}
        return {**kinds, "fitted": {kind: {chooser: values} for kind, values in fitted.items()}, **series}

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed: the known and the foreign scans."""
        return [{"scans of": kind, **findings[kind]} for kind in ("known", "foreign")]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        foreign = {self._everything.label(spec) for spec in self.foreign}
        labels = {"surprises": "squared error over expected", "strangeness": "squared distance over expected"}
        return {f"{key}.png": alarms(findings[key], foreign, label) for key, label in labels.items()}
