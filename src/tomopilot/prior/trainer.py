"""Network, moving average and optimisers of one training: a step, and the state on disk."""

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tomopilot.nets.build import Network, build_network, fast_precision
from tomopilot.nets.low_rank import add_low_rank, merged, take_weights
from tomopilot.nets.unet import UNet
from tomopilot.prior.augment import Slices, random_views, with_tone
from tomopilot.prior.checkpoint import Prior, load_tensors, save_prior, save_tensors
from tomopilot.prior.denoiser import per_image
from tomopilot.prior.muon import Muon
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.prior.ranks import add_up, share
from tomopilot.prior.schedule import ddpm_sigmas
from tomopilot.prior.training import Training
from tomopilot.randomness import stream

STATE = "state.safetensors"
AT_ONCE = {"cpu": 2**17, "cuda": 2**22}  # pixels of views that go through the network together


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
            self.network.precision = (
                fast_precision(device) if automatic else getattr(torch, training.precision)
            )
            self.average = deepcopy(self.network).requires_grad_(False).eval()
            if training.rank:
                add_low_rank(self.network, training.rank)
        self.optimisers = self._optimisers()
        sigmas = ddpm_sigmas()
        density = torch.exp(-0.5 * ((sigmas.log() - training.noise_centre) / training.noise_width) ** 2)
        self.sigmas, self.chances = sigmas.float(), density * torch.gradient(sigmas.log())[0]

    def _optimisers(self) -> dict[str, torch.optim.AdamW | Muon]:
        """AdamW, and Muon for the matrices of inner layers where the recipe has it and all are trained."""
        setup, matrices = self.training, []
        if setup.muon and not setup.rank:
            if not isinstance(self.network, UNet):
                raise ValueError(
                    "the training setting muon is for networks with `blocks`; set it to 0, or name blocks"
                )
            matrices = self.network.matrices()
        kept = {id(matrix) for matrix in matrices}
        trained = [value for value in self.network.parameters() if value.requires_grad]
        rest = [value for value in trained if id(value) not in kept]
        adam = torch.optim.AdamW(rest, lr=setup.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        return {"optimiser": adam} | ({"muon": Muon(matrices, setup.muon)} if matrices else {})

    def begin_from(self, prior: Prior) -> None:
        """Takes over the weights of a trained prior, of another domain perhaps; the optimiser starts anew."""
        try:
            self.average.load_state_dict(prior.network.state_dict())
        except RuntimeError:
            raise ValueError(
                f"the prior {prior.card.get('name')!r} has the network {prior.card['network']}, "
                f"but the recipe's is {dict(self.training.network)}: use the same"
            ) from None
        take_weights(self.network, self.average.state_dict())

    def update(self, images: Slices, chances: Tensor | None = None) -> float:
        """One step of DDPM training on random views of random images, all randomness derived from the step.

        chances: (n,), of each image to be drawn, in proportion; all alike where there are none
        """
        setup, rng = self.training, stream(self.training.seed, "train", self.step)
        batch, crop = setup.views(self.step)
        chances = torch.ones(len(images)) if chances is None else chances
        wide = torch.tensor([min(image.shape) >= crop for image in images])
        chosen = torch.multinomial(chances * wide, batch, replacement=True, generator=rng)
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
            raise FloatingPointError(
                f"the loss is {loss} at step {self.step}; lower learning_rate and resume"
            )
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        pace = setup.rate(self.step) / setup.learning_rate
        for optimiser, rate in zip(self.optimisers.values(), (setup.learning_rate, setup.muon), strict=False):
            optimiser.param_groups[0]["lr"] = pace * rate
            optimiser.step()
        keep = setup.ema_decay(self.step)
        with torch.no_grad():
            values = merged(self.network)
            for name, average in self.average.named_parameters():
                average.lerp_(values[name], 1 - keep)
        self.step += 1
        return loss

    def _descend(self, noisy: Tensor, times: Float[Tensor, " b"], target: Tensor) -> float:
        """The loss of views, its gradient added up over processes, and over parts that the memory holds."""
        self.network.zero_grad()
        size = max(1, AT_ONCE[self.device.type] // noisy[0, ..., :, :].numel())
        total = torch.zeros((), device=self.device)
        own = share(len(noisy))
        for part in zip(*(values[own].split(size) for values in (noisy, times, target)), strict=True):
            output = self.network(*part[:2])
            loss = (output - part[2]).square().sum() / target.numel()
            loss.backward()
            total += loss.detach()
        add_up([total, *(value.grad for value in self.network.parameters() if value.grad is not None)])
        return total.item()

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
        setup = self.training
        save_tensors(out / STATE, tensors, {"step": self.step, "training": asdict(setup)})
        facts = {
            "network": dict(setup.network),
            **self._nature(),
            "steps": self.step,
            "images_seen": setup.seen(self.step),
            "training": asdict(setup),
        }
        save_prior(out, self.average, {**card, **facts})

    def check_recipe(self, before: Mapping[str, Any], out: Path) -> None:
        """Raises where `out` was trained by another recipe, whatever its `steps`, `calm` and `decay`."""
        now, unset = (json.loads(json.dumps(asdict(setup))) for setup in (self.training, Training()))
        before = unset | before  # what older trainings do not state
        changed = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]
        if changed := sorted(set(changed) - {"steps", "calm", "decay"}):
            raise ValueError(
                f"the recipe differs from the one {out} was started with in {', '.join(changed)}"
            )

    def load(self, out: Path) -> None:
        """Continues from `out`; the recipe must be the same, except for `steps`, `calm` and `decay`."""
        note, tensors = read_state(out)
        self.check_recipe(note["training"], out)
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


def read_state(out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Note and tensors of a training's state."""
    try:
        return load_tensors(out / STATE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{out} holds no training to resume ({error}); start one without --resume") from None


def read_note(out: Path) -> dict[str, Any]:
    """Step and recipe of a training's state."""
    return read_state(out)[0]
