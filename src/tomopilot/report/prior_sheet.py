"""What a training leaves to inspect: samples, their nearest training images, the error per noise level."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tomopilot.disk import replacing
from tomopilot.measure.kind import magnitude
from tomopilot.nets.build import fast_precision
from tomopilot.posterior.solvers import ddim
from tomopilot.prior.augment import Slices
from tomopilot.prior.checkpoint import Prior, add_to_card, load_prior
from tomopilot.prior.denoiser import Stationary
from tomopilot.prior.schedule import ddpm
from tomopilot.prior.train import (
    VALIDATED,
    clean_images,
    denoising_loss,
    read_history,
    spread_over,
    to_network_range,
    validate,
)
from tomopilot.randomness import stream

FITTED = 500  # training images, evenly spread, whose power spectrum the linear denoiser knows
COMPARED = 2**25  # pixels of training images, evenly spread, in which a sample's like is looked for
DRAWN = 2**18  # pixels of all samples together: 16 of 128 x 128, but no fewer than 4
ACROSS = 8  # pictures beside each other in a sheet
COPIED = 0.1  # by how much samples are more like training slices than unseen slices are, where it counts
FLAT = 0.1  # rms contrast, of a range [-1, 1], below which a window is not worth comparing


class Likeness(NamedTuple):
    """The middle of an image, the window of a training image most like it, and how much (1: equal)."""

    middle: Float[Tensor, "p p"]
    window: Float[Tensor, "p p"]
    correlation: float


def likenesses(pictures: Slices, images: Slices, *, halved: bool = True) -> Iterator[Likeness]:
    """Looks everywhere in training images, in all eight orientations, for the middle half of each picture.

    Values in [-1, 1]; correlation of contrast, pixels averaged in pairs first when `halved`.
    """
    small = [_small(image, halved) for image in images]
    for picture in pictures:
        whole = _small(picture, halved)
        part = len(whole) // 2
        start = (len(whole) - part) // 2
        middle = whole[start : start + part, start : start + part]
        turned = torch.stack([torch.rot90(m, k) for m in (middle, middle.T) for k in range(4)])
        best = max((_best(turned, image) for image in small), key=lambda found: found[0])
        correlation, which, window = best
        back = torch.rot90(window, -(which % 4))
        yield Likeness(middle, back.T if which >= 4 else back, correlation)


def _small(image: Tensor, halved: bool) -> Tensor:
    return F.avg_pool2d(image[None], 2)[0] if halved else image


def _best(windows: Float[Tensor, "m p p"], image: Float[Tensor, "h w"]) -> tuple[float, int, Tensor]:
    """The highest correlation of any of the windows with any place of an image: value, window, place."""
    part, shape = windows.shape[-1], image.shape
    contrast = windows - windows.mean((1, 2), keepdim=True)
    product = torch.fft.irfft2(torch.fft.rfft2(image) * torch.fft.rfft2(contrast, s=shape).conj(), s=shape)
    rows, columns = (side - part + 1 for side in shape)
    moments = F.avg_pool2d(torch.stack([image, image.square()])[:, None], part, stride=1)[:, 0]
    spread = (moments[1] - moments[0].square()).clamp(min=FLAT**2).sqrt()
    norm = contrast.square().mean((1, 2)).sqrt().clamp(min=FLAT)[:, None, None] * spread * part**2
    found = product[:, :rows, :columns] / norm
    which, place = divmod(int(found.argmax()), rows * columns)
    row, column = divmod(place, columns)
    return found.flatten()[int(found.argmax())].item(), which, image[row : row + part, column : column + part]


def linear_denoiser(prior: Prior, images: Slices, shape: torch.Size) -> Stationary:
    """Fitted to the centres (`shape`) of training images that are large enough; raises where none is."""
    high, wide = shape
    centres = []
    for image in images:
        top, left = (image.shape[0] - high) // 2, (image.shape[1] - wide) // 2
        if min(top, left) >= 0:
            centres.append(image[top : top + high, left : left + wide])
    if not centres:
        raise ValueError(f"no training image is as large as the validation images ({high} x {wide} pixels)")
    return Stationary.of(_clean(prior, spread_over(centres, FITTED)))


def _clean(prior: Prior, images: Slices) -> Tensor:
    return clean_images(images, (prior.low, prior.high), prior.card.get("phase", 0.0))


def samples_of(prior: Prior, count: int, shape: torch.Size) -> Float[Tensor, "count h w"]:
    """Unconditional samples in [-1, 1], of complex images the magnitude."""
    device = next(prior.parameters()).device
    whole = (count, 2, *shape) if prior.complex else (count, *shape)
    sigmas, noise = ddpm(50, 1.0), torch.randn(whole, generator=stream("sheet", "start")).to(device)
    rng = stream("sheet", "noise")
    samples = ddim(prior.denoise, sigmas[0].item() * noise, sigmas, eta=0.0, rng=rng).cpu()
    return 2 * magnitude(samples) - 1 if prior.complex else samples


def report_prior(
    folder: Path,
    images: Slices,
    validation: Slices,
    device: str,
) -> dict[str, Any]:
    """Pictures of a trained prior, and what they show as numbers, which its card takes up.

    `samples.png`: samples, training slices, and the training windows most like the middle of each sample;
    `validation.png`: the error per noise level, and that of the linear denoiser of the training slices.
    """
    prior = load_prior(folder, device, precision=fast_precision(device))
    shape = validation[0].shape
    count = min(16, max(4, DRAWN // shape.numel()))
    limits = (0.0, prior.high) if prior.complex else (prior.low, prior.high)
    pixels = sum(image.numel() for image in images)
    some = spread_over(images, max(1, len(images) * COMPARED // pixels))
    seen = [to_network_range(image, limits) for image in some]
    held = [to_network_range(image, limits) for image in spread_over(validation, count)]
    samples = samples_of(prior, count, shape)
    alike = list(likenesses(list(samples), seen))
    usual = [found.correlation for found in likenesses(held, seen)]
    linear = linear_denoiser(prior, images, shape)
    errors = validate(linear, _clean(prior, spread_over(validation, VALIDATED)))
    facts = {
        "linear_denoiser_mse": errors,
        "linear_denoiser_loss": denoising_loss(errors),
        "likeness_to_training": {
            "samples": _quartiles([found.correlation for found in alike]),
            "validation": _quartiles(usual),
        },
    }
    add_to_card(folder, facts)
    across = min(count, ACROSS)
    _sheet(folder / "samples.png", samples, spread_over(seen, across), alike[:across])
    if history := read_history(folder):
        _curves(folder / "validation.png", history, errors)
    return facts


def memory(card: Mapping[str, Any]) -> str:
    """What the likeness of a prior's samples to its training slices says, beside that of unseen slices."""
    samples, unseen = (card["likeness_to_training"][kind][2] for kind in ("samples", "validation"))
    said = (
        f"the middle of a sample correlates by {samples:.2f} with the training window most like it, that of "
        f"a slice held back by {unseen:.2f} (medians)"
    )
    if samples < unseen + COPIED:
        return f"{said}: no sign that slices were memorised"
    return f"{said}: it may have memorised slices; train less, with a smaller --rank, or on more slices"


