"""Options that several commands share, each defined once."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tomopilot.units import length

KNOWN = (
    "auto, soft, hard, dps, prox, moments, swag, bootstrap, laplace, fbp, tv (mri: inpaint, zero-filled), "
    "soft(steps=20), or a:b"
)
FEW = tuple(5 * 2**i for i in range(20))  # measurements to judge at
ORDER = (
    "variance, logdet, committee, carried or aoptimal, with options as in logdet(noise=0.01), "
    'aoptimal(roi="FILE"), variance(batch=4) or variance(move=0.02), the cost of a degree of motion in '
    "exposures; uniform, random, golden, expert (mri: low-to-high, equispaced), "
    'population(slices="FILE"), oracle (knows the truth) or replay:SUMMARY'
)

Images = Annotated[
    list[str] | None,
    typer.Argument(
        help="FILE, FILE::12, FILE::0-29, FILE::0-90:3, FILE::5,65, FILE::all or phantom:chip::SEED (also "
        "disc); defect:FILE::12 paints a defect, volume:FILE::0-63 is one volume of 64 slices."
    ),
]
Replay = Annotated[
    str | None,
    typer.Option(
        help="A measured scan, FILE or FILE::ROW of its detector, instead of images: policies choose from "
        "its projections, and are judged by the reconstruction from all of them."
    ),
]
Stripes = Annotated[
    int | None,
    typer.Option(
        help="Of a measured scan: bins over which stripes of the detector, which become rings, are smoothed "
        "away, e.g. 31; default: 0, not at all."
    ),
]
Out = Annotated[Path, typer.Option(help="New folder for all files of the run.")]
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
        help="What is measured: radon (parallel projections), fan or fan(source=4, detector=5.4) (from a "
        "point source; its distances to the axis and to the detector in widths of the image; also pitch in "
        "pixels, curved=True, offset in bins), or mri (k-space rows; a real image is a magnitude that gets a "
        "random smooth phase derived from the seed)."
    ),
]
Count = Annotated[int, typer.Option(help="Number of posterior samples.")]
Noise = Annotated[str, typer.Option(help="none, relative:0.01, gaussian:STD or poisson:I0.")]
PixelSize = Annotated[
    str | None,
    typer.Option(
        help="Side of a pixel with its unit, e.g. 0.1um, where the image files do not say it or are wrong; "
        "it is compared with what the prior was trained on."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed from which all randomness is derived.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Workers = Annotated[
    int | None, typer.Option(help="Number of scans at the same time; short for --on local:N.")
]
On = Annotated[
    str | None,
    typer.Option(
        help="Where scans run: local:N (processes that share the cores), dask:ADDRESS (of a scheduler), "
        "slurm or slurm(minutes=60, partition='gpu'); default: this process."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def scan_options(
    prior: Prior = None,
    operator: Operator = "radon",
    angles: Annotated[
        str | None,
        typer.Option(
            help="Candidate angles: how many, equally spaced over 180 degrees (fan: 360), or a FILE of "
            "them in degrees, one a line; default: 180."
        ),
    ] = None,
    wedge: Annotated[
        list[str] | None,
        typer.Option(
            help="FROM:TO in degrees, that angles can be reached in, e.g. -60:60, or 120:60 where 60 to 120 "
            "cannot (repeatable); default: all."
        ),
    ] = None,
    bins: Annotated[
        int | None, typer.Option(help="Detector bins; default: as many as the image is wide.")
    ] = None,
    count: Count = 10,
    budget: Annotated[int, typer.Option(help="Measurements to take.")] = 20,
    start: Annotated[
        int,
        typer.Option(
            help="Measurements before the policy adapts: angles in uniform order, k-space rows around the "
            "centre."
        ),
    ] = 4,
    certain: Annotated[
        float | None,
        typer.Option(
            help="Stop before the budget once this PSNR (dB) is expected; needs a prior with a fitted margin."
        ),
    ] = None,
    noise: Noise = "relative:0.01",
    finer: Annotated[
        int | None,
        typer.Option(
            help="Simulate projections on a grid this many times finer; above the default, 1, this avoids "
            "the inverse crime."
        ),
    ] = None,
    prescan: Annotated[
        int | None,
        typer.Option(
            help="Known before the scan: an image of so many pixels along a side, averaged over blocks, with "
            "1 % noise. It is not counted as a measurement."
        ),
    ] = None,
    scouts: Annotated[
        int | None,
        typer.Option(
            help="Slices of a volume, evenly over its height, that measurements are chosen by; default: 4."
        ),
    ] = None,
    stripes: Stripes = None,
    pixel_size: PixelSize = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Judge after these many measurements, e.g. 5,10,20, and at the end; default: 5, 10, 20, 40 "
            "and so on. all: after each one, which takes longer."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    on: On = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """The options of every scan of known images."""


def usual_options() -> dict[str, Any]:
    """The options of a scan where none is given."""
    return {name: option.default for name, option in inspect.signature(scan_options).parameters.items()}


def taking(shared: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose `**options` are those of another function."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*own, *inspect.signature(shared).parameters.values()]
        parameters.sort(key=lambda parameter: parameter.default is not parameter.empty)
        command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def scanned(images: list[str] | None, replay: str | None) -> list[str]:
    """The specs of what is scanned: known images, or a measured scan."""
    from tomopilot.scan.replayed import RECORDED

    if bool(images) == (replay is not None):
        came = "both came" if images else "none came"
        raise ValueError(f"expected images, or a measured scan with --replay, but {came}: see --help")
    return [f"{RECORDED}{replay}"] if replay is not None else images or []


def words(text: str | None) -> list[str]:
    """The names in a comma-separated list; commas inside parentheses do not separate.

    >>> words("soft(steps=20, batch=4), tv")
    ['soft(steps=20, batch=4)', 'tv']
    """
    found = [word.strip() for word in re.split(r",(?![^()]*\))", text or "") if word.strip()]
    if text is not None and not found:
        raise ValueError(f"{text!r} is empty; expected names separated by commas")
    return found


def counts(text: str | None) -> tuple[int, ...] | None:
    """Numbers of measurements."""
    try:
        return None if text is None else tuple(sorted({int(word) for word in words(text)}))
    except ValueError:
        raise ValueError(f"--at is {text!r}; expected numbers of measurements such as 5,10,20") from None


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a scan that go into its plan."""
    known = {key: value for key, value in options.items() if key not in ("prior", "on", "workers", "as_json")}
    at, size = judged(options["at"], options["budget"]), metres(options["pixel_size"])
    grid = {"angles": angles(options["angles"]), "wedge": wedges(options["wedge"])}
    return {**known, **grid, "at": at, "pixel_size": size, "priors": options["prior"] or ()}


