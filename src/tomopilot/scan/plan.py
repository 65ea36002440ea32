"""Everything that is set before scans begin, and all checks of it."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict

from tomopilot.disk import typed
from tomopilot.files.images import VOLUME, check_chosen, single_specs, without_folder
from tomopilot.files.volumes import is_volume, volume_spec
from tomopilot.measure.kind import PROJECTION
from tomopilot.prior.checkpoint import prior_folders
from tomopilot.scan.grid import Wedge, candidates
from tomopilot.scan.parts import PARALLEL, SCORES, Family, Method, check_names, entry, family, pair, rule
from tomopilot.scan.replayed import is_recorded, recorded_spec, settings_of

SIZES = {  # least and most that can be meant
    "angles": (1, 10_000),
    "bins": (1, 2**15),
    "finer": (1, 16),
    "count": (1, 10_000),
    "start": (0, 10_000),
    "prescan": (1, 2**15),
    "scouts": (1, 10_000),
    "stripes": (0, 2**15),
    "workers": (1, 256),
}


def check_size(name: str, size: int | None) -> None:
    """Raises on a size that cannot be meant, before memory is taken for it."""
    least, most = SIZES[name]
    if size is not None and not least <= size <= most:
        raise ValueError(f"{name} is {size}; expected {least} to {most}")


@dataclass(frozen=True)
class Plan:
    """All that determines the numbers of a study; kept with the run, so that resuming needs nothing else."""

    images: tuple[str, ...]  # specs of single images
    methods: tuple[Method, ...]
    operator: str = "radon"
    angles: int | tuple[float, ...] = 180  # over the turn, or a list in degrees
    wedge: tuple[Wedge, ...] | None = None  # that angles can be reached in
    bins: int | None = None
    noise: str = "relative:0.01"
    finer: int = 1
    count: int = 10
    budget: int = 20
    start: int = 4
    certain: float | None = None  # dB: stop before the budget once the estimate is expected to be this good
    at: tuple[int, ...] | None = None  # judge after these many measurements only
    seed: int = 0
    device: str = "cpu"
    prescan: int | None = None  # pixels along a side of a low-resolution image that is known before
    pixel_size: float | None = None  # metres, of all images, whatever their files say
    scouts: int | None = None  # slices of a volume that the scan is chosen by; None: as many as is usual
    stripes: int = 0  # bins over which rings of a measured scan are smoothed away; 0: not at all

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not self.images or not self.methods:
            raise ValueError("a scan needs at least one image and one method")
        check_size("angles", self.angles if isinstance(self.angles, int) else len(self.angles))
        candidates(self.angles, self.wedge, family(self.operator).turn)
        for name in ("bins", "finer", "count", "start", "prescan", "scouts", "stripes"):
            check_size(name, getattr(self, name))
        if self.budget < 1:
            raise ValueError(f"the budget is {self.budget} measurements; expected at least 1")
        if self.at is not None and not all(1 <= count <= self.budget for count in self.at):
            raise ValueError(
                f"counts to judge at are {list(self.at)}; expected 1 to the budget, {self.budget}"
            )
        if self.certain is not None and self.count < 2:
            raise ValueError("certainty is judged from the spread of samples: use a --count of at least 2")
        if self.count < 2 and any(method.adaptive for method in self.methods):
            raise ValueError("an adaptive policy compares samples: use a --count of at least 2")
        for method in self.methods:
            method.check(self.operator)
        self._check_volumes()
        self._check_recorded()

    def _check_recorded(self) -> None:
        recorded = [spec for spec in self.images if is_recorded(spec)]
        if recorded and len(recorded) < len(self.images):
            raise ValueError("measured scans and known images were named; scan the ones or the others")
        if recorded and any(rule(method.policy) == "population" for method in self.methods):
            raise ValueError(
                "population learns an order of other angles than a measured scan has: use uniform"
            )
        if self.stripes and not recorded:
            raise ValueError("stripes are taken out of measured scans only: leave --stripes out")
        for name, usual in (("finer", 1), ("prescan", None), ("wedge", None)):
            if recorded and getattr(self, name) != usual:
                raise ValueError(f"a measured scan is as it was measured: leave --{name} out")

    def _check_volumes(self) -> None:
        volumes = [spec for spec in self.images if is_volume(spec)]
        if self.scouts is not None and not volumes:
            raise ValueError(
                f"scouts is {self.scouts}, but no image is a volume: name one as volume:FILE::0-63, or leave "
                "--scouts out"
            )
        if volumes and family(self.operator).kind != PROJECTION.name:
            raise ValueError(
                f"{self.label(volumes[0])} is a volume, but {self.operator} is for single images: leave "
                f"{VOLUME} out"
            )
        if volumes and self.prescan is not None:
            raise ValueError("a volume has no pre-scan: leave --prescan out")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Plan":
        return typed(Plan, text, "the plan")

    def label(self, spec: str) -> str:
        """An image's name in tables: with as many of its folders as tell it from the others."""
        for folders in range(spec.count("/")):
            short = without_folder(spec, folders)
            if [without_folder(image, folders) for image in self.images].count(short) == 1:
                return short
        return spec

    def named(self, scan: "Scan") -> str:
        """A scan, in a sentence."""
        return f"{self.label(scan.image)} with {scan.method.posterior} and {scan.method.policy}"

    def judges(self, count: int) -> bool:
        return self.at is None or count in self.at

    @property
    def halfway(self) -> int | None:
        """The judged count about half the budget, whose estimates a comparison shows too."""
        counts = [n for n in (range(1, self.budget) if self.at is None else self.at) if n < self.budget]
        return min(counts, key=lambda n: abs(2 * n - self.budget)) if counts else None

    @property
    def scans(self) -> "list[Scan]":
        """The cells of the grid, image by image."""
        return [Scan(image, method) for image, method in product(self.images, self.methods)]


