"""When the alarm rings: on scans it was fitted for (it should not) and on foreign ones (soon)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, median, stdev
from typing import Any, ClassVar

from tomopilot.bench.charts import alarms
from tomopilot.bench.study import Judge, Plan, Row, scans
from tomopilot.design.stopping import budget
from tomopilot.design.trust import Alarm
from tomopilot.experiment import run

QUIET = 0.95  # share of the scans it was fitted on that an alarm leaves quiet ...
RESERVE = 1.25  # ... with this factor between their highest sum and the threshold


def fit(scanned: Sequence[Sequence[float | None]]) -> Alarm:
    """The alarm that nearly all of these scans' surprises leave quiet.

    Its drift is one standard deviation above their mean logarithm, its threshold a quarter above the highest
    cumulative sum of a share `QUIET` of them: one odd scan does not make it deaf.
    """
    logs = [math.log(value) for surprises in scanned for value in surprises if value]
    if len(logs) < 2:
        raise ValueError(f"an alarm cannot be fitted to {len(logs)} predicted measurements; scan longer")
    drift = mean(logs) + stdev(logs)
    quiet = Alarm(drift, math.inf)
    peaks = sorted(quiet.peak(surprises) for surprises in scanned)
    return Alarm(drift, RESERVE * peaks[math.ceil(QUIET * len(peaks)) - 1])


@dataclass(frozen=True)
class Alarms:
    """Adaptive scans of known kinds of images and of `foreign` ones; nothing is estimated."""

    plan: Plan
    foreign: tuple[str, ...] = ()
    columns: ClassVar[tuple[str, ...]] = (
        "image", "prior", "posterior", "seed", "foreign", "measurements", "alarm", "delay", "peak", "surprise"
    )  # fmt: skip

    def __post_init__(self) -> None:
        if len(self.plan.methods) > 1:
            raise ValueError(
                f"an alarm belongs to one prior and posterior, but {len(self.plan.methods)} were named; "
                "study one at a time"
            )

    def __len__(self) -> int:
        return len(scans(self._everything))

    @property
    def _everything(self) -> Plan:
        return replace(self.plan, images=(*self.plan.images, *self.foreign))

    def rows(self) -> Iterator[Row]:
        for scan in scans(self._everything):
            judge = Judge(self.plan, scan)
            for _ in run(judge.experiment, judge.instrument, until=budget(self.plan.budget)):
                pass
            surprises = judge.experiment.surprises
            predicted = [value for value in surprises if value]
            at = judge.alarm(surprises) if judge.alarm else None
            drift = judge.alarm.drift if judge.alarm else 0.0
            yield {
                "image": self._everything.label(scan.image), **asdict(scan.method), "seed": self.plan.seed,
                "foreign": scan.image in self.foreign, "measurements": len(surprises), "alarm": at,
                "delay": at and sum(value is not None for value in surprises[:at]),
                "peak": Alarm(drift, math.inf).peak(surprises),
                "surprise": math.exp(mean(map(math.log, predicted))) if predicted else None,
                "surprises": surprises,
            }  # fmt: skip

    def line(self, row: Row) -> str:
        rung = "quiet" if row["alarm"] is None else f"alarm at {row['alarm']}"
        return f"{row['image']} {row['posterior']}: {rung}, mean surprise {row['surprise'] or math.nan:.2f}"

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        kinds = {}
        for kind, foreign in (("known", False), ("foreign", True)):
            own = [row for row in rows if row["foreign"] == foreign]
            delays = [row["delay"] for row in own if row["alarm"]]
            kinds[kind] = {
                "scans": len(own),
                "alarms": len(delays),
                "median_delay": median(delays) if delays else None,  # predicted measurements until the alarm
                "highest_peak": max((row["peak"] for row in own), default=None),
            }
        known = [row["surprises"] for row in rows if not row["foreign"]]
        enough = sum(value is not None for surprises in known for value in surprises) > 1
        surprises = {row["image"]: row["surprises"] for row in rows}
        fitted = {"alarm": {self.plan.methods[0].chooser: asdict(fit(known))}} if enough else {}
        return {**kinds, "fitted": fitted, "surprises": surprises}

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed: the known and the foreign scans."""
        return [{"scans of": kind, **findings[kind]} for kind in ("known", "foreign")]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        own = {name: [v or math.nan for v in values] for name, values in findings["surprises"].items()}
        foreign = {self._everything.label(spec) for spec in self.foreign}
        return {"surprises.png": alarms(own, foreign)}
