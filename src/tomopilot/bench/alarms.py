"""When the alarm rings: on scans it was fitted for (it should not) and on foreign ones (soon)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle
from statistics import mean, median, stdev
from typing import Any, ClassVar

import torch

from tomopilot.design.stopping import budget
from tomopilot.design.trust import Alarm, Raised, Strangeness, Trust, Watch
from tomopilot.experiment import run
from tomopilot.records import Told
from tomopilot.report.charts import alarms
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import virtual

QUIET = 0.95  # share of the scans it was fitted on that an alarm leaves quiet
PASSING, LASTING = 1.0, 2.5  # standard deviations: surprises vary, an image stays as strange as it is
LEAST = 2.0  # threshold of surprises: the highest sum of few scans says little of the next one's
FEWEST = 4  # times as many warm draws as a draw has moves, to fit a Gaussian to them
NARROW = 0.2  # standard deviation of the logarithm of noise below which it counts as one noise


def fit(scanned: Sequence[Sequence[float | None]], above: float = PASSING, least: float = 0.0) -> Alarm:
    """The alarm that nearly all of these scans' surprises, or strangeness, leave quiet.

    Its drift is `above` standard deviations above their mean logarithm, its threshold the highest cumulative
    sum of a share `QUIET` of them, or `least`: one odd scan does not make it deaf.
    """
    logs = [math.log(value) for surprises in scanned for value in surprises if value]
    if len(logs) < 2:
        raise ValueError(f"{len(logs)} predicted measurements are too few to fit an alarm; scan longer")
    drift = mean(logs) + above * stdev(logs)
    quiet = Alarm(drift, math.inf)
    peaks = sorted(quiet.peak(surprises) for surprises in scanned)
    return Alarm(drift, max(least, peaks[math.ceil(QUIET * len(peaks)) - 1]))


def fit_strangeness(scanned: Sequence[Sequence[Told]]) -> Strangeness | None:
    """By least squares over the samples of all these scans; None where they are too few."""
    known = [(n, one) for told in scanned for n, one in enumerate(told, 1) if one.moves and one.noise]
    if not known or len(known) < FEWEST * len(known[0][1].moves or ()):
        return None
    moves = torch.tensor([one.moves for _, one in known], dtype=torch.float64)
    noises = [one.noise or 0.0 for _, one in known]
    given = torch.tensor([[n for n, _ in known], noises], dtype=torch.float64).T.log()
    middle, average = given.mean(0), moves.mean(0)
    apart = given - middle
    if apart[:, 1].std() < NARROW:
        apart[:, 1] = 0.0  # its slope is then 0
    slopes = torch.linalg.pinv(apart) @ (moves - average)
    rest = moves - average - apart @ slopes
    return Strangeness(
        (average - middle @ slopes).tolist(), slopes.T.tolist(),
        torch.linalg.pinv(rest.T.cov(), hermitian=True).tolist(),
        (min(noises), max(noises)), max(n for n, _ in known),
    )  # fmt: skip


def fit_all(scanned: Sequence[Sequence[Told]]) -> dict[str, dict[str, Any]]:
    """What goes into a card for both alarms, by kind; an alarm with too few scans is left out."""
    fitted, surprises = {}, [[one.surprise for one in told] for told in scanned]
    if sum(value is not None for scan in surprises for value in scan) > 1:
        fitted["alarm"] = asdict(fit(surprises, least=LEAST))
    if (strange := fit_strangeness(scanned)) and (seen := seen_by_others(scanned)):
        fitted["strangeness"] = asdict(strange) | asdict(fit(seen, LASTING))
    return fitted


def seen_by_others(scanned: Sequence[Sequence[Told]]) -> list[list[float | None]] | None:
    """The strangeness of each scan by a fit to all others, as a new scan's; None where those are too few."""
    seen = []
    for number, told in enumerate(scanned):
        strange = fit_strangeness([*scanned[:number], *scanned[number + 1 :]])
        if strange is None:
            return None
        seen.append(Watch(strange=strange).seen(told))
    return seen