@dataclass(frozen=True)
class Scan:
    """One cell of the grid."""

    image: str
    method: Method

    @property
    def key(self) -> str:
        return json.dumps([self.image, self.method.prior, self.method.posterior, self.method.policy])

    @property
    def halfway(self) -> str:
        """The name of an estimate on the way."""
        return f"{self.key} halfway"


def plan_of(
    images: Sequence[str],
    *,
    priors: Sequence[str] = (),
    posteriors: Sequence[str] = (),
    policies: Sequence[str] = (),
    operator: str = "radon",
    device: str = "auto",
    **rest: Any,
) -> Plan:
    """The plan of a grid of names; what is not named is usual for the operator.

    Posteriors without samples follow the fixed orders only, and those without a prior are taken once.
    """
    if images and is_recorded(images[0]):
        if rest.get("angles") is not None:
            raise ValueError("a measured scan has its own angles: leave --angles out")
        measured = settings_of(images[0])
        operator, rest = measured.pop("operator"), rest | measured
    usual = family(operator)
    usual.check_options(operator, rest)
    for spec in images:
        if not (is_volume(spec) or is_recorded(spec)):
            check_chosen(spec)
    posteriors = [_own_name(name, usual) for name in posteriors or usual.posteriors]
    priors = [pick_prior(name) for name in priors or [usual.prior]]
    grid = [
        Method(posterior, policy, prior)
        for posterior in posteriors
        for policy in policies or usual.policies
        if len(posteriors) == 1 or rule(policy) not in SCORES or entry(pair(posterior)[0]).gives_samples
        for prior in (priors if any(entry(name).needs_prior for name in pair(posterior)) else [None])
    ]
    specs = tuple(dict.fromkeys(chain.from_iterable(map(_single, images))))
    known_rest = {key: value for key, value in rest.items() if value is not None}
    return Plan(
        specs, tuple(dict.fromkeys(grid)), operator=operator, device=pick_device(device), **known_rest
    )


def _single(spec: str) -> list[str]:
    """The specs of single images, volumes or measured scans, by which they can be read again later."""
    if is_recorded(spec):
        return [recorded_spec(spec)]
    return [volume_spec(spec)] if is_volume(spec) else single_specs(spec)


def _own_name(posterior: str, usual: Family) -> str:
    """`auto` is another pair for other measurements than projections."""
    return usual.auto if posterior == "auto" and usual.auto != PARALLEL.auto else posterior


def pick_prior(name: str) -> str:
    """A prior by its name, or by its folder from wherever it is read again."""
    return name if name in prior_folders() or not Path(name).is_dir() else os.path.abspath(name)


def pick_device(name: str) -> str:
    """`auto` is the first GPU where there is one."""
    check_names("device", [name], ["auto", "cpu", "cuda"])
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was requested, but no CUDA GPU is visible; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
