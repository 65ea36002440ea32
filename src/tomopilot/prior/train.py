"""Training of a prior: classical DDPM with an exponential moving average, resumable to the same bits."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tomopilot.nets.build import Network, build_network, fast_precision
from tomopilot.nets.unet import UNet
from tomopilot.prior.augment import Slices, random_views, with_tone
from tomopilot.prior.checkpoint import Prior, save_prior, save_tensors, write_atomically
from tomopilot.prior.denoiser import Denoiser, per_image
from tomopilot.prior.muon import Muon
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.prior.schedule import ddpm_sigmas
from tomopilot.prior.training import Training
from tomopilot.randomness import stream

LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # validation noise, for images in [-1, 1]
VALIDATED = 48  # images, spread over those given
STATE, HISTORY, CLOCK = "state.safetensors", "history.json", "clock.json"
AT_ONCE = {"cpu": 2**17, "cuda": 2**22}  # pixels of views that go through the network together
FINISHED = "final"  # folder of a training's decayed branch, within its own


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


def _build(settings: Mapping[str, Any]) -> Network:
    try:
        return build_network(settings)
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
        automatic = training.precision == "auto"
        self.network.precision = fast_precision(device) if automatic else getattr(torch, training.precision)
        self.average = deepcopy(self.network).requires_grad_(False).eval()
        self.optimisers = self._optimisers()
        sigmas = ddpm_sigmas()
        density = torch.exp(-0.5 * ((sigmas.log() - training.noise_centre) / training.noise_width) ** 2)
        self.sigmas, self.chances = sigmas.float(), density * torch.gradient(sigmas.log())[0]

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW, and Muon for the matrices of inner layers where the recipe has it."""
        setup, matrices = self.training, []
        if setup.muon:
            if not isinstance(self.network, UNet):
                raise ValueError(
                    "the training setting muon is for networks with `blocks`; set it to 0, or name blocks"
                )
            matrices = self.network.matrices()
        kept = {id(matrix) for matrix in matrices}
        rest = [value for value in self.network.parameters() if id(value) not in kept]
        adam = torch.optim.AdamW(rest, lr=setup.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        return {"optimiser": adam} | ({"muon": Muon(matrices, setup.muon)} if matrices else {})

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

    def update(self, images: Slices, chances: Tensor | None = None) -> float:
        """One step of DDPM training on random views of random images; everything random hangs on the step.

        chances: (n,), of each image to be drawn, in proportion; all alike where there are none
        """
        setup, rng = self.training, stream(self.training.seed, "train", self.step)
        batch, crop = setup.views(self.step)
        chances = torch.ones(len(images)) if chances is None else chances
        chosen = torch.multinomial(chances, batch, replacement=True, generator=rng)
        views = random_views(
            [to_network_range(images[i], setup.limits) for i in chosen.tolist()],
            crop,
            zoom=setup.zoom,
            rotated=setup.rotated,
            rng=rng,
            turn=setup.turn,
            reflect=setup.reflect,
        )
        if setup.tone:
            views = with_tone(views, setup.tone, rng)
        if setup.phase:
            shape, whole = views.shape[1:], images[0].shape
            views = with_phase(views, smooth_phase(batch, shape, setup.phase, rng=rng, whole=whole))
        views = views.to(self.device)
        noise = torch.randn(views.shape, generator=rng).to(self.device)
        times = torch.multinomial(self.chances, batch, replacement=True, generator=rng)
        sigma = per_image(self.sigmas[times], views)
        a = (1 + sigma.square()).rsqrt()
        target = a * (noise - sigma * views) if setup.prediction == "v" else noise
        loss = self._descend(a * (views + sigma * noise), times.to(self.device, torch.float32), target)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.step}; lower learning_rate and resume")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        pace = setup.rate(self.step) / setup.learning_rate
        for optimiser, rate in zip(self.optimisers.values(), (setup.learning_rate, setup.muon), strict=False):
            optimiser.param_groups[0]["lr"] = pace * rate
            optimiser.step()
        keep = setup.ema_decay(self.step)
        with torch.no_grad():
            for average, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(value, 1 - keep)
        self.step += 1
        return loss

    def _descend(self, noisy: Tensor, times: Float[Tensor, " b"], target: Tensor) -> float:
        """The loss of views, its gradient added up over parts that the memory holds."""
        self.network.zero_grad()
        size = max(1, AT_ONCE[self.device.type] // noisy[0, ..., :, :].numel())
        total = 0.0
        for part in zip(noisy.split(size), times.split(size), target.split(size), strict=True):
            output = self.network(*part[:2])
            loss = (output - part[2]).square().sum() / target.numel()
            loss.backward()
            total += loss.item()
        return total

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
        for kind, optimiser in self.optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"{kind}.{index}.{name}": value for name, value in moments.items()}
        note = json.dumps({"step": self.step, "training": asdict(self.training)})
        save_tensors(out / STATE, tensors, note)
        setup = self.training
        facts = {
            "network": dict(setup.network),
            **self._nature(),
            "steps": self.step,
            "images_seen": setup.seen(self.step),
            "training": asdict(setup),
        }
        save_prior(out, self.average, {**card, **facts})

    def load(self, out: Path) -> None:
        """Continues from `out`; the recipe must be the same, except for its number of steps."""
        note, tensors = _read_state(out)
        now = json.loads(json.dumps(asdict(self.training)))
        unset = asdict(Training())  # what older trainings do not state
        before = json.loads(json.dumps(unset)) | note["training"]
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
        for kind, optimiser in self.optimisers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name, tensor in groups.get(kind, {}).items():
                index, rest = name.split(".", 1)
                moments.setdefault(int(index), {})[rest] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        self.step = note["step"]


