"""Training of a prior: classical DDPM with an exponential moving average, resumable to the same bits."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.nets.unet import FoldedUNet
from tomopilot.prior.augment import random_views
from tomopilot.prior.checkpoint import Prior, save_prior, save_tensors, write_atomically
from tomopilot.prior.denoiser import per_image
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.prior.schedule import ddpm_sigmas
from tomopilot.prior.training import Training
from tomopilot.randomness import stream

LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # validation noise, for images in [-1, 1]
VALIDATED = 48  # images, spread over those given
STATE, HISTORY = "state.safetensors", "history.json"


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


def _build(settings: Mapping[str, Any]) -> FoldedUNet:
    try:
        return FoldedUNet(**settings)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"the training setting network is {settings!r}; it cannot be built ({error})"
        ) from None


class Trainer:
    """Network, moving average and optimiser of one training; `train` steps it, `save` and `load` keep it."""

    def __init__(self, training: Training, device: torch.device | str = "cpu") -> None:
        self.training, self.device, self.step = training, torch.device(device), 0
        with torch.random.fork_rng():
            torch.manual_seed(training.seed)
            self.network = _build(training.network).to(device)
        self.network.precision = getattr(torch, training.precision)
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=training.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        sigmas = ddpm_sigmas()
        density = torch.exp(-0.5 * ((sigmas.log() - training.noise_centre) / training.noise_width) ** 2)
        self.sigmas, self.chances = sigmas.float(), density * torch.gradient(sigmas.log())[0]

    def begin_from(self, prior: Prior) -> None:
        """Takes over the weights of a trained prior, of another domain perhaps; the optimiser starts anew."""
        try:
            self.network.load_state_dict(prior.network.state_dict())
        except RuntimeError:
            raise ValueError(
                f"the prior {prior.card.get('name')!r} has the network {prior.card['network']}, "
                f"but the recipe's is {dict(self.training.network)}: use the same"
            ) from None
        self.average.load_state_dict(self.network.state_dict())

    def update(self, images: Tensor) -> float:
        """One step of DDPM training on random views of random images; everything random hangs on the step."""
        setup, rng = self.training, stream(self.training.seed, "train", self.step)
        chosen = images[torch.randint(len(images), (setup.batch,), generator=rng)]
        views = random_views(
            to_network_range(chosen, setup.limits),
            setup.crop,
            zoom=setup.zoom,
            rotated=setup.rotated,
            rng=rng,
        )
        if setup.phase:
            shape, whole = views.shape[1:], images.shape[1:]
            views = with_phase(views, smooth_phase(setup.batch, shape, setup.phase, rng=rng, whole=whole))
        views = views.to(self.device)
        noise = torch.randn(views.shape, generator=rng).to(self.device)
        times = torch.multinomial(self.chances, setup.batch, replacement=True, generator=rng)
        sigma = per_image(self.sigmas[times], views)
        a = (1 + sigma.square()).rsqrt()
        target = a * (noise - sigma * views) if setup.prediction == "v" else noise
        self.optimiser.param_groups[0]["lr"] = setup.rate(self.step)
        output = self.network(a * (views + sigma * noise), times.to(self.device, torch.float32))
        loss = (output - target).square().mean()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.step}; lower learning_rate and resume"
            )
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        keep = setup.ema_decay(self.step)
        with torch.no_grad():
            for average, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(value, 1 - keep)
        self.step += 1
        return loss.item()

    def prior(self, card: Mapping[str, Any]) -> Prior:
        """The moving average as a prior, in image units."""
        return Prior(self.average, {**card, **self._nature()})

    def _nature(self) -> dict[str, Any]:
        """What a card must say of the images, for the network to be used."""
        setup = self.training
        nature = {"prediction": setup.prediction, "range": list(setup.limits)}
        return {**nature, "phase": setup.phase} if setup.phase else nature

    def save(self, out: Path, card: Mapping[str, Any]) -> None:
        """State first, then the prior: a kill between the two leaves both loadable."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        note = json.dumps({"step": self.step, "training": asdict(self.training)})
        save_tensors(out / STATE, tensors, note)
        setup = self.training
        facts = {
            "network": dict(setup.network),
            **self._nature(),
            "steps": self.step,
            "images_seen": self.step * setup.batch,
            "training": asdict(setup),
        }
        save_prior(out, self.average, {**card, **facts})

    def load(self, out: Path) -> None:
        """Continues from `out`; the recipe must be the same, except for its number of steps."""
        try:
            with safetensors.safe_open(out / STATE, "pt") as file:
                note = json.loads(file.metadata()["note"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"{out} holds no training to resume ({error}); start one without --resume"
            ) from None
        now = json.loads(json.dumps(asdict(self.training)))
        before = {"phase": 0.0, **note["training"]}  # trainings from before complex images have none
        changed = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]
        changed = sorted(set(changed) - {"steps"})
        if changed:
            raise ValueError(
                f"the recipe differs from the one {out} was started with in {', '.join(changed)}"
            )
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            groups.setdefault(part, {})[rest] = tensor
        self.network.load_state_dict(groups["network"])
        self.average.load_state_dict(groups["average"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups.get("optimiser", {}).items():
            index, rest = name.split(".", 1)
            moments.setdefault(int(index), {})[rest] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.step = note["step"]


def to_network_range(images: Tensor, limits: tuple[float, float]) -> Float[Tensor, "n h w"]:
    """Intensities in `limits` to [-1, 1]; 8-bit images are stored as counts of 1/255."""
    low, high = limits
    values = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    return (values - low) / (high - low) * 2 - 1


@torch.no_grad()
def validate(prior: Prior, images: Float[Tensor, "n h w"]) -> dict[str, float]:
    """Mean squared error of the denoised image at each noise level, for images in [-1, 1]."""
    clean = to_network_range(images, (prior.low, prior.high))
    if prior.complex:
        rng = stream("validate", "phase")
        clean = with_phase(clean, smooth_phase(len(clean), clean.shape[1:], prior.card["phase"], rng=rng))
    clean = clean.to(next(prior.parameters()).device)
    errors = {}
    for level in LEVELS:
        noise = torch.randn(clean.shape, generator=stream("validate", str(level))).to(clean)
        sigma = torch.full((len(clean),), level)
        batches = zip((clean + level * noise).split(16), sigma.split(16), clean.split(16), strict=True)
        errors[str(level)] = sum(
            (prior.denoise(noisy, s) - truth).square().flatten(1).mean(1).sum().item()
            for noisy, s, truth in batches
        ) / len(clean)
    return errors


def train(
    images: Tensor,
    training: Training,
    out: Path,
    *,
    validation: Tensor,
    card: Mapping[str, Any],
    device: torch.device | str = "cpu",
    resume: bool = False,
    start: Prior | None = None,
) -> Iterator[Progress]:
    """Trains on `images` (n, h, w), saving into `out`; yields each step, so that the caller may watch."""
    validation = validation[torch.linspace(0, len(validation) - 1, min(VALIDATED, len(validation))).long()]
    trainer = Trainer(training, device)
    _check_images(images, trainer)
    _check_images(validation, trainer)
    out.mkdir(parents=True, exist_ok=True)
    if start is not None:
        trainer.begin_from(start)
    history: list[dict[str, Any]] = []
    if resume:
        trainer.load(out)
        history = [entry for entry in read_history(out) if entry["step"] <= trainer.step]
    begun, first = time.monotonic(), trainer.step
    while trainer.step < training.steps:
        loss = trainer.update(images)
        last = trainer.step == training.steps
        errors = None
        if last or trainer.step % training.validate_every == 0:
            errors = validate(trainer.prior(card), validation)
            history.append(
                {"step": trainer.step, "images_seen": trainer.step * training.batch, "validation": errors}
            )
        if last or trainer.step % training.save_every == 0:
            write_atomically(out / HISTORY, json.dumps(history, indent=1).encode())
            measured = history[-1]["validation"] if history else None
            trainer.save(
                out, {**card, "validation_mse": measured, "validation_loss": denoising_loss(measured)}
            )
        speed = (trainer.step - first) / (time.monotonic() - begun)
        yield Progress(
            trainer.step, trainer.step * training.batch, loss, speed * training.batch,
            (training.steps - trainer.step) / speed, errors,
        )  # fmt: skip


def _check_images(images: Tensor, trainer: Trainer) -> None:
    """Raises where images cannot be trained on: their size, the size of views of them, or their values."""
    setup, multiple = trainer.training, trainer.network.multiple
    sides = {"crop": setup.crop, "height": images.shape[1], "width": images.shape[2]}
    for name, side in sides.items():
        if side % multiple or side < setup.crop:
            raise ValueError(
                f"the {name} of the images is {side} pixels; this network wants multiples of {multiple}, "
                f"no less than the crop of {setup.crop}: crop or rescale the images, or change the recipe"
            )
    if setup.phase and images.min() < 0:
        raise ValueError(
            f"the images go down to {images.min():g}, but the recipe has a phase, so they are magnitudes: "
            "take their absolute value, or set phase = 0 for real images"
        )
    if to_network_range(images, setup.limits).abs().max() > 1.5:
        raise ValueError(
            f"the images go from {images.min():g} to {images.max():g}, but the recipe's range is "
            f"{list(setup.range)}: rescale them or change the range"
        )


def read_history(out: Path) -> list[dict[str, Any]]:
    """The validation curve of a training; empty where it is missing or damaged."""
    try:
        return json.loads((out / HISTORY).read_text())
    except (OSError, ValueError):
        return []


def denoising_loss(errors: Mapping[str, float] | None) -> float | None:
    """The training loss (of v) at the validation levels, averaged: mse (1 + 1/sigma^2)."""
    if errors is None:
        return None
    return sum(mse * (1 + 1 / float(level) ** 2) for level, mse in errors.items()) / len(errors)
