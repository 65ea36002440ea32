"""Training of a prior: classical DDPM with an exponential moving average, resumable to the same bits."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, FiniteFloat, PositiveFloat
from torch import Tensor

from tomopilot.disk import read_text, typed, write_atomically
from tomopilot.prior.augment import Slices
from tomopilot.prior.checkpoint import Prior, load_prior, save_tensors
from tomopilot.prior.denoiser import Denoiser
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.prior.ranks import longest
from tomopilot.prior.trainer import STATE, Trainer, read_note, read_state, to_network_range
from tomopilot.prior.training import Training
from tomopilot.randomness import stream

LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # validation noise, for images in [-1, 1]
VALIDATED = 48  # images, spread over those given
HISTORY, CLOCK = "history.json", "clock.json"
FINISHED = "final"  # folder of a training's decayed branch, within its own


class Entry(BaseModel):
    """A line of a training's history."""

    step: int
    images_seen: int
    seconds: FiniteFloat = 0.0
    validation: dict[PositiveFloat, PositiveFloat]  # see `validate`


def _natural(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


@dataclass(frozen=True)
class Progress:
    """What one training step tells whoever watches."""

    step: int  # steps done
    images_seen: int
    loss: float
    images_per_second: float
    seconds_left: float
    validation: dict[str, float] | None  # sigma -> mean squared error of the denoised image, range [-1, 1]


def clean_images(images: Slices, limits: tuple[float, float], phase: float) -> Tensor:
    """Images of one size as the network would see them without noise: (n, h, w), or (n, 2, h, w) complex."""
    clean = torch.stack([to_network_range(image, limits) for image in images])
    if not phase:
        return clean
    rng = stream("validate", "phase")
    return with_phase(clean, smooth_phase(len(clean), clean.shape[1:], phase, rng=rng))


@torch.no_grad()
def validate(denoise: Denoiser, clean: Float[Tensor, "n *image"]) -> dict[str, float]:
    """Mean squared error of denoised images at each noise level, for images in [-1, 1]."""
    errors = {}
    for level in LEVELS:
        noise = torch.randn(clean.shape, generator=stream("validate", str(level))).to(clean)
        sigma = torch.full((len(clean),), level)
        batches = zip((clean + level * noise).split(16), sigma.split(16), clean.split(16), strict=True)
        errors[str(level)] = sum(
            (denoise(noisy, s) - truth).square().flatten(1).mean(1).sum().item()
            for noisy, s, truth in batches
        ) / len(clean)
    return errors


def spread_over(images: Slices, count: int) -> list[Tensor]:
    """At most `count` of the images, evenly spread."""
    return [images[i] for i in torch.linspace(0, len(images) - 1, min(count, len(images))).int().tolist()]


def train(
    images: Slices,
    training: Training,
    out: Path,
    *,
    validation: Slices,
    card: Mapping[str, Any],
    groups: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
    resume: bool = False,
    start: Prior | None = None,
    hours: float = math.inf,
) -> Iterator[Progress]:
    """Trains on `images` (h, w), saving into `out`; yields each step, so that the caller may watch.

    Validation images are of one size. With `groups`, one name an image, every group is drawn equally often,
    and within it an image by its weight. It ends after the recipe's steps, or once `hours` went into steps:
    of the processor, all threads together, or of the clock on a GPU.
    """
    if training.rank and start is None and not resume:
        raise ValueError(f"rank {training.rank} is for updates of a prior: name it with --start-from")
    trainer = Trainer(training, device)
    images, validation = ([binned(i, training) for i in part] for part in (images, validation))
    _check_images(images, trainer)
    _check_images(validation, trainer)
    if len({image.shape for image in validation}) > 1:
        raise ValueError("the validation images have several sizes: crop or rescale them to one")
    clean = clean_images(spread_over(validation, VALIDATED), training.limits, training.phase).to(device)
    chances = _chances(groups or [""] * len(images), weights or [1.0] * len(images))
    out.mkdir(parents=True, exist_ok=True)
    if start is not None:
        trainer.begin_from(start)
    history, seconds = [], 0.0
    if resume:
        trainer.load(out)
        history = [entry for entry in read_history(out) if entry["step"] <= trainer.step]
        seconds = read_clock(out)
    begun, first = seconds, trainer.step
    while (trainer.step < training.steps or not training.steps) and seconds < 3600 * hours:
        before = _now(trainer.device)
        loss = trainer.update(images, chances)
        seconds += longest(_now(trainer.device) - before, trainer.device)
        last, errors = trainer.step == training.steps or seconds >= 3600 * hours, None
        if last or trainer.step % training.validate_every == 0:
            errors = validate(trainer.prior(card).denoise, clean)
            seen = {"images_seen": training.seen(trainer.step), "seconds": round(seconds, 1)}
            history.append({"step": trainer.step, **seen, "validation": errors})
        if last or trainer.step % training.save_every == 0:
            write_atomically(out / HISTORY, json.dumps(history, indent=1).encode())
            measured = history[-1]["validation"] if history else None
            trainer.save(
                out, {**card, "validation_mse": measured, "validation_loss": denoising_loss(measured)}
            )
            write_atomically(out / CLOCK, json.dumps({"seconds": seconds}).encode())
        pace = (seconds - begun) / (trainer.step - first)
        left = min((training.steps or math.inf) - trainer.step, (3600 * hours - seconds) / pace) * pace
        views = training.views(trainer.step - 1)[0] / pace
        yield Progress(trainer.step, training.seen(trainer.step), loss, views, left, errors)


def branched(out: Path, training: Training) -> tuple[Path, Training]:
    """Folder and recipe of the branch in which the rate falls to 0, from where a training without end stands.

    It is resumed like any other training; the one that it comes from stays as it is and can go on. A branch
    that was finished makes room for one from a later state.
    """
    final, step = out / FINISHED, read_note(out)["step"]
    steps = max(step + 1, round(step / (1 - training.decay)))
    begun = read_note(final) if (final / STATE).is_file() else None
    if begun is not None and (
        begun["step"] < begun["training"]["steps"] or begun["training"]["steps"] == steps
    ):
        return final, replace(training, **{key: begun["training"][key] for key in ("steps", "decay")})
    final.mkdir(exist_ok=True)
    for name in (HISTORY, CLOCK):
        if (out / name).is_file():
            write_atomically(final / name, (out / name).read_bytes())
    note, tensors = read_state(out)
    note["training"] |= {"steps": steps, "decay": training.decay}
    save_tensors(final / STATE, tensors, note)
    return final, replace(training, steps=steps)


def revive(kept: Path, out: Path, training: Training) -> None:
    """Puts into `out` the state of a training of which only a prior was kept; its optimisers start anew.

    Raises ValueError where the prior comes from another recipe.
    """
    prior = load_prior(kept)
    trainer = Trainer(training)
    trainer.check_recipe(prior.card.get("training", {}), kept)
    trainer.begin_from(prior)
    trainer.step = prior.card["steps"]
    out.mkdir(parents=True, exist_ok=True)
    history = read_history(kept)
    write_atomically(out / HISTORY, json.dumps(history, indent=1).encode())
    clock = {"seconds": history[-1]["seconds"] if history else 0.0}
    write_atomically(out / CLOCK, json.dumps(clock).encode())
    trainer.save(out, prior.card)


def binned(image: Float[Tensor, "h w"], training: Training) -> Float[Tensor, "h2 w2"]:
    """An image wider than the largest view, averaged in blocks as the recipe says; others as they are."""
    if training.bin == 1 or image.shape[-1] <= training.largest:
        return image
    return F.avg_pool2d(image[None], training.bin)[0]


def _now(device: torch.device) -> float:
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def holds_training(out: Path) -> bool:
    """Whether a training stands in a folder."""
    return (out / STATE).exists()


def read_clock(out: Path) -> float:
    """Seconds that a training has taken so far; 0 where nothing says so."""
    try:
        return float(json.loads((out / CLOCK).read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _chances(groups: Sequence[str], weights: Sequence[float]) -> Float[Tensor, " n"]:
    """Of each image to be drawn: all groups alike, and by weight within a group."""
    totals = Counter[str]()
    for group, weight in zip(groups, weights, strict=True):
        totals[group] += weight  # pyright: ignore[reportArgumentType]
    return torch.tensor([w / max(totals[g], 1e-30) for g, w in zip(groups, weights, strict=True)])


def _check_images(images: Slices, trainer: Trainer) -> None:
    """Raises where images cannot be trained on: their size, the size of views of them, or their values."""
    setup, multiple = trainer.training, trainer.network.multiple
    least = min(setup.crop, setup.early.get("crop", setup.crop))
    sides = [(("height", "width")[a], i.shape[a], least) for i in images for a in (0, 1)]
    sides += [("crop", crop, crop) for crop in (setup.crop, setup.largest)]
    sides += [("largest side", max(min(image.shape) for image in images), setup.largest)]
    for name, side, crop in sides:
        if side % multiple or side < crop:
            raise ValueError(
                f"the {name} of the images is {side} pixels; this network wants multiples of {multiple}, "
                f"no less than the crop of {crop}: crop or rescale the images, or change the recipe"
            )
    if setup.phase and len({image.shape for image in images}) > 1:
        raise ValueError(
            "the images have several sizes, but the recipe has a phase, which is as wide as the image: "
            "crop or rescale them to one size"
        )
    low = min(image.min().item() for image in images)
    high = max(image.max().item() for image in images)
    if setup.phase and low < 0:
        raise ValueError(
            f"the images go down to {low:g}, but the recipe has a phase, so they are magnitudes: "
            "take their absolute value, or set phase = 0 for real images"
        )
    ends = [to_network_range(image, setup.limits).abs().max().item() for image in images]
    if max(ends) > 1.5:
        raise ValueError(
            f"the images go from {low:g} to {high:g}, but the recipe's range is "
            f"{list(setup.range)}: rescale them or change the range"
        )


def read_history(out: Path) -> list[dict[str, Any]]:
    """The validation curve of a training; empty where it is missing or damaged."""
    try:
        text = read_text(out / HISTORY)
        typed(list[Entry], text, "it")
    except (OSError, ValueError):
        return []
    history = json.loads(text)
    levels = {tuple(entry["validation"]) for entry in history}
    return history if len(levels) == 1 else []


def denoising_loss(errors: Mapping[str, float] | None) -> float | None:
    """The training loss (of v) at the validation levels, averaged: mse (1 + 1/sigma^2)."""
    if errors is None:
        return None
    return sum(mse * (1 + 1 / float(level) ** 2) for level, mse in errors.items()) / len(errors)
