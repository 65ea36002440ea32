"""The command line: parses, builds through `recipe`, prints. Heavy imports wait until they are needed."""

import json
import os
import platform
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomopilot import __version__
from tomopilot.terminal import bar, cell, sentence, table, table_of_methods, table_of_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tomopilot.bench.study import Plan, Row
    from tomopilot.prior.train import Progress

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

KNOWN = "auto, soft, hard, dps, prox, moments, fbp, tv (mri: inpaint, zero-filled), or a:b as scout:moments"
ORDER = "variance, uniform, random (mri: low-to-high, equispaced) or replay:SUMMARY"

Images = Annotated[
    list[str], typer.Argument(help="FILE, FILE::12, FILE::0-29, FILE::5,65 or phantom:chip::SEED.")
]
Out = Annotated[Path, typer.Option(help="New folder for everything the run leaves behind.")]
Prior = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        help="Name or folder of a trained prior (repeatable in compare); default: chip-128, mri: brain-128.",
    ),
]
Operator = Annotated[
    str,
    typer.Option(
        help="What is measured: radon (projections) or mri (k-space rows of the image, taken as a magnitude, "
        "with a random smooth phase that hangs on the seed)."
    ),
]
Angles = Annotated[int, typer.Option(help="Candidate angles, equally spaced over 180 degrees.")]
Bins = Annotated[int | None, typer.Option(help="Detector bins; default: as many as the image is wide.")]
Count = Annotated[int, typer.Option(help="Posterior samples.")]
Budget = Annotated[int, typer.Option(help="Measurements to take.")]
Start = Annotated[
    int,
    typer.Option(
        help="Measurements before the policy adapts: angles in uniform order, k-space rows about the centre."
    ),
]
Certain = Annotated[
    float | None,
    typer.Option(help="Stop before the budget once this PSNR (dB) is expected; needs a fitted prior."),
]
Noise = Annotated[str, typer.Option(help="none, relative:0.01, gaussian:STD or poisson:I0.")]
Finer = Annotated[
    int, typer.Option(help="Simulate on a grid this many times finer (above 1: no inverse crime).")
]
At = Annotated[str | None, typer.Option(help="Judge after these many measurements only, e.g. 5,10,20.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Scans at the same time, sharing the cores.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Runs the command line; wrong use and unusable files end in one sentence and exit status 2."""
    try:
        app()
    except (ValueError, OSError, MemoryError) as error:
        typer.echo(f"tomopilot: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except FloatingPointError as error:
        typer.echo(f"tomopilot: {error}", err=True)
        sys.exit(1)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _tomopilot(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """An autopilot for tomographic acquisition: it chooses what to measure next, while the scan runs."""


@app.command()
def simulate(
    images: Images,
    out: Out,
    prior: Prior = None,
    operator: Operator = "radon",
    angles: Angles = 180,
    bins: Bins = None,
    posterior: Annotated[str, typer.Option(help=f"{KNOWN}.")] = "auto",
    policy: Annotated[str, typer.Option(help=f"{ORDER}.")] = "variance",
    count: Count = 10,
    budget: Budget = 20,
    start: Start = 4,
    certain: Certain = None,
    noise: Noise = "relative:0.01",
    finer: Finer = 1,
    at: At = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """A virtual scan of known images.

    Example: tomopilot simulate phantom:chip --budget 15 --out runs/first
    """
    if prior and len(prior) > 1:
        raise ValueError(f"simulate scans with one prior, but {len(prior)} were named; use compare")
    plan = _plan(
        images, prior, [posterior], [policy],
        operator=operator, angles=angles, bins=bins, count=count, budget=budget, start=start, certain=certain,
        noise=noise, finer=finer, at=_counts(at), seed=seed, device=device,
    )  # fmt: skip
    _begin(out, "simulate", plan, workers)
    _carry_out(out, workers, as_json)


@app.command()
def compare(
    images: Images,
    out: Out,
    prior: Prior = None,
    operator: Operator = "radon",
    angles: Angles = 180,
    bins: Bins = None,
    posteriors: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated: {KNOWN}; default: auto,fbp,tv, for mri auto,zero-filled."),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated: {ORDER}; default: variance,uniform, for mri low-to-high too."),
    ] = None,
    count: Count = 10,
    budget: Budget = 20,
    start: Start = 4,
    certain: Certain = None,
    noise: Noise = "relative:0.01",
    finer: Finer = 1,
    at: At = None,
    seed: Seed = 0,
    device: Device = "auto",
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """All posteriors with all policies on all images: same seeds, same noise.

    fbp and tv give no samples, so they follow the fixed orders among the policies only.

    Example: tomopilot compare phantom:chip::0-5 --posteriors auto,tv --out runs/compare
    """
    plan = _plan(
        images, prior, _words(posteriors), _words(policies),
        operator=operator, angles=angles, bins=bins, count=count, budget=budget, start=start, certain=certain,
        noise=noise, finer=finer, at=_counts(at), seed=seed, device=device,
    )  # fmt: skip
    _begin(out, "compare", plan, workers)
    _carry_out(out, workers, as_json)


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="Folder of an interrupted simulate or compare.")],
           workers: Workers = 1, as_json: AsJson = False) -> None:  # fmt: skip
    """Go on with an interrupted simulate or compare; nothing measured is measured again.

    Example: tomopilot resume runs/first
    """
    _carry_out(run, workers, as_json)


@app.command()
def train(
    out: Out,
    images: Annotated[list[str] | None, typer.Argument(help="As for simulate; all square.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file; see recipes/chip-128.toml.")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Images kept from training; default: every 20th.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Overrides the recipe's number of steps.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training in --out.")
    ] = False,
    hours: Annotated[
        float | None, typer.Option(help="Stop after so many hours of one core (all runs together).")
    ] = None,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish", help="From where the training in --out stands, let the learning rate fall to 0."
        ),
    ] = False,
    queue: Annotated[
        Path | None, typer.Option(help="Train what this file lists, one after the other; resumes by itself.")
    ] = None,
    start_from: Annotated[str | None, typer.Option(help="Prior whose weights to start from.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")] = None,
    evenly: Annotated[
        str | None,
        typer.Option(help="Overrides what the recipe draws equally often: file, or an npz array."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a prior on slices of a domain.

    Example: tomopilot train slices.npz --recipe recipes/chip-128.toml --hours 5 --out runs/my-prior
    """
    from dataclasses import replace

    from tomopilot.bench.queue import read_queue
    from tomopilot.bench.training import read_chances, read_groups, read_slices, report_prior
    from tomopilot.prior.checkpoint import lineage, load_prior
    from tomopilot.prior.train import STATE, branched
    from tomopilot.prior.train import train as steps_of
    from tomopilot.prior.training import read_training
    from tomopilot.recipe import pick_device

    device = pick_device(device)
    origin = {"command": _command(), "hardware": _hardware(device)}
    if queue is not None:
        if images or recipe or finish:
            raise ValueError("a queue names recipes and images itself: give it --out alone")
        tasks = read_queue(queue)
        _writable(out)
        for task in tasks:
            folder = out / task.name
            _watch(task.stretch(folder, origin, device), f"{task.name}, {task.hours} h")
            _watch(task.finish(folder, origin, device), f"{task.name}, last stretch")
        typer.echo(f"the priors are in {out}, each in its folder, the finished one in `final`")
        return
    if not images:
        raise ValueError("no training images were named: tomopilot train IMAGES --recipe FILE --out DIR")
    training, card = read_training(recipe)
    changes = {"steps": steps, "seed": seed, "evenly": evenly}
    training = replace(training, **{key: value for key, value in changes.items() if value is not None})
    if not (resume or finish) and (out / STATE).exists():
        raise ValueError(f"{out} holds a training already: go on with --resume, or choose another --out")
    if hours is not None and not hours > 0:
        raise ValueError(f"hours is {hours:g}; expected a number above 0")
    if not training.steps and hours is None and not finish:
        raise ValueError(
            "the recipe has no last step (steps = 0): say for how long with --hours, or give --steps"
        )
    slices, groups = read_slices(images), read_groups(images, training.evenly)
    weights = read_chances(images, training.chances)
    if validation is None:
        if len(slices) < 2:
            raise ValueError("one training image was given; name more, or others with --validation")
        kept, held = [i for i in range(len(slices)) if i % 20], slices[::20]
        slices, groups = [slices[i] for i in kept], groups and [groups[i] for i in kept]
        weights = [weights[i] for i in kept]
    else:
        held = read_slices([validation])
    _writable(out)
    if finish:
        out, training = branched(out, training)
    card = {**card, "seed": training.seed, **origin}
    start = None
    if start_from is not None:
        start = load_prior(start_from, device)
        card["started_from"] = lineage(start.card)
    progress = steps_of(
        slices, training, out,
        validation=held, card=card, groups=groups, weights=weights, device=device, resume=resume or finish,
        start=start, hours=float("inf") if hours is None else hours,
    )  # fmt: skip
    _watch(progress, "training", training.steps)
    if not training.steps:
        typer.echo(f"the training stands in {out}: --resume goes on, --finish makes a prior of it")
        return
    report_prior(out, slices, held, device)
    typer.echo(f"the prior, its card and its sample sheet are in {out}")


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


@app.command()
def bench(
    study: Annotated[
        str | None, typer.Argument(help="calibration, alarm, certain or speed; see --list.")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Argument(help="As for simulate; speed takes the first, or a phantom.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for everything the study leaves behind.")
    ] = None,
    prior: Prior = None,
    operator: Operator = "radon",
    posteriors: Annotated[
        str | None, typer.Option(help="Comma-separated; default: auto, in speed soft,auto.")
    ] = None,
    count: Count = 10,
    noise: Noise = "relative:0.01",
    at: Annotated[str, typer.Option(help="Numbers of measurements to judge at.")] = "5,10,20,40",
    foreign: Annotated[
        list[str] | None, typer.Option(help="Images that should raise the alarm (repeatable).")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="Folder of a prior whose card takes up what the study fitted.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    large: Annotated[bool, typer.Option("--large", help="Speed of images up to 1024 x 1024 too.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Speed of tiny images, to see that it runs.")
    ] = False,
    known: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how good a method is: how honest its samples, how fast its steps.

    Example: tomopilot bench calibration slices.npz::0-9 --out runs/calibration
    """
    from tomopilot.bench.studies import STUDIES, leave_study
    from tomopilot.files.images import single_specs
    from tomopilot.prior.checkpoint import read_card, take_up_trust
    from tomopilot.recipe import check_names, usual_for

    if known:
        for name, entry in STUDIES.items():
            typer.echo(f"{name:12} {entry.about}")
        return
    if study is None or out is None:
        raise ValueError(f"name a study ({', '.join(STUDIES)}) and its folder: bench STUDY IMAGES --out DIR")
    check_names("study", [study], STUDIES)
    entry, counts = STUDIES[study], _counts(at)
    assert counts
    plan = _plan(
        images or [*entry.images], prior, _words(posteriors or entry.posteriors),
        [entry.policy or usual_for(operator).order],
        operator=operator, angles=180, bins=None, count=count, budget=max(counts), start=entry.start,
        noise=noise, finer=1, at=counts, seed=seed, device=device,
    )  # fmt: skip
    others = tuple(single for spec in foreign or () for single in single_specs(spec))
    work = entry.make(plan, "quick" if quick else "large" if large else "usual", others)
    if (out / "results.csv").exists():
        raise ValueError(f"{out} holds results already; choose another --out")
    if into is not None:
        read_card(into)
    _writable(out)
    rows: list[Row] = []
    with bar(len(work), study) as report:
        for row in work.rows():
            rows.append(row)
            report(len(rows), work.line(row), True)
    summary = leave_study(out, study, work, {"version": __version__, "command": _command()}, rows)
    if into is not None:
        facts = {"count": count, "noise": noise, "images": len(plan.images), "command": _command()}
        take_up_trust(into, summary.get("fitted", {}), facts)
    for note in summary.get("notes", ()):
        typer.echo(note, err=True)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        lines = work.table(summary)
        table(study, tuple(lines[0]), [tuple(map(cell, line.values())) for line in lines])
    typer.echo(f"results: {out}", err=as_json)


@app.command()
def priors(as_json: AsJson = False) -> None:
    """List the known priors with their cards.

    Example: tomopilot priors
    """
    from tomopilot.prior.checkpoint import prior_folders, read_card

    cards = {name: read_card(folder) for name, folder in prior_folders().items()}
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    keys = ("image_size", "unit", "images_seen", "validation_loss", "hardware", "licence")
    rows = [(name, *(cell(card.get(key)) for key in keys)) for name, card in cards.items()]
    table("priors", ("name", *(key.replace("_", " ") for key in keys)), rows)


def _plan(
    images: list[str],
    priors: list[str] | None,
    posteriors: list[str],
    policies: list[str],
    *,
    device: str,
    **rest: Any,
) -> "Plan":
    """The checked plan of a study; posteriors without a prior follow the fixed orders only, once each."""
    from tomopilot.bench.study import Plan, check
    from tomopilot.files.images import single_specs
    from tomopilot.prior.checkpoint import prior_folders
    from tomopilot.recipe import ADAPTIVE, PRIOR_FREE, Method, method_for, pick_device, usual_for

    usual = usual_for(rest["operator"])
    posteriors = [method_for(rest["operator"], name) for name in posteriors or usual.posteriors]
    priors = [
        name if name in prior_folders() or not Path(name).is_dir() else os.path.abspath(name)
        for name in priors or [usual.prior]
    ]
    grid = [
        (posterior, policy, prior)
        for posterior in posteriors
        for policy in policies or usual.policies
        for prior in ([None] if posterior in PRIOR_FREE else priors)
        if len(posteriors) == 1 or not (posterior in PRIOR_FREE and policy in ADAPTIVE)
    ]
    specs = tuple(dict.fromkeys(single for spec in images for single in single_specs(spec)))
    plan = Plan(
        specs, tuple(dict.fromkeys(Method(*cell) for cell in grid)), device=pick_device(device), **rest
    )
    check(plan)
    return plan


def _begin(out: Path, kind: str, plan: "Plan", workers: int) -> None:
    """Keeps what the run is, so that `resume` needs nothing else."""
    from tomopilot.bench.study import RECORD
    from tomopilot.files.archive import Archive

    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    _writable(out)
    about = {"kind": kind, "plan": plan.to_json(), "command": _command(), "version": __version__}
    with closing(Archive(out / RECORD)) as archive:
        if archive.described("run") is not None:
            raise ValueError(f"{out} holds a run already: `tomopilot resume {out}`, or choose another --out")
        archive.describe("run", about)


def _carry_out(out: Path, workers: int, as_json: bool) -> None:
    """Runs what is left of a run, then writes its outputs."""
    from tomopilot.bench.outputs import leave_comparison, leave_simulation
    from tomopilot.bench.study import RECORD, Plan, follow_all, scans
    from tomopilot.bench.summary import method_of
    from tomopilot.files.archive import Archive

    if not (out / RECORD).is_file():
        raise ValueError(f"{out} holds no run of simulate or compare; name the folder given to --out")
    archive = Archive(out / RECORD)
    about = archive.described("run")
    if about is None:
        raise ValueError(
            f"the run in {out} was stopped before it began; start it again with the same command"
        )
    plan = Plan.from_json(about["plan"])
    rows: list[Row] = []
    with bar(len(scans(plan)) * plan.budget, about["kind"]) as report:
        for row in follow_all(plan, out / RECORD, workers):
            rows.append(row)
            report(len(rows), sentence(row, plan.budget), True)
    images = [plan.label(image) for image in plan.images]
    rows.sort(key=lambda row: (images.index(row["image"]), plan.methods.index(method_of(row))))
    facts = {key: about[key] for key in ("version", "command")}
    if about["kind"] == "simulate":
        summary = leave_simulation(out, plan, facts, archive, rows)
    else:
        summary = leave_comparison(out, plan, facts, rows)
    archive.close()
    if as_json:
        typer.echo(json.dumps(summary))
    elif about["kind"] == "simulate":
        table_of_steps(rows)
    else:
        table_of_methods(summary["methods"], len(plan.images))
    typer.echo(f"report: {out / 'report.html'}", err=as_json)


def _words(text: str | None) -> list[str]:
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text is not None and not words:
        raise ValueError(f"{text!r} names nothing; expected words with commas between them")
    return words


def _counts(text: str | None) -> tuple[int, ...] | None:
    try:
        if text is None:
            return None
        return tuple(sorted({int(word) for word in _words(text)}))
    except ValueError:
        raise ValueError(f"--at is {text!r}; expected numbers of measurements such as 5,10,20") from None


def _command() -> str:
    return shlex.join(["tomopilot", *sys.argv[1:]])


def _hardware(device: str) -> str:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"the output folder {out} cannot be written ({error}); choose another --out") from None