def rung_by_others(scanned: Sequence[Sequence[Told]]) -> list[Raised | None]:
    """The alarm of each scan by a fit to all others, as a new scan's: what a fit to few scans promises."""
    rung: list[Raised | None] = []
    for number, told in enumerate(scanned):
        fitted = fit_all([*scanned[:number], *scanned[number + 1 :]])
        watch = Trust.from_card({"trust": {kind: {"": values} for kind, values in fitted.items()}}).watch("")
        rung.append(watch(told) if watch else None)
    return rung


def told_again(row: Row) -> list[Told]:
    """What the alarms hear of a scan, from its row."""
    heard = zip(row["surprises"], row["moves"], row["noises"], strict=True)
    return [Told(0, 0.0, *each) for each in heard]


def highest(alarm: Alarm | None, values: Sequence[float | None]) -> float:
    """The highest sum, also beyond the threshold; without an alarm, of the logarithms themselves."""
    return Alarm(alarm.drift if alarm else 0.0, math.inf).peak(values)


@dataclass(frozen=True)
class Alarms:
    """Adaptive scans of known kinds of images and of `foreign` ones; nothing is estimated."""

    plan: Plan
    foreign: tuple[str, ...] = ()
    noises: tuple[str, ...] = ()  # that images take in turn; none: the plan's
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
        taken = zip(self._everything.scans, cycle(self.noises or [self.plan.noise]))
        return {scan.key: partial(self._scanned, scan, noise) for scan, noise in taken}

    def _scanned(self, scan: Scan, noise: str) -> Iterator[Row]:
        cell = virtual(replace(self.plan, noise=noise), scan)
        experiment = cell.parts.experiment
        watch = experiment.guard.alarm if experiment.guard else Watch()
        experiment.guard = None  # samples are looked at beyond an alarm, too
        for _ in run(experiment, cell.instrument, until=budget(self.plan.budget)):
            pass
        surprises = experiment.surprises
        predicted = [value for value in surprises if value]
        at, by = watch(experiment.told) or (None, None)
        strangeness = watch.seen(experiment.told)
        yield {
            "image": self._everything.label(scan.image), **asdict(scan.method), "seed": self.plan.seed,
            "foreign": scan.image in self.foreign, "measurements": len(surprises), "alarm": at,
            "alarm_by": by,
            "delay": at and sum(value is not None for value in surprises[:at]),
            "peak": highest(watch.surprise, surprises),
            "strangeness_peak": highest(watch.strangeness, strangeness),
            "surprise": math.exp(mean(map(math.log, predicted))) if predicted else None,
            "surprises": surprises, "strangeness": strangeness,
            "moves": [told.moves for told in experiment.told],
            "noises": [told.noise for told in experiment.told],
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
                "alarms_by_others": None,  # fits to the other known scans
                "by_strangeness": sum(row["alarm_by"] == "strangeness" for row in own),
                "median_delay": median(delays) if delays else None,  # predicted measurements until the alarm
                "highest_peak": max((row["peak"] for row in own), default=None),
                "highest_strangeness_peak": max((row["strangeness_peak"] for row in own), default=None),
            }
        scanned = [told_again(row) for row in rows if not row["foreign"]]
        fitted = fit_all(scanned)
        if len(scanned) > 1:
            kinds["known"]["alarms_by_others"] = len([one for one in rung_by_others(scanned) if one])
        chooser = self.plan.methods[0].chooser
        series = {key: {row["image"]: row[key] for row in rows} for key in ("surprises", "strangeness")}
        noise = ",".join(self.noises) or self.plan.noise
        return {
            **kinds,
            "noise": noise,
            "fitted": {kind: {chooser: values} for kind, values in fitted.items()},
            **series,
        }

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed: the known and the foreign scans."""
        return [{"scans of": kind, **findings[kind]} for kind in ("known", "foreign")]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        foreign = {self._everything.label(spec) for spec in self.foreign}
        labels = {"surprises": "squared error over expected", "strangeness": "squared distance over expected"}
        return {f"{key}.png": alarms(findings[key], foreign, label) for key, label in labels.items()}