def leave_losses(folder: Path) -> None:
    """`loss.png`: the validation loss of a training so far, by processor time and by views."""
    from matplotlib.figure import Figure

    if not (history := read_history(folder)):
        return
    figure = Figure((9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key in zip(panels, ("seconds", "images_seen"), strict=True):
        losses = [(entry[key], denoising_loss(entry["validation"])) for entry in history if key in entry]
        if losses:
            panel.plot(*zip(*losses, strict=True), marker=".")
        panel.set(xlabel={"seconds": "processor seconds"}.get(key, "views"), yscale="log")
        panel.grid(alpha=0.3, which="both")
        panel.locator_params(axis="x", nbins=6)
    panels[0].set_ylabel("validation loss")
    with replacing(folder / "loss.png") as path:
        figure.savefig(path, dpi=110, format="png")


def _quartiles(values: Sequence[float]) -> list[float]:
    return torch.tensor(values).quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])).tolist()


def _sheet(path: Path, samples: Tensor, slices: Slices, alike: Sequence[Likeness]) -> None:
    from matplotlib.figure import Figure

    across = len(alike)
    bands = [
        ("samples of the prior (50 steps)", samples),
        ("training slices", slices),
        ("middle of the first samples", [found.middle for found in alike]),
        ("most like it in training", [found.window for found in alike]),
    ]
    brightest = torch.stack([picture.max() for picture in slices]).max().item()
    rows = sum(-(-len(pictures) // across) for _, pictures in bands)
    figure = Figure((1.5 * across, 1.65 * rows), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False)
    row = 0
    for title, pictures in bands:
        panels[row, 0].set_title(title, loc="left")
        for at, picture in enumerate(pictures):
            panel = panels[row + at // across, at % across]
            panel.imshow(picture.numpy(), cmap="gray", vmin=-1, vmax=brightest)
        row += -(-len(pictures) // across)
    for panel in panels.flat:
        panel.set_axis_off()
    for panel, found in zip(panels[-1], alike, strict=True):
        panel.text(
            0.97, 0.04, f"{found.correlation:.2f}", color="orange", ha="right", transform=panel.transAxes
        )
    figure.savefig(path, dpi=90)


def _curves(path: Path, history: Sequence[dict[str, Any]], linear: dict[str, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((7, 4.2), layout="constrained")
    panel = figure.subplots()
    for level in history[-1]["validation"]:
        errors = [entry["validation"][level] for entry in history]
        (line,) = panel.plot([entry["images_seen"] for entry in history], errors, marker=".", label=level)
        if level in linear:
            panel.axhline(linear[level], color=line.get_color(), linestyle=":", linewidth=1)
    panel.set(
        xlabel="images seen (dotted: linear denoiser)",
        ylabel="validation error (range -1 ... 1, squared)",
        yscale="log",
    )
    panel.grid(alpha=0.3)
    panel.legend(title="sigma", fontsize="small", ncols=2)
    figure.savefig(path, dpi=110)
