"""The settings of a training: what a recipe file holds."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Training:
    """How a prior is trained; one TOML table with these keys is a recipe."""

    network: Mapping[str, Any] = field(default_factory=lambda: {"fold": 2, "widths": [32, 64, 96, 128]})
    prediction: str = "v"
    range: tuple[float, float] = (0.0, 1.0)  # intensities of the images, in their unit
    steps: int = 20_000
    batch: int = 16
    crop: int = 64  # pixels
    rotated: float = 0.5  # share of views turned by any angle
    zoom: float = 1.3
    tone: float = 0.0  # spread of the logarithm of a random gamma, for images without a unit
    evenly: str = ""  # `file`, or the npz array whose values are drawn equally often, such as source
    phase: float = 0.0  # radians, rms, see `prior.phase`; above 0, images are magnitudes of complex ones
    learning_rate: float = 5e-4
    warmup: int = 200  # steps
    decay: float = 0.3  # last share of the steps, in which the learning rate falls to 0
    ema: float = 0.999
    noise_centre: float = -0.4  # log sigma is drawn from this Gaussian over DDPM's times
    noise_width: float = 1.6
    precision: str = "float32"  # or bfloat16: twice as fast where the hardware knows it
    seed: int = 0
    save_every: int = 250  # steps
    validate_every: int = 500  # steps

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "warmup", "save_every", "validate_every"):
            self._check(name, self._whole(name) and getattr(self, name) >= 1, "a whole number above 0")
        self._check("seed", self._whole("seed"), "a whole number")
        limits = {
            "learning_rate": (0, 1),
            "rotated": (0, 1),
            "decay": (0, 1),
            "ema": (0, 1),
            "zoom": (1, 100),
        }
        limits |= {"phase": (0, 100), "tone": (0, 3)}
        limits |= {"noise_centre": (-10, 10), "noise_width": (0.01, 100)}
        for name, (low, high) in limits.items():
            self._check(name, _number(getattr(self, name), low, high), f"a number from {low} to {high}")
        pair = self.range
        ascending = isinstance(pair, tuple) and len(pair) == 2 and all(_number(end) for end in pair)
        self._check("range", ascending and pair[0] < pair[1], "two ascending numbers")
        self._check("evenly", isinstance(self.evenly, str), "'file' or the name of an npz array")
        self._check("prediction", self.prediction in ("v", "epsilon"), "'v' or 'epsilon'")
        self._check("precision", self.precision in ("float32", "bfloat16"), "'float32' or 'bfloat16'")
        self._check(
            "network", isinstance(self.network, Mapping), "a table such as { fold = 2, widths = [32, 64] }"
        )

        self._check_phase()

    def _check_phase(self) -> None:
        if not self.phase and self.network.get("channels", 1) == 1:
            return
        self._check("phase", self.phase > 0, "a number above 0 for a network of 2 channels")
        self._check("network", self.network.get("channels") == 2, "channels = 2 in it, as there is a phase")
        self._check("range", self.range[0] == 0, "0 and the highest magnitude, as there is a phase")

    @property
    def limits(self) -> tuple[float, float]:
        """What the network's [-1, 1] stands for: the range, or real and imaginary parts within it."""
        return (-self.range[1], self.range[1]) if self.phase else self.range

    def _whole(self, name: str) -> bool:
        value = getattr(self, name)
        return isinstance(value, int) and not isinstance(value, bool)

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"the training setting {name} is {getattr(self, name)!r}; expected {expected}")

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, constant, linear decay."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup, left)

    def ema_decay(self, step: int) -> float:
        """Share of the moving average that a step keeps; less at first."""
        return min(self.ema, (1 + step) / (10 + step))


def _number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and math.isfinite(value) and low <= value <= high


def read_training(path: Path | None) -> tuple[Training, dict[str, Any]]:
    """Training and card of a recipe file: TOML with a `name`, a table [training] and a table [card]."""
    if path is None:
        return Training(), {}
    try:
        recipe = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the recipe {path} cannot be read ({error})") from None
    table = recipe.get("training", {})
    if not isinstance(table, dict):
        raise ValueError(f"{path}: training is {table!r}; expected a table [training]")
    known = [entry.name for entry in fields(Training)]
    for key in table:
        if key not in known:
            raise ValueError(
                f"{path}: training key {key!r} is unknown; the known ones are {', '.join(known)}"
            )
    if isinstance(table.get("range"), list):
        table["range"] = tuple(table["range"])
    card = {"name": recipe.get("name", path.stem), **recipe.get("card", {})}
    return Training(**table), json.loads(json.dumps(card, default=str))
