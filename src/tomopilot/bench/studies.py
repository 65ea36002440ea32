"""The studies of `tomopilot bench`, by name, and the files each leaves."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from tomopilot.bench.alarms import Alarms
from tomopilot.bench.calibration import Calibration
from tomopilot.bench.certainty import Certainty
from tomopilot.bench.speed import Speed
from tomopilot.disk import write_atomically
from tomopilot.files.archive import Archive
from tomopilot.report import markdown
from tomopilot.scan.judge import Row
from tomopilot.scan.lock import locked
from tomopilot.scan.outputs import described, kind_of, write_numbers
from tomopilot.scan.plan import Plan

RECORD = "study.db"


@runtime_checkable
class Study(Protocol):
    """Rows that come one by one, and what is found in them; a dataclass, of all that it was made with."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    columns: ClassVar[tuple[str, ...]]  # of results.csv

    @property
    def plan(self) -> Plan: ...

    def __len__(self) -> int:
        """How many rows are to come."""
        ...

    def parts(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """The rows by part, each part computed on its own; what ended is not computed again."""
        ...

    def line(self, row: Row) -> str:
        """A row as one line of progress."""
        ...

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        """What the rows amount to, for `summary.json`."""
        ...

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        """What is printed."""
        ...

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        """PNG files by name."""
        ...


class Entry(NamedTuple):
    """A study as the command line knows it; posteriors and images are what it takes where none are named."""

    about: str
    make: Callable[[Plan, str, tuple[str, ...], tuple[str, ...]], Study]  # extent, foreign images, noises
    policy: str | None  # none: the usual fixed order of what is measured
    posteriors: str
    images: tuple[str, ...] = ()
    start: int = 0  # measurements before adaptivity


def speed(plan: Plan, extent: str, foreign: tuple[str, ...], noises: tuple[str, ...]) -> Speed:
    """quick: the smallest sizes, to see that it runs; large: images up to 1024 x 1024."""
    if plan.operator != "radon":
        raise ValueError(
            f"speed is measured with projections, not with {plan.operator}; leave --operator out"
        )
    if extent == "quick":
        return Speed(plan, samples=(2,), measured=(3,), solved=(2, 4), sizes=(16, 24), grown=(16,), repeats=1)
    if extent == "large":
        return Speed(plan, sizes=(*Speed.sizes, 1024), grown=(*Speed.grown, 512, 1024))
    return Speed(plan)


STUDIES = {
    "calibration": Entry(
        "coverage, CRPS, rank of the truth and spread over error, by number of measurements",
        lambda plan, *_: Calibration(plan), None, "auto",
    ),
    "alarm": Entry(
        "surprise of each measurement, false alarms, and delay of alarms on images of other kinds",
        lambda plan, _, foreign, noises: Alarms(plan, foreign, noises), "variance", "auto", start=4,
    ),
    "certain": Entry(
        "error predicted by the samples against the real one, and how often stopping by it is too early",
        lambda plan, *_: Certainty(plan), "variance", "auto", start=4,
    ),
    "speed": Entry(
        "seconds and memory of a choice, an estimate, conjugate gradients, and projectors side by side",
        speed, "variance", "soft,auto", ("phantom:chip::0",),
    ),
}  # fmt: skip


def rows_of(study: Study, folder: Path, about: dict[str, Any]) -> Iterator[Row]:
    """All rows, those of finished parts from the record in the folder; each part is on disk once it is done.

    about: what the rows depend on. Raises ValueError where the folder holds a study of something else.
    """
    with locked(folder), closing(Archive(folder / RECORD)) as archive:
        kept, about = archive.described("study"), json.loads(json.dumps(about))
        if kept not in (None, about):
            differ = ", ".join(key for key in about if kept.get(key) != about[key])
            raise ValueError(f"{folder} holds a study with another {differ}; choose another --out")
        archive.describe("study", about)
        for key, computed in study.parts().items():
            if not (rows := archive.steps(key)):
                rows = [*computed()]
                with archive.at_once():
                    for number, row in enumerate(rows, 1):
                        archive.add_step(key, number, row)
            yield from rows


def leave_study(out: Path, name: str, study: Study, facts: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """All files of a finished study; returns the summary."""
    findings = study.findings(rows)
    summary = {"study": name, **described(study.plan, kind_of(study.plan), facts), **findings}
    write_numbers(out, summary, study.columns, rows)
    pictures = study.pictures(findings)
    for file, png in pictures.items():
        write_atomically(out / file, png)
    write_atomically(out / "results.md", markdown.study(summary, study.table(findings), pictures).encode())
    return summary
