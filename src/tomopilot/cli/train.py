"""`tomopilot train`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomopilot.cli.options import Device, Out
from tomopilot.cli.origin import command_line, hardware, writable
from tomopilot.cli.terminal import bar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tomopilot.bench.queue import Task
    from tomopilot.prior.train import Progress


def train(
    out: Out,
    images: Annotated[
        list[str] | None,
        typer.Argument(help="As for simulate, all square; or a folder that `tomopilot prepare` left."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file; see recipes/chip-128.toml.")] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Images kept for validation; default: every 20th, of fewer than 100 every fifth."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Overrides the recipe's number of steps.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training in --out.")
    ] = False,
    hours: Annotated[
        float | None, typer.Option(help="Stop after this many hours of one core (all runs together).")
    ] = None,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Let the learning rate fall to 0, from the present state of the training in --out.",
        ),
    ] = False,
    queue: Annotated[
        Path | None,
        typer.Option(
            help="Train the priors listed in this file, one after the other; resumes automatically."
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Prior whose weights are the starting point; without --recipe, it is adapted in 400 steps."
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            help="With --start-from: train only updates of this rank of the convolutions, for few slices."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    evenly: Annotated[
        str | None,
        typer.Option(
            help="Overrides what the recipe draws equally often: `file`, or the name of an npz array."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a prior on slices of your domain.

    Example: tomopilot train slices.npz --recipe recipes/chip-128.toml --hours 5 --out runs/my-prior
    """
    from tomopilot.prior.ranks import joined
    from tomopilot.prior.train import holds_training
    from tomopilot.scan.plan import pick_device

    device = pick_device(device)
    origin = {"command": command_line(), "hardware": hardware(device)}
    if queue is not None:
        if images or recipe or finish:
            raise ValueError("a queue names its recipes and images itself: give only --queue and --out")
        with joined(out, device) as own:
            _train_queue(queue, own, origin, device)
        return
    changes = {"steps": steps, "seed": seed, "evenly": evenly, "rank": rank}
    task = _task(images, recipe, validation, hours, start_from, changes)
    for doubt in task.doubts():
        typer.echo(doubt, err=True)
    if not (resume or finish) and holds_training(out):
        raise ValueError(
            f"{out} already contains a training: continue with --resume, or choose another --out"
        )
    if resume and not holds_training(out):
        raise ValueError(f"{out} contains no training to resume; start one without --resume")
    if not task.training.steps and hours is None and not finish:
        raise ValueError(
            "the recipe has no last step (steps = 0): set the duration with --hours, or give --steps"
        )
    with joined(out, device) as own:
        _train(task, own, origin, device, finish)


def _train(task: "Task", out: Path, origin: dict[str, str], device: str, finish: bool) -> None:
    """One training: to its last step, for its hours, or from its present state to the end."""
    task.slices  # noqa: B018  wrong images are rejected before anything is written
    writable(out)
    if finish:
        _watch(task.finish(out, origin, device), "training")
        _tell(out / "final")
        return
    _watch(task.stretch(out, origin, device), "training", task.training.steps)
    if not task.training.steps:
        typer.echo(f"the training is in {out}: --resume continues it, --finish makes a prior of it")
        return
    task.report(out, device)
    _tell(out)


def _tell(out: Path) -> None:
    from tomopilot.prior.checkpoint import read_card
    from tomopilot.report.prior_sheet import memory

    typer.echo(memory(read_card(out)))
    typer.echo(f"the prior, its card and its sample sheet are in {out}")


def _train_queue(queue: Path, out: Path, origin: dict[str, str], device: str) -> None:
    from tomopilot.bench.queue import read_queue

    tasks = read_queue(queue, out)
    writable(out)
    for task in tasks:
        _watch(task.stretch(out / task.name, origin, device), f"{task.name}, {task.hours} h")
        _watch(task.finish(out / task.name, origin, device), f"{task.name}, last stretch")
    typer.echo(f"the priors are in {out}, each in its own folder; the finished weights are in its `final`")


def _task(
    images: list[str] | None,
    recipe: Path | None,
    validation: str | None,
    hours: float | None,
    start_from: str | None,
    changes: dict[str, Any],
) -> "Task":
    from dataclasses import replace

    from tomopilot.bench.queue import Task
    from tomopilot.files.training_set import with_sets
    from tomopilot.prior.checkpoint import folder_of, read_card
    from tomopilot.prior.training import adapting, read_training

    if not images:
        raise ValueError("no training images were given; use tomopilot train IMAGES --recipe FILE --out DIR")
    if hours is not None and not hours > 0:
        raise ValueError(f"hours is {hours:g}; expected a number above 0")
    training, card = read_training(recipe)
    if recipe is None and start_from is not None:
        before = read_card(folder_of(start_from))
        training, card = adapting(before, changes["rank"] or 0), {"name": f"{before.get('name')}-adapted"}
    training = replace(training, **{key: value for key, value in changes.items() if value is not None})
    long = math.inf if hours is None else hours
    specs, validation, about = with_sets(images, validation)
    return Task(training, card | about, specs, validation, long, start_from)


def _watch(progress: "Iterable[Progress]", title: str, steps: int = 0) -> None:
    """A training's progress, on a bar or in lines; its time is that of what is left."""
    with bar(steps or None, title) as report:
        for at in progress:
            text = f"{title}: {at.step}{f'/{steps}' if steps else ''}  {at.images_seen} images"
            text += f"  loss {at.loss:.4f}  {at.images_per_second:.1f} images/s"
            text += f"  {at.seconds_left / 60:.1f} min left"
            report(at.step, text, at.validation is not None or at.step % 50 == 0)
            if at.validation:
                errors = " ".join(f"{level}:{error:.5f}" for level, error in at.validation.items())
                report(at.step, f"  validation {errors}", True)
