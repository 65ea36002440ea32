"""What the figures and tables of the paper are made of, and how they are drawn."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tomopilot.bench.doses import dose, table_of_doses
from tomopilot.bench.protocol import Run, Runs, domains
from tomopilot.disk import write_atomically
from tomopilot.files.archive import Archive
from tomopilot.measure.noise import from_words
from tomopilot.report import markdown, panels
from tomopilot.report.panels import Column, Shot
from tomopilot.report.plots import method_label
from tomopilot.scan.assemble import operator_of
from tomopilot.scan.follow import RECORD
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.summary import TARGET, reaches
from tomopilot.scan.virtual import image_of, virtual


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


def gallery(runs: Runs) -> dict[str, bytes]:
    """Figures 13 to 18: the first image of each panel by each adaptive method, and what it measured."""
    return {f"gallery-{name}.png": _gallery(run, (1, 10, 20, 30)) for name, run in runs.items()}


def figure9(runs: Runs) -> dict[str, bytes]:
    """The last estimate of `auto` beside the inverse Fourier transform of the same rows."""
    ((_, run),) = runs.items()
    return {"fig9.png": _gallery(run, (run.plan.budget,))}


def _gallery(run: Run, counts: Sequence[int]) -> bytes:
    image = image_of(run.plan, run.plan.images[0])
    kind = operator_of(run.plan, image).kind
    methods = [method for method in run.plan.methods if method.adaptive or not method.samples]
    with closing(Archive(run.folder / RECORD)) as archive:
        shots = {
            method_label(asdict(method)): {
                count: _shot(run.plan, Scan(run.plan.images[0], method), archive, count)
                for count in counts
                if count <= run.plan.budget
            }
            for method in methods
        }
    return panels.gallery(image.shown.numpy(), shots, kind.period)


def _shot(made: Plan, scan: Scan, archive: Archive, count: int) -> Shot:
    """What a scan knew after so many measurements, estimated again from its record."""
    cell = virtual(made, scan)
    experiment = cell.parts.experiment
    for block in archive.blocks(scan.key)[:count]:
        noise = from_words(block.noise) if block.noise else None
        experiment.tell(block.design, block.values, noise, block.setting)
    draws, shown = experiment.draws(), experiment.operator.at([one.setting for one in experiment.told]).shown
    guess = experiment.operator.kind.picture(draws.guess)
    return Shot(guess.cpu().numpy(), cell.judge.judged(draws)["psnr"], shown.tolist())


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
    tabled: str = "Measurements to a mean PSNR of 30 dB; in parentheses, of that mean ± two standard errors."


CT = tuple(domains())
FIGURES: dict[str, Figure] = {
    "fig4": Figure("PSNR of all models, without and with a pre-scan", (*CT, *domains("-prescan")), figure4),
    "table1": Figure("measurements to 30 dB", CT),
    "fig5": Figure("chips of 512 x 512 pixels, and the time of a step", ("chip", "chip-512"), figure5),
    "fig6": Figure("soft and hard data consistency", ("chip-soft", "lung-soft"), figure6),
    "fig7": Figure("rows of k-space, 2 and 30 known before", ("mri-2", "mri-30"), in_a_row("fig7.png")),
    "fig8": Figure("time of an estimate by gradients and by filling in rows", ("mri-time",), figure8),
    "fig9": Figure("an estimate beside the usual Fourier reconstruction", ("mri-2",), figure9),
    "gallery": Figure("reconstructions and their angles", (*CT, "chip-512", "mri-2", "mri-30"), gallery),
    "fig11": Figure(
        "angles of two models, reconstructed alike", ("chip", "chip-replay"), in_a_row("fig11.png")
    ),
    "fig12": Figure("PSNR, RMSE and SSIM", CT, figure12),
    "fig19": Figure("acquisitions", tuple(domains("-scores")), in_a_row("fig19.png")),
    "dose": Figure(
        "beyond the paper: measurements against seconds of computing", CT, dose, table_of_doses,
        "Measurements, and seconds of choosing them and of one estimate, to a mean PSNR that all reach.",
    ),
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
        "beyond the paper: choosing by the samples, by rules, and knowing the truth",
        ("chip-best", "rotated-best"), in_a_row("best.png"),
    ),
}  # fmt: skip


def leave(out: Path, name: str, runs: Runs, notes: Sequence[str], command: str) -> str:
    """Writes a figure's pictures and its page, NAME.md, beside its comparisons; returns the page."""
    figure, pictures = FIGURES[name], FIGURES[name].draw(runs)
    for file, png in pictures.items():
        write_atomically(out / file, png)
    page = markdown.joined(
        [
            f"# {name}: {figure.about}",
            f"```\n{command}\n```",
            "Scaled: " + "; ".join(notes) + ".",
            markdown.links(pictures),
            figure.tabled,
            markdown.table(figure.table(runs)),
        ]
    )
    write_atomically(out / f"{name}.md", page.encode())
    return page