def to_network_range(images: Tensor, limits: tuple[float, float]) -> Float[Tensor, "n h w"]:
    """Intensities in `limits` to [-1, 1]; 8-bit images are stored as counts of 1/255."""
    low, high = limits
    values = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    return (values - low) / (high - low) * 2 - 1


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

    Validation images are of one size. With `groups`, one name an image, every group is drawn equally often, and
    within it an image by its weight. It ends after the recipe's steps, or once `hours` went into steps: of the
    processor, all threads together, or of the clock on a GPU.
    """
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
        seconds = _read_clock(out)
    begun, first = seconds, trainer.step
    while (trainer.step < training.steps or not training.steps) and seconds < 3600 * hours:
        before = _now(trainer.device)
        loss = trainer.update(images, chances)
        seconds += _now(trainer.device) - before
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
    """Folder and recipe of the branch in which the rate falls to 0 from where a training without end stands.

    It is resumed like any other training; the one that it comes from stays as it is and can go on. A branch that
    was finished makes room for one from a later state.
    """
    final, step = out / FINISHED, read_note(out)["step"]
    steps = round(step / (1 - training.decay))
    begun = read_note(final) if (final / STATE).is_file() else None
    if begun is not None and (begun["step"] < begun["training"]["steps"] or begun["training"]["steps"] == steps):
        return final, replace(training, steps=begun["training"]["steps"])
    final.mkdir(exist_ok=True)
    for name in (HISTORY, CLOCK):
        if (out / name).is_file():
            write_atomically(final / name, (out / name).read_bytes())
    _, tensors = _read_state(out)
    note = read_note(out)
    note["training"]["steps"] = steps
    save_tensors(final / STATE, tensors, json.dumps(note))
    return final, replace(training, steps=steps)


def binned(image: Float[Tensor, "h w"], training: Training) -> Float[Tensor, "h2 w2"]:
    """An image wider than the largest view, averaged in blocks as the recipe says; others as they are."""
    if training.bin == 1 or image.shape[-1] <= training.largest:
        return image
    return F.avg_pool2d(image[None], training.bin)[0]


def _now(device: torch.device) -> float:
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def _read_clock(out: Path) -> float:
    try:
        return float(json.loads((out / CLOCK).read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _read_state(out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Note and tensors of a training's state."""
    try:
        with safetensors.safe_open(out / STATE, "pt") as file:
            return json.loads(file.metadata()["note"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{out} holds no training to resume ({error}); start one without --resume"
        ) from None


def read_note(out: Path) -> dict[str, Any]:
    """Step and recipe of a training's state."""
    return _read_state(out)[0]


def _chances(groups: Sequence[str], weights: Sequence[float]) -> Float[Tensor, " n"]:
    """Of each image to be drawn: all groups alike, and by weight within a group."""
    totals = Counter[str]()
    for group, weight in zip(groups, weights, strict=True):
        totals[group] += weight  # pyright: ignore[reportArgumentType]
    return torch.tensor([w / max(totals[g], 1e-30) for g, w in zip(groups, weights, strict=True)])


def _check_images(images: Slices, trainer: Trainer) -> None:
    """Raises where images cannot be trained on: their size, the size of views of them, or their values."""
    setup, multiple = trainer.training, trainer.network.multiple
    sides = [("crop", setup.crop), ("crop", setup.largest), *((("height", "width")[a], i.shape[a]) for i in images for a in (0, 1))]
    for name, side in sides:
        if side % multiple or side < setup.largest:
            raise ValueError(
                f"the {name} of the images is {side} pixels; this network wants multiples of {multiple}, "
                f"no less than the crop of {setup.largest}: crop or rescale the images, or change the recipe"
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
        return json.loads((out / HISTORY).read_text())
    except (OSError, ValueError):
        return []


def denoising_loss(errors: Mapping[str, float] | None) -> float | None:
    """The training loss (of v) at the validation levels, averaged: mse (1 + 1/sigma^2)."""
    if errors is None:
        return None
    return sum(mse * (1 + 1 / float(level) ** 2) for level, mse in errors.items()) / len(errors)
