"""The settings of a training: what a recipe file holds."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tomopilot.disk import read_text
from tomopilot.units import lengths

VIEWS = ("crop", "rotated", "turn", "zoom", "reflect", "tone", "noise_centre", "noise_width")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class Training:
    """How a prior is trained; one TOML table with these keys is a recipe."""

    network: Mapping[str, Any] = field(default_factory=lambda: {"fold": 2, "widths": [32, 64, 96, 128]})
    prediction: str = "v"
    range: tuple[float, float] = (0.0, 1.0)  # intensities of the images, in their unit
    steps: int = 20_000  # 0: no end; see `train --hours` and `--finish`
    batch: int = 16
    crop: int = 64  # pixels
    early: Mapping[str, int] = field(default_factory=dict)  # steps, batch and crop of a stage before that one
    bin: int = 1  # pixels of images wider than the largest view are averaged in blocks of so many squared
    rotated: float = 0.5  # share of views turned and magnified
    turn: float = 180.0  # degrees, largest; below 90, the other views are no more than mirrored
    zoom: tuple[float, float] = (1.0, 1.3)
    reflect: bool = True  # images at their edge, where a view leaves them; else the view is magnified to fit
    chances: Mapping[str, float] = field(
        default_factory=dict
    )  # of an image to be drawn, by file; 1 elsewhere
    tone: float = 0.0  # spread of the logarithm of a random gamma, for images without a unit
    evenly: str = ""  # `file`, or the npz array whose values are drawn equally often, such as source
    phase: float = 0.0  # radians, rms, see `prior.phase`; above 0, images are magnitudes of complex ones
    rank: int = 0  # of updates of the convolutions of the prior it starts from; 0: all weights are trained
    learning_rate: float = 5e-4  # of AdamW
    muon: float = 0.0  # learning rate of Muon, for the matrices of inner layers; 0: AdamW for them, too
    warmup: int = 200  # steps
    calm: int = 0  # steps, after which the learning rate falls as the root of the step; 0: never
    decay: float = 0.3  # last share of the steps, in which the learning rate falls to 0
    ema: float = 0.999
    noise_centre: float = -0.4  # log sigma is drawn from this Gaussian over DDPM's times
    noise_width: float = 1.6
    precision: str = "float32"  # bfloat16, or auto: bfloat16 where the hardware is quicker in it
    seed: int = 0
    save_every: int = 250  # steps
    validate_every: int = 500  # steps

    def __post_init__(self) -> None:
        self._check(
            "calm", _number(self.calm, 0) and self.calm == int(self.calm), "a whole number, 0 or more"
        )
        for name in ("batch", "crop", "bin", "warmup", "save_every", "validate_every"):
            self._check(
                name, _whole(getattr(self, name)) and getattr(self, name) >= 1, "a whole number above 0"
            )
        self._check("steps", _whole(self.steps) and self.steps >= 0, "a whole number, 0 for no end")
        self._check("rank", _whole(self.rank) and 0 <= self.rank <= 1024, "a whole number from 0 to 1024")
        self._check("seed", _whole(self.seed), "a whole number")
        limits = {
            "learning_rate": (0, 1),
            "rotated": (0, 1),
            "muon": (0, 1),
            "decay": (0, 1),
            "ema": (0, 1),
            "turn": (0, 180),
        }
        limits |= {"phase": (0, 100), "tone": (0, 3)}
        limits |= {"noise_centre": (-10, 10), "noise_width": (0.01, 100)}
        for name, (low, high) in limits.items():
            self._check(name, _number(getattr(self, name), low, high), f"a number from {low} to {high}")
        self._check(
            "range", _ascending(self.range) and self.range[0] < self.range[1], "two ascending numbers"
        )
        good = _ascending(self.zoom) and 0.25 <= self.zoom[0] <= self.zoom[1] <= 100
        self._check("zoom", good, "two ascending numbers from 0.25 to 100")
        self._check("reflect", isinstance(self.reflect, bool), "true or false")
        self._check("evenly", isinstance(self.evenly, str), "'file' or the name of an npz array")
        self._check("prediction", self.prediction in ("v", "epsilon"), "'v' or 'epsilon'")
        self._check("precision", self.precision in PRECISIONS, " or ".join(map(repr, PRECISIONS)))
        self._check(
            "network", isinstance(self.network, Mapping), "a table such as { fold = 2, widths = [32, 64] }"
        )

        self._check_tables()
        self._check_phase()

    def _check_tables(self) -> None:
        early, chances = self.early, self.chances
        right = isinstance(early, Mapping) and set(early) in (set(), {"steps", "batch", "crop"})
        right = right and all(_whole(value) and value >= 1 for value in early.values())
        self._check("early", right, "a table such as { steps = 1000, batch = 64, crop = 64 }")
        right = isinstance(chances, Mapping) and all(_number(value, 0, 1e6) for value in chances.values())
        self._check("chances", right, "a table of files and numbers such as { 'more.npz' = 0.1 }")

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

    @property
    def largest(self) -> int:
        """Side of the largest views, in pixels."""
        return max(self.crop, self.early.get("crop", 0))

    def views(self, step: int) -> tuple[int, int]:
        """How many views a step takes, and their side in pixels."""
        now = self.early if step < self.early.get("steps", 0) else {"batch": self.batch, "crop": self.crop}
        return now["batch"], now["crop"]

    def seen(self, steps: int) -> int:
        """Views taken in so many steps."""
        first = min(steps, self.early.get("steps", 0))
        return first * self.early.get("batch", 0) + (steps - first) * self.batch

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"the training setting {name} is {getattr(self, name)!r}; expected {expected}")

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, constant or `calm`, linear decay; without an end, no decay."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps) if self.steps else 1.0
        calmed = min(1.0, math.sqrt(self.calm / (step + 1))) if self.calm else 1.0
        return self.learning_rate * calmed * min(1.0, (step + 1) / self.warmup, left)

    def ema_decay(self, step: int) -> float:
        """Share of the moving average that a step keeps; less at first."""
        return min(self.ema, (1 + step) / (10 + step))


def adapting(card: Mapping[str, Any], rank: int = 0) -> Training:
    """Settings to go on from the prior of a card on a few slices: its network, range and views, 400 steps.

    rank: see `Training`
    """
    phase, before = card.get("phase", 0.0), card.get("training", {})
    low, high = card["range"]
    limits = (0.0 if phase else low, high)
    views = {key: before[key] for key in VIEWS if key in before}
    if "zoom" in views:  # once a single number
        zoom = views["zoom"]
        views["zoom"] = tuple(zoom) if isinstance(zoom, list) else (1.0, float(zoom))
    return Training(
        network=card["network"], prediction=card["prediction"], range=limits, phase=phase,
        steps=400, batch=8, rank=rank, learning_rate=1e-3 if rank else 2e-4, warmup=20, ema=0.99,
        precision="auto", save_every=50, validate_every=50, **views,
    )  # fmt: skip


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ascending(pair: Any) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and all(map(_number, pair)) and pair[0] <= pair[1]


def _number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and math.isfinite(value) and low <= value <= high


def read_training(path: Path | None) -> tuple[Training, dict[str, Any]]:
    """Training and card of a recipe file: TOML with a `name`, a table [training] and a table [card]."""
    if path is None:
        return Training(), {}
    try:
        recipe = tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
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
    for key in ("range", "zoom"):
        if isinstance(table.get(key), list):
            table[key] = tuple(table[key])
    if not isinstance(recipe.get("card", {}), dict) or not isinstance(recipe.get("name", ""), str):
        raise ValueError(f"{path}: expected a text as name and a table [card]")
    card = {"name": recipe.get("name", path.stem), **recipe.get("card", {})}
    lengths(str(card.get("pixel_size", "1 m")))
    return Training(**table), json.loads(json.dumps(card, default=str))
