"""The paper's comparisons, as panels of its figures, at whatever scale: `tomopilot bench fig4`."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tomopilot.files.archive import Archive
from tomopilot.files.images import image_numbers
from tomopilot.report.leave import leave_comparison
from tomopilot.report.plots import labelled
from tomopilot.scan import run as record
from tomopilot.scan.follow import RECORD
from tomopilot.scan.judge import Row
from tomopilot.scan.lock import locked
from tomopilot.scan.plan import Plan, plan_of
from tomopilot.scan.spread import follow_all
from tomopilot.scan.summary import in_order

COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100)  # measurements that are judged
BEST = ("variance", "aoptimal", "oracle", "expert", "{population}", "uniform")  # by the same estimate
MODELS = ("auto", "laplace", "bootstrap", "swag", "tv")


@dataclass(frozen=True)
class Panel:
    """One comparison: a folder of its own, `tomopilot compare` in it, and what the paper had there."""

    title: str
    images: str  # file in the data folder, and perhaps which of its images
    prior: str
    number: int = 30  # images, in the paper
    budget: int = 100  # measurements, in the paper
    posteriors: tuple[str, ...] = MODELS
    policies: tuple[str, ...] = ("variance", "uniform")
    settings: Mapping[str, Any] = field(default_factory=dict)  # others, of the plan
    learned: str = ""  # what `population` learns its order on, in the data folder


@dataclass(frozen=True)
class Scale:
    """How much of the paper's protocol is carried out."""

    images: int = 6
    budget: int = 40
    count: int = 10
    priors: tuple[str, ...] = ()  # instead of each panel's own
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("images", 1), ("budget", 1), ("count", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")


class Run(NamedTuple):
    """A finished comparison of a panel, in its folder."""

    panel: Panel
    plan: Plan
    summary: dict[str, Any]
    folder: Path

    @property
    def methods(self) -> dict[str, dict[str, Any]]:
        return labelled(self.summary["methods"])


Runs = Mapping[str, Run]  # by the name of their panel


def ct(domain: str, title: str, prior: str, **others: Any) -> Panel:
    return Panel(title, f"{domain}/validation.npz", prior, **others)


def domains(suffix: str = "", **others: Any) -> dict[str, Panel]:
    """A panel for each of the paper's three kinds of CT slices."""
    named = {"chip": "chip-128", "composite": "composite-128", "lung": "lung-128"}
    return {f"{name}{suffix}": ct(name, name, prior, **others) for name, prior in named.items()}


def rows_first(start: int) -> Panel:
    return Panel(
        f"MRI, {start} rows first", "mri/validation.npz", "brain-128", 26, 50 + start,
        ("auto", "bootstrap", "swag", "zero-filled"), ("variance", "equispaced", "low-to-high"),
        {"operator": "mri", "start": start},
    )  # fmt: skip


PANELS: dict[str, Panel] = {
    **domains(),
    **domains("-prescan", settings={"prescan": 32}),
    "chip-512": Panel("chip, 512 x 512", "chip/validation_512.npz", "chip-512", 10),
    **domains("-soft", posteriors=("soft", "hard"), policies=("uniform",)),
    "mri-2": rows_first(2),
    "mri-30": rows_first(30),
    "mri-time": Panel(
        "MRI", "mri/validation.npz", "brain-128", 30, 20, ("soft", "inpaint"), ("low-to-high",),
        {"operator": "mri"},
    ),
    "chip-replay": ct(
        "chip", "chip", "chip-128", posteriors=("soft",), policies=("{auto}", "{bootstrap}", "uniform")
    ),
    **domains(
        "-scores", posteriors=("auto", "laplace", "bootstrap", "swag"),
        policies=("variance", "committee", "logdet", "uniform"),
    ),
    **{
        f"chip-noise-{noise}": ct(
            "chip", f"noise {100 * noise:g} %", "chip-128", posteriors=("auto", "tv"),
            settings={"noise": f"relative:{noise}"},
        )
        for noise in (0.001, 0.01, 0.05)
    },
    **{
        f"chip-finer-{finer}": ct(
            "chip", f"simulated on a grid {finer} times finer", "chip-128", posteriors=("auto", "tv"),
            settings={"finer": finer},
        )
        for finer in (1, 2)
    },
    "chip-rotated": Panel(
        "chip, turned", "chip/validation_rotated.npz", "chip-128", posteriors=("auto", "tv")
    ),
    "lung-foreign": ct("lung", "lung, under the prior of chips", "chip-128", posteriors=("auto", "tv")),
    "chip-best": ct(
        "chip", "chip", "chip-128", posteriors=("auto",), policies=BEST, learned="chip/train.npz::0-5999:60"
    ),
    "rotated-best": Panel(  # every design is there twice, turned otherwise
        "chip, turned", "chip/validation_rotated.npz::0-30:2", "chip-128", posteriors=("auto",),
        policies=BEST, learned="chip/validation_rotated.npz::1-31:2",
    ),
}  # fmt: skip


def data_folder() -> Path:
    """TOMOPILOT_DATA, or shared/data beside the working folder."""
    return Path(os.environ.get("TOMOPILOT_DATA") or Path.cwd().parent / "shared" / "data")


def plan(name: str, scale: Scale, out: Path) -> Plan:
    """The comparison of a panel, with images spread evenly over its file."""
    panel = PANELS[name]
    source, learned = (str(data_folder() / images) for images in (panel.images, panel.learned))
    for needed in (source.partition("::")[0], learned.partition("::")[0]):
        if not os.path.exists(needed):
            raise ValueError(f"{needed} does not exist; {name} needs it: set TOMOPILOT_DATA to the data sets")
    have = image_numbers(source)
    number = min(scale.images, panel.number, len(have))
    chosen = [have[i * len(have) // number] for i in range(number)]
    budget = min(scale.budget, panel.budget)
    own = {
        model: f"replay:{out / 'chip'}::{_named(PANELS['chip'], model)}+variance"
        for model in ("auto", "bootstrap")
    }
    own["population"] = f'population(slices="{learned}")'
    return plan_of(
        [f"{source.partition('::')[0]}::{','.join(map(str, chosen))}"],
        priors=scale.priors or [panel.prior], posteriors=panel.posteriors,
        policies=[policy.format(**own) for policy in panel.policies], budget=budget, count=scale.count,
        at=(*(n for n in COUNTS if n < budget), budget), device=scale.device, seed=scale.seed,
        **panel.settings,
    )  # fmt: skip


def _named(panel: Panel, model: str) -> str:
    """A panel's first posterior of a name, with its options."""
    return next((posterior for posterior in panel.posteriors if posterior.startswith(model)), model)


def scaled(name: str, made: Plan) -> str:
    """What was smaller than in the paper.

    >>> scaled("chip", type("", (), {"images": range(6), "budget": 40})())
    'chip: 6 of 30 images, 40 of 100 measurements'
    """
    panel = PANELS[name]
    return (
        f"{name}: {len(made.images)} of {panel.number} images, {made.budget} of {panel.budget} measurements"
    )


def carry_out(
    name: str,
    made: Plan,
    out: Path,
    pool: Executor | None,
    version: str,
    command: str,
    watch: Callable[[Row], None],
) -> Run:
    """Begins or continues the comparison of a panel in a folder of its name, and leaves its files.

    What is finished is not computed again. Raises ValueError where the folder has another comparison.
    """
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), closing(Archive(folder / RECORD)) as archive:
        if archive.described("run") is None:
            record.begin(archive, record.Run("compare", made, command, version))
        known = record.read(archive)
        if known.plan != made:
            raise ValueError(
                f"{folder} contains a comparison of other images or settings; choose another --out, or the "
                "same --images, --budget, --count, --prior and --seed"
            )
        rows = []
        for row in follow_all(made, archive, pool):
            rows.append(row)
            watch(row)
        summary = leave_comparison(folder, made, known.facts, archive, in_order(made, rows))
    return Run(PANELS[name], made, summary, folder)
