"""`tomopilot prepare`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomopilot.cli.options import Out, PixelSize, Seed, metres, words
from tomopilot.cli.origin import command_line, writable
from tomopilot.cli.terminal import bar

if TYPE_CHECKING:
    from tomopilot.prepare.chips import Chips
    from tomopilot.prepare.crops import Crop, Cut
    from tomopilot.prepare.published import Published

METAL = "metal fraction (0 dielectric, 1 metal)"


def prepare(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Volumes or images as for simulate; layouts (.gds, .oas); or an archive of the paper: "
            "lodopab, pyxl, composite, fastmri."
        ),
    ],
    out: Out,
    crop: Annotated[
        str | None,
        typer.Option(help="Side of the crops in pixels, or whole (the largest square). Default: 256."),
    ] = None,
    size: Annotated[int, typer.Option(help="Side they are rescaled to, bilinearly.")] = 128,
    every: Annotated[int, typer.Option(help="Take only each so many-th slice.")] = 1,
    validation: Annotated[
        list[str] | None,
        typer.Option(help="Images held back for validation (repeatable; 'FOLDER/*.tif' in quotes)."),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            help="What is never in training and validation both: file, folder, or an array of npz files "
            "such as patient. Default: the file, or the folder where each file is one slice."
        ),
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            help="What is held back: source (whole sources), depth (the middle of each, with a gap), or auto."
        ),
    ] = "auto",
    share: Annotated[float, typer.Option(help="Share that is held back.")] = 0.1,
    gap: Annotated[
        int, typer.Option(help="Slices left out on both sides of what is held back by depth.")
    ] = 8,
    range_: Annotated[
        str | None,
        typer.Option(
            "--range", help="Intensities that become black and white: LOW,HIGH. Default: percentiles."
        ),
    ] = None,
    percentiles: Annotated[
        str,
        typer.Option(help="Percentiles that become black and white, of each source, or of all with --unit."),
    ] = "0.1,99.9",
    empty: Annotated[
        float, typer.Option(help="Leave out crops whose standard deviation is below this share of the range.")
    ] = 0.02,
    most: Annotated[
        int | None, typer.Option(help="Keep at most so many images in either part, drawn evenly.")
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="uint8 or float16.")] = "uint8",
    unit: Annotated[str | None, typer.Option(help="Unit of the intensities, e.g. 1/cm.")] = None,
    pixel_size: PixelSize = None,
    data: Annotated[str | None, typer.Option(help="What the images show, and whose they are.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the images.")] = None,
    stack: Annotated[
        Path | None, typer.Option(help="Process stack of a layout: TOML file; see recipes/stacks.")
    ] = None,
    top: Annotated[str | None, typer.Option(help="Cell of a layout; default: its only top cell.")] = None,
    heights: Annotated[int, typer.Option(help="Slices of a layout at each place, at random heights.")] = 1,
    seed: Seed = 0,
) -> None:
    """Make a training set of volumes, of a chip's layout, or of an archive of the paper.

    Example: tomopilot prepare recon.h5 --crop 256 --licence CC0 --out sets/mine
    """
    from tomopilot.files.training_set import is_set, save_set
    from tomopilot.prepare.about import about
    from tomopilot.prepare.collect import Collector
    from tomopilot.prepare.crops import Cut
    from tomopilot.prepare.published import PUBLISHED
    from tomopilot.prepare.volumes import Division, Volumes, find_slices

    if is_set(out):
        raise ValueError(f"{out} already contains a training set: choose another --out")
    pixel, layout = metres(pixel_size), any(map(_is_layout, images))
    archive = PUBLISHED.get(images[0]) if len(images) == 1 else None
    if archive is not None:
        crop, range_, pixel = crop or "whole", range_ or "0,1", pixel or archive.pixel
        unit, licence = unit or archive.unit, licence or archive.licence
        data = data or f"{archive.title} ({archive.page})"
    if layout:
        range_, unit = range_ or "0,1", unit or METAL
    cut = Cut(None if crop == "whole" else _whole("--crop", crop or "256"), size)
    limits = None if range_ is None else _pair("--range", range_)
    shared, between = unit is not None, _pair("--percentiles", percentiles)
    collector = Collector(limits, between, shared, empty, most, kind, seed)
    division = Division(split, share, gap, seed)
    facts: dict[str, Any] = {"crop": cut.crop or "whole", "from": [Path(name).name for name in images]}
    if layout:
        if validation or every > 1 or source or split != "auto":
            raise ValueError("--validation, --every, --source and --split are for volumes, not for layouts")
        crops = _chips(images, stack, top, cut, heights, share, pixel, seed)
        facts |= {"stack": crops.stack.name, "heights": heights, "depth_x_y": "um"}
    else:
        if stack is not None or top is not None or heights > 1:
            raise ValueError("--stack, --top and --heights are for layouts (.gds, .oas), not for volumes")
        if archive is not None:
            images, validation = _fetched(archive, out)
        slices = find_slices(images, _expanded(validation), source)
        crops = Volumes(division(slices), cut, every, pixel)
        facts |= {"every": every, "split": division.kind(slices), "gap": gap, "depth_x_y": "slice, pixels"}
    writable(out)
    with bar(None, "crops") as report:
        collected = collector(_Watched(crops, report))
    card = about(
        collected, collector, unit=unit, data=data, licence=licence,
        facts={**facts, "share": share, "command": command_line()},
    )  # fmt: skip
    save_set(out, collected.train, collected.validation, card)
    _tell(out, card)


@dataclass(frozen=True)
class _Watched:
    """Crops that are counted on a progress bar, each time they are gone through."""

    crops: "Iterable[Crop]"
    report: Callable[[int, str, bool], None]

    def __iter__(self) -> "Iterator[Crop]":
        for number, crop in enumerate(self.crops, 1):
            self.report(number, f"{number} crops, now {crop.source} at {crop.depth:g}", number % 1000 == 0)
            yield crop


def _fetched(archive: "Published", out: Path) -> tuple[list[str], list[str]]:
    """The files of an archive to train and to validate on."""
    if archive.files:
        writable(out)
        typer.echo(
            f"{archive.title}: {archive.gigabytes:g} GB, {archive.licence}, to {out}/downloads", err=True
        )
    train, validation = archive.fetch(out / "downloads")
    return train, validation


def _is_layout(name: str) -> bool:
    from tomopilot.files.layout import SUFFIXES

    return name.lower().endswith(SUFFIXES)


def _chips(
    images: list[str],
    stack: Path | None,
    top: str | None,
    cut: "Cut",
    heights: int,
    share: float,
    pixel: float | None,
    seed: int,
) -> "Chips":
    from tomopilot.files.layout import Layout
    from tomopilot.prepare.chips import Chips
    from tomopilot.prepare.stack import read_stack

    if stack is None or not all(map(_is_layout, images)):
        raise ValueError(
            "layouts need their process stack: give --stack FILE (recipes/stacks), and layouts only"
        )
    process = read_stack(stack)
    if pixel is not None:
        process = process.model_copy(update={"pixel_um": pixel * 1e6})
    return Chips([Layout(Path(name), top) for name in images], process, cut, heights, share, seed)


def _expanded(patterns: list[str] | None) -> list[str]:
    """Names, with those in quotes such as 'held/*.tif' written out."""
    return [name for pattern in patterns or () for name in (sorted(glob(pattern)) or [pattern])]


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option} is {text!r}; expected a whole number of pixels, or whole") from None


def _pair(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = map(float, words(text))
    except ValueError:
        raise ValueError(f"{option} is {text!r}; expected two numbers such as 0,1") from None
    return low, high


def _tell(out: Path, card: dict[str, Any]) -> None:
    """What was made, and what its card does not say."""
    counts, sources, empty = card["images"], card["sources"], card["left_out"]["nearly_empty"]
    typer.echo(
        f"{out}: {counts['train']} images to train on (sources: {sources['train']}), {counts['validation']} "
        f"to validate on (sources: {sources['validation']}); {empty} nearly empty crops left out, "
        f"{100 * card['clipped']:.2g} % of the pixels clipped\nunit: {card['unit']}; pixel: "
        f"{card.get('pixel_size', 'unknown')}\ntrain on it: tomopilot train {out} --recipe FILE --out DIR"
    )
    for key, option in (("licence", "--licence"), ("data", "--data"), ("pixel_size", "--pixel-size")):
        if key not in card:
            typer.echo(f"the card of a prior will not say its {key}: give {option}", err=True)