def angles(text: str | None) -> int | tuple[float, ...] | None:
    """How many candidate angles, or the angles of a file."""
    if text is None or text.lstrip("+-").isdecimal():
        return None if text is None else int(text)
    from tomopilot.files.angles import read_angles  # takes a while to import

    return read_angles(Path(text))


def wedges(texts: list[str] | None) -> tuple[tuple[float, float], ...] | None:
    """What the stage can reach."""
    from tomopilot.scan.grid import wedge  # takes a while to import

    return tuple(map(wedge, texts)) if texts else None


def place(on: str | None, workers: int | None) -> str:
    """Where scans run.

    >>> place(None, None), place(None, 4), place("slurm", None)
    ('local:1', 'local:4', 'slurm')
    """
    if on is not None and workers is not None:
        raise ValueError(f"--workers {workers} is short for --on local:{workers}; leave one of them out")
    return on if on is not None else f"local:{1 if workers is None else workers}"


def metres(text: str | None) -> float | None:
    """The side of a pixel."""
    try:
        return None if text is None else length(text)
    except ValueError as error:
        raise ValueError(f"--pixel-size cannot be used: {error}") from None


def judged(text: str | None, budget: int) -> tuple[int, ...] | None:
    """After how many measurements an estimate is made and judged, besides the last; None: after each.

    >>> judged(None, 50), judged("3,7", 50), judged("all", 50)
    ((5, 10, 20, 40), (3, 7), None)
    """
    if text is None:
        return tuple(count for count in FEW if count <= budget)
    return None if text == "all" else counts(text)
