"""All that is said of a live scan before it begins: detector, stage, method, budgets."""

import json
import math
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import ConfigDict

from tomopilot.disk import read_text, typed
from tomopilot.measure.noise import Gaussian, Noise, Poisson
from tomopilot.measure.radon import Radon
from tomopilot.measure.stack import Scouts, Stack, over_height
from tomopilot.prior.checkpoint import folder_of, read_card
from tomopilot.scan.assemble import Parts, assemble, prior_of
from tomopilot.scan.grid import Wedge, candidates
from tomopilot.scan.notices import fits
from tomopilot.scan.parts import Method, check_names
from tomopilot.scan.plan import Plan, pick_device
from tomopilot.scan.virtual import SCOUTS
from tomopilot.units import readable

LIVE = "live"  # the name of what is scanned, in plans
MOST = 2**15  # rows or columns
FALLBACKS = ("golden", "uniform")  # rules that need no samples
FLATS = "flats"  # as noise: photons are counted by how flat fields differ
UNCOUNTED = 1e4  # photons a bin that are taken where too few flats say it


@dataclass(frozen=True)
class Setup:
    """A live scan of parallel projections; each exposure is a frame of rows and columns."""

    columns: int  # of the detector, across the rotation axis
    rows: int = 1  # along the axis: slices of the volume
    name: str = "live scan"
    angles: int | tuple[float, ...] = 180  # over half a turn, or a list in degrees
    wedge: tuple[Wedge, ...] | None = None  # degrees that the stage can reach; None: all
    bins: int | None = None  # columns are averaged to so many; None: as many as the prior knows
    axis: float | None = None  # column of the rotation axis, from 0; None: the middle
    pixel_size: float | None = None  # metres, the width of a column
    counts: bool = True  # frames are counts, with flat and dark fields; else line integrals
    ceiling: float | None = None  # counts at which the detector is saturated; None: as its type ends
    scale: float = 1.0  # line integral of one pixel of image value 1: attenuation per bin
    offset: float = 0.0  # line integral of one pixel of image value 0, as of a holder's
    noise: str = FLATS  # or gaussian:STD of line integrals, or poisson:I0 photons a bin
    prior: str | None = "chip-128"
    posterior: str = "auto"
    policy: str = "variance"
    count: int = 10  # posterior samples
    start: int = 4  # measurements before adaptivity
    scouts: int = SCOUTS  # rows that the scan is chosen by
    seed: int = 0
    device: str = "auto"
    budget: int = 20  # projections
    certain: float | None = None  # dB: enough, once the estimate is expected to be this good
    deadline: float = 30.0  # seconds that a suggestion may take
    fallback: str = "golden"  # the rule that answers at the deadline
    tolerance: float = 0.5  # degrees by which the stage may miss
    drop: float = 0.2  # change of the beam, as a share, that makes a projection unusable
    retries: int = 2  # exposures more of an angle that failed
    flats_every: int = 0  # projections after which flat fields are due again; 0: never
    dose: float = 1.0  # of one projection
    dose_unit: str = "exposures"
    exposure: float = 0.0  # seconds of one projection
    speed: float | None = None  # degrees a second of the stage; None: motion takes no time
    dose_budget: float | None = None
    time_budget: float | None = None  # seconds of exposure and motion

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            self._check(name, 1 <= getattr(self, name) <= MOST, f"a number from 1 to {MOST}")
        self._check("bins", self.bins is None or 1 <= self.bins <= self.columns, f"1 to {self.columns}")
        inside = self.axis is None or 0 <= self.axis <= self.columns - 1
        self._check("axis", inside, f"a column of the detector, 0 to {self.columns - 1}")
        for name in ("scale", "deadline", "tolerance", "drop"):
            self._check(name, 0 < getattr(self, name) < math.inf, "a finite number above 0")
        for name in ("dose", "exposure"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "a finite number, 0 or more")
        for name in ("pixel_size", "ceiling", "speed", "dose_budget", "time_budget"):
            value = getattr(self, name)
            self._check(name, value is None or 0 < value < math.inf, "a finite number above 0, or nothing")
        for name in ("retries", "flats_every"):
            self._check(name, 0 <= getattr(self, name) <= 10_000, "a number from 0 to 10000")
        self._check("offset", math.isfinite(self.offset), "a finite number")
        self._check("scouts", 1 <= self.scouts <= MOST, f"a number from 1 to {MOST}")
        check_names("fallback", [self.fallback], FALLBACKS)
        self._stated()
        if not self.counts and self.noise == FLATS:
            raise ValueError(
                "noise is flats, but line integrals come without flat fields: state it, as in "
                'noise = "gaussian:0.02"'
            )
        if self.policy.startswith("replay:") or self.policy.startswith("oracle"):
            raise ValueError(f"policy {self.policy!r} is for known images; a live scan has none")
        self.plan()

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    @staticmethod
    def from_json(text: str) -> "Setup":
        return typed(Setup, text, "the setup")

    @staticmethod
    def read(path: Path) -> "Setup":
        """Of a TOML file; raises ValueError that says which entry is wrong."""
        try:
            table = tomllib.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"the setup {path} cannot be read ({error})") from None
        return typed(Setup, json.dumps(table, default=str), f"the setup {path}")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def settled(self) -> "Setup":
        """With what was left to the prior and to the machine."""
        bins = self.bins or (read_card(folder_of(self.prior)).get("image_size") if self.prior else None)
        settled = replace(self, bins=min(bins or self.columns, self.columns), device=pick_device(self.device))
        settled._check_pixels()
        return settled

    def plan(self) -> Plan:
        """Its method, checked as that of any scan."""
        method = Method(self.posterior, self.policy, self.prior)
        if not method.learned:
            method = replace(method, prior=None)
        return Plan(
            (LIVE,), (method,), angles=self.angles, wedge=self.wedge, noise=self.noise, count=self.count,
            budget=self.budget, start=self.start, certain=self.certain, seed=self.seed,
            device=pick_device(self.device),
        )  # fmt: skip

    @property
    def middle(self) -> float:
        """The column of the rotation axis."""
        return (self.columns - 1) / 2 if self.axis is None else self.axis

    def operator(self) -> Radon | Stack:
        """What can be measured: all slices at any angle that can be reached."""
        bins = self.bins or self.columns
        width = self.columns / bins
        shift = (self.middle + 0.5) / width - bins / 2
        single = Radon(bins, candidates(self.angles, self.wedge, 180.0), bins, shift)
        return Stack(single, self.rows) if self.rows > 1 else single

    def usual_noise(self) -> Noise:
        """Of line integrals divided by `scale`, where flat fields do not say more."""
        return self._stated() or Poisson(UNCOUNTED, self.scale)

    def _check_pixels(self) -> None:
        """Raises where the prior was trained on pixels of another size."""
        prior = self.plan().methods[0].prior
        if prior is None or self.pixel_size is None:
            return
        pixel = self.pixel_size * self.columns / (self.bins or self.columns)
        known = read_card(folder_of(prior)).get("pixel_size")
        if known and not fits(pixel, known):
            raise ValueError(
                f"the pixels of the estimate are {readable(pixel)} wide, but prior {prior} was trained on "
                f"{known}: use another prior or other bins, or leave pixel_size out of the setup"
            )

    def _stated(self) -> Noise | None:
        kind, _, number = self.noise.partition(":")
        try:
            if self.noise == FLATS:
                return None
            if kind == "gaussian":
                return Gaussian(float(number) / self.scale)
            if kind == "poisson":
                return Poisson(float(number), self.scale)
        except ValueError as error:
            raise ValueError(f"noise {self.noise!r} cannot be used: {error}") from None
        raise ValueError(f"noise {self.noise!r} is unknown; use flats, gaussian:STD or poisson:I0")

    def assembled(self) -> tuple[Parts, Scouts | None]:
        """The parts of the scan, and the slices that it is chosen by."""
        plan, operator = self.plan(), self.operator().to(pick_device(self.device))
        if self.budget > len(operator):
            raise ValueError(
                f"the budget is {self.budget} projections, but {len(operator)} angles can be reached"
            )
        scan, noise = plan.scans[0], self.usual_noise()
        if prior := prior_of(scan.method, plan.device):
            prior.check_shape(operator.image_shape[-2:])
        if isinstance(operator, Stack):
            scouts = Scouts(operator, over_height(self.scouts, self.rows))
            parts = assemble(plan, scan, scouts.operator, noise, slices=scouts.numbers)
        else:
            scouts, parts = None, assemble(plan, scan, operator, noise)
        if guard := parts.experiment.guard:  # an estimate would take too long
            parts.experiment.guard = replace(guard, by_estimate=False)
        return parts, scouts
