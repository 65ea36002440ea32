"""The paper's figures and tables, each from comparisons of our own: `tomopilot bench fig4` and the others."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tomopilot.files.images import count_images
from tomopilot.report import markdown, panels
from tomopilot.report.panels import Column
from tomopilot.report.plots import labelled
from tomopilot.scan.plan import Plan, plan_of
from tomopilot.scan.summary import TARGET, reaches

COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100)  # measurements that are judged
MODELS = "auto,laplace,bootstrap,swag,tv"


@dataclass(frozen=True)
class Panel:
    """One comparison: a folder of its own, `tomopilot compare` in it, and what the paper had there."""

    title: str
    images: str  # file in the data folder
    prior: str
    number: int = 30  # images, in the paper
    budget: int = 100  # measurements, in the paper
    posteriors: str = MODELS
    policies: str = "variance,uniform"
    settings: Mapping[str, Any] = field(default_factory=dict)  # others, of the plan


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
    """A finished comparison of a panel."""

    panel: Panel
    summary: dict[str, Any]

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
        "auto,bootstrap,swag,zero-filled", "variance,equispaced,low-to-high",
        {"operator": "mri", "start": start},
    )  # fmt: skip


PANELS: dict[str, Panel] = {
    **domains(),
    **domains("-prescan", settings={"prescan": 32}),
    "chip-512": Panel("chip, 512 x 512", "chip/validation_512.npz", "chip-512", 10),
    **domains("-soft", posteriors="soft,hard", policies="uniform"),
    "mri-2": rows_first(2),
    "mri-30": rows_first(30),
    "mri-time": Panel(
        "MRI", "mri/validation.npz", "brain-128", 30, 20, "soft,inpaint", "low-to-high", {"operator": "mri"}
    ),
    "chip-replay": ct("chip", "chip", "chip-128", posteriors="soft", policies="{dal},{bootstrap},uniform"),
    **domains(
        "-scores", posteriors="auto,laplace,bootstrap,swag", policies="variance,committee,logdet,uniform"
    ),
    **{
        f"chip-noise-{noise}": ct(
            "chip", f"noise {100 * noise:g} %", "chip-128", posteriors="auto,tv",
            settings={"noise": f"relative:{noise}"},
        )
        for noise in (0.001, 0.01, 0.05)
    },
    **{
        f"chip-finer-{finer}": ct(
            "chip", f"simulated on a grid {finer} times finer", "chip-128", posteriors="auto,tv",
            settings={"finer": finer},
        )
        for finer in (1, 2)
    },
    "chip-rotated": Panel("chip, turned", "chip/validation_rotated.npz", "chip-128", posteriors="auto,tv"),
    "lung-foreign": ct("lung", "lung, under the prior of chips", "chip-128", posteriors="auto,tv"),
    "chip-best": ct(
        "chip", "chip", "chip-128", posteriors="auto", policies="variance,aoptimal,oracle,expert,uniform"
    ),
    "rotated-best": Panel(
        "chip, turned", "chip/validation_rotated.npz", "chip-128", posteriors="auto",
        policies="variance,aoptimal,oracle,expert,uniform",
    ),
}  # fmt: skip


def data_folder() -> Path:
    """TOMOPILOT_DATA, or shared/data beside the working folder."""
    return Path(os.environ.get("TOMOPILOT_DATA") or Path.cwd().parent / "shared" / "data")


def plan(name: str, scale: Scale, out: Path) -> Plan:
    """The comparison of a panel, with images spread evenly over its file."""
    panel = PANELS[name]
    source = data_folder() / panel.images
    if not source.is_file():
        raise ValueError(f"{source} does not exist; {name} needs it: set TOMOPILOT_DATA to the data sets")
    have, number = count_images(f"{source}::all"), min(scale.images, panel.number)
    number = min(number, have)
    chosen = sorted({i * have // number for i in range(number)})
    budget = min(scale.budget, panel.budget)
    own = {
        model: f"replay:{out / 'chip'}::{posterior}+variance"
        for model, posterior in (("dal", "auto"), ("bootstrap", "bootstrap"))
    }
    return plan_of(
        [f"{source}::{','.join(map(str, chosen))}"],
        priors=scale.priors or [panel.prior], posteriors=panel.posteriors.split(","),
        policies=panel.policies.format(**own).split(","), budget=budget, count=scale.count,
        at=(*(n for n in COUNTS if n < budget), budget), device=scale.device, seed=scale.seed,
        **panel.settings,
    )  # fmt: skip


def scaled(name: str, made: Plan, scale: Scale) -> str:
    """What was smaller than in the paper.

    >>> scaled("chip", type("", (), {"images": range(6), "budget": 40})(), Scale())
    'chip: 6 of 30 images, 40 of 100 measurements'
    """
    panel = PANELS[name]
    return (
        f"{name}: {len(made.images)} of {panel.number} images, {made.budget} of {panel.budget} measurements"
    )


# What is drawn


def columns(runs: Runs, names: Sequence[str], metric: str = "psnr", label: str = "PSNR (dB)") -> list[Column]:
    return [Column(runs[name].panel.title, runs[name].methods, metric, label) for name in names]


def figure4(runs: Runs) -> dict[str, bytes]:
    first, second = ([*domains(suffix)] for suffix in ("", "-prescan"))
    return {"fig4.png": panels.curves([columns(runs, first), columns(runs, second)], TARGET)}


def in_a_row(file: str) -> Callable[[Runs], dict[str, bytes]]:
    """PSNR of all panels side by side."""
    return lambda runs: {file: panels.curves([columns(runs, [*runs])], TARGET)}


def figure5(runs: Runs) -> dict[str, bytes]:
    times = {
        run.panel.title: {
            name: (method["seconds_per_step"], None)
            for name, method in run.methods.items()
            if method["adaptive"] and method["seconds_per_step"]
        }
        for run in runs.values()
    }
    return {
        "fig5-quality.png": panels.curves([columns(runs, ["chip-512"])], TARGET),
        "fig5-time.png": panels.bars(times, "seconds to the next angle"),
    }


def figure6(runs: Runs) -> dict[str, bytes]:
    seconds = columns(runs, [*runs], "estimate_seconds", "seconds of an estimate")
    return {"fig6.png": panels.curves([columns(runs, [*runs]), seconds])}


def figure8(runs: Runs) -> dict[str, bytes]:
    times = {
        run.panel.title: {name: _last(method, "estimate_seconds") for name, method in run.methods.items()}
        for run in runs.values()
    }
    return {"fig8.png": panels.bars(times, "seconds of an estimate")}


def _last(method: Mapping[str, Any], metric: str) -> tuple[float, float | None]:
    point = [*method["curve"].values()][-1]
    return point[f"{metric}_mean"], point[f"{metric}_two_se"]


def figure12(runs: Runs) -> dict[str, bytes]:
    metrics = (("psnr", "PSNR (dB)"), ("rmse", "RMSE"), ("ssim", "SSIM"))
    return {"fig12.png": panels.curves([columns(runs, [*runs], *metric) for metric in metrics], TARGET)}


def table1(runs: Runs) -> dict[str, Sequence[str]]:
    """Measurements to a mean PSNR of 30 dB, in parentheses by mean plus and minus two standard errors."""
    names = list(dict.fromkeys(name for run in runs.values() for name in run.methods))
    found: dict[str, Sequence[str]] = {"method": names}
    for run in runs.values():
        budget = run.summary["budget"]
        found[run.panel.title] = [
            to_target(run.methods[name]["curve"], budget) if name in run.methods else "-" for name in names
        ]
    return found


def to_target(curve: Mapping[str, Mapping[str, Any]], budget: int, target: float = TARGET) -> str:
    """Measurements to a mean PSNR, and the range that two standard errors leave.

    >>> point = lambda mean: {"psnr_mean": mean, "psnr_two_se": 1.0}
    >>> to_target({"10": point(26.0), "20": point(31.0), "30": point(33.0)}, 30)
    '18.0 (16.0 to 20.0)'
    """
    early, mean, late = (
        reaches(
            {n: {"psnr_mean": p["psnr_mean"] + sign * (p["psnr_two_se"] or 0)} for n, p in curve.items()},
            target,
        )
        for sign in (1, 0, -1)
    )
    if mean is None:
        return f"> {budget}" + (f" (from {early:.1f})" if early is not None else "")
    return f"{mean:.1f} ({early:.1f} to {f'{late:.1f}' if late is not None else f'> {budget}'})"


@dataclass(frozen=True)
class Figure:
    """A figure or table of the paper: the comparisons it needs, and what is made of them."""

    about: str
    panels: tuple[str, ...]
    draw: Callable[[Runs], dict[str, bytes]] = lambda runs: {}
    table: Callable[[Runs], dict[str, Sequence[str]]] = table1


CT = tuple(domains())
FIGURES: dict[str, Figure] = {
    "fig4": Figure("PSNR of all models, without and with a pre-scan", (*CT, *domains("-prescan")), figure4),
    "table1": Figure("measurements to 30 dB", CT),
    "fig5": Figure("chips of 512 x 512 pixels, and the time of a step", ("chip", "chip-512"), figure5),
    "fig6": Figure("soft and hard data consistency", ("chip-soft", "lung-soft"), figure6),
    "fig7": Figure("rows of k-space, 2 and 30 known before", ("mri-2", "mri-30"), in_a_row("fig7.png")),
    "fig8": Figure("time of an estimate by gradients and by filling in rows", ("mri-time",), figure8),
    "fig11": Figure(
        "angles of two models, reconstructed alike", ("chip", "chip-replay"), in_a_row("fig11.png")
    ),
    "fig12": Figure("PSNR, RMSE and SSIM", CT, figure12),
    "fig19": Figure("acquisitions", tuple(domains("-scores")), in_a_row("fig19.png")),
    "noise": Figure(
        "beyond the paper: noise from 0.1 to 5 %",
        tuple(f"chip-noise-{noise}" for noise in (0.001, 0.01, 0.05)), in_a_row("noise.png"),
    ),
    "projector": Figure(
        "beyond the paper: simulation by another projector", ("chip-finer-1", "chip-finer-2"),
        in_a_row("projector.png"),
    ),
    "foreign": Figure(
        "beyond the paper: slices unlike the prior's", ("chip", "chip-rotated", "lung-foreign"),
        in_a_row("foreign.png"),
    ),
    "best": Figure(
        "beyond the paper: choosing by the samples, by a rule, and knowing the truth",
        ("chip-best", "rotated-best"), in_a_row("best.png"),
    ),
}  # fmt: skip


def page(name: str, runs: Runs, notes: Sequence[str], command: str, pictures: Sequence[str]) -> str:
    """What a figure leaves as Markdown: how it was made, what was scaled, pictures, and its table."""
    figure = FIGURES[name]
    return markdown.joined(
        [
            f"# {name}: {figure.about}",
            f"```\n{command}\n```",
            "Scaled: " + "; ".join(notes) + ".",
            markdown.links(pictures),
            "Measurements to a mean PSNR of 30 dB; in parentheses, to that plus and minus two standard errors.",
            markdown.table(figure.table(runs)),
        ]
    )
