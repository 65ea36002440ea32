"""Every name that a command line or a file can use, and its meaning: one row of a table each."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tomopilot.design.acquisition import AOptimal, LogDet, Oracle, carried, committee, variance
from tomopilot.design.expert import Expert
from tomopilot.design.orders import golden_order, population_order
from tomopilot.design.policy import (
    Policy,
    centre_order,
    centred_bisection,
    equispaced_order,
    random_order,
    uniform_order,
)
from tomopilot.files.images import NamedImage
from tomopilot.measure.fan import Fan
from tomopilot.measure.fourier import Fourier
from tomopilot.measure.kind import PROJECTION, ROW
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation, ZeroFilled
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.ensemble import Bootstrap, Swag
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.laplace import Laplace
from tomopilot.posterior.posterior import Guidance, Posterior
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.records import Forecast

Make = Callable[..., Posterior]


@dataclass(frozen=True)
class Entry:
    """A reconstruction by name.

    `make` takes the prior and half its intensity range, where it needs one, and the options that
    `name(option=value)` gives. `kind` is the only kind of measurement it is for.
    """

    make: Make
    needs_prior: bool = True
    gives_samples: bool = True
    kind: str | None = None


def steps(sigmas: Callable[[float], Tensor], guidance: Callable[..., Guidance], **sampling: Any) -> Make:
    """A guided diffusion over noise levels in units of the prior's scale; options are the guidance's."""
    return lambda prior, scale, **options: DiffusionPosterior(
        prior, guidance(**options), sigmas(scale), **sampling
    )


def scout(guidance: Callable[..., Guidance]) -> Make:
    """Samples to choose by: few levels, and fewer still from the samples before."""
    return lambda prior, scale, **options: DiffusionPosterior(
        prior,
        guidance(**options),
        logarithmic(5 * scale, 0.06 * scale, 15),
        warm=logarithmic(0.7 * scale, 0.06 * scale, 3),
        refresh=24,
    )


def moments(prior: Any, scale: float, **options: Any) -> Posterior:
    """Few levels where data decide little, most where edges find their places, few where grain is left."""
    ends = [(5.0, 0.5, 8), (0.5, 0.1, 26)]
    levels = [logarithmic(high * scale, low * scale, steps + 1)[:-1] for high, low, steps in ends]
    sigmas = torch.cat([*levels, logarithmic(0.1 * scale, 0.04 * scale, 4)])
    options = {"below": 0.52 * scale} | options
    return DiffusionPosterior(prior, Moments(**options), sigmas, weigh=(0.2 * scale, 0.1 * scale))


def hard(prior: Any, scale: float, **options: Any) -> Posterior:
    options = {"scale": scale} | options
    return DiffusionPosterior(prior, Hard(**options), ddpm(50, scale))


def dps(prior: Any, scale: float, **options: Any) -> Posterior:
    """Its share of fresh noise is about that of ancestral sampling."""
    options = {"scale": scale} | options
    return DiffusionPosterior(prior, DPS(**options), ddpm(250, scale), eta=0.27)


def fifty(scale: float) -> Tensor:
    """The paper's number of levels, from where nothing is left of an image."""
    return logarithmic(5 * scale, 0.04 * scale, 50)


POSTERIORS = {
    "soft": Entry(steps(lambda scale: ddpm(50, scale), Soft)),
    "hard": Entry(hard),
    "dps": Entry(dps),
    "prox": Entry(steps(fifty, Prox)),
    "moments": Entry(moments),
    "scout": Entry(scout(Prox)),
    "inpaint": Entry(steps(fifty, Inpaint), kind=ROW.name),
    "scout-inpaint": Entry(scout(Inpaint), kind=ROW.name),
    "fbp": Entry(FilteredBackProjection, needs_prior=False, gives_samples=False, kind=PROJECTION.name),
    "tv": Entry(TotalVariation, needs_prior=False, gives_samples=False, kind=PROJECTION.name),
    "swag": Entry(Swag, needs_prior=False),
    "bootstrap": Entry(Bootstrap, needs_prior=False),
    "laplace": Entry(Laplace, needs_prior=False, kind=PROJECTION.name),
    "zero-filled": Entry(ZeroFilled, needs_prior=False, gives_samples=False, kind=ROW.name),
}
ORACLE = "oracle"  # is given the truth, so it is for scans of known images only
SCORES: dict[str, Callable[..., Callable[[Forecast], Tensor]]] = {  # what adaptive policies maximise
    "variance": lambda: variance,
    "logdet": LogDet,
    "committee": lambda: committee,
    "carried": lambda: carried,
    "aoptimal": AOptimal,
    ORACLE: Oracle,
}
SEQUENTIAL = "sequential"  # one angle after another; of a measured scan, all of it, as it was measured
REPLAY = "replay:"  # and the summary.json of an earlier run

Order = Callable[..., list[int]]  # of designs: from the operator, seed, start and budget, and options


def _from_centre(order: Order) -> Order:
    """Rows in some order, once those about the centre have opened the scan, as in the paper (App. B)."""
    return lambda rows, *rest: [*centre_order(len(rows))[: rest[1]], *order(rows, *rest)]


def population(
    operator: Operator, seed: int, start: int, budget: int, *, slices: Tensor, noise: float = 0.1
) -> list[int]:
    """The best fixed order for images like the slices, as far as the budget goes."""
    return population_order(operator, slices, budget, noise)


@dataclass(frozen=True)
class Family:
    """An operator by name: how it is made for an image, and what is used where nothing is named."""

    make: Callable[..., Operator]  # from an image, angles (radians), bins (or None), and options
    kind: str
    prior: str
    auto: str  # our best pair: chooses by one posterior, estimates by another
    bare: str  # the reconstruction without a prior that a doubtful estimate is shown beside
    posteriors: tuple[str, ...]
    policies: tuple[str, ...]
    order: str  # the best that is fixed before the scan
    opening: Callable[[Operator], list[int]]  # how adaptive scans begin
    orders: Mapping[str, Order] = field(default_factory=dict)
    rules: Mapping[str, Callable[..., Policy]] = field(default_factory=dict)  # from opening, start, options
    unused: Mapping[str, str] = field(default_factory=dict)  # options it has no use for, and why
    turn: float = 180.0  # degrees after which its angles repeat

    @property
    def bare_policies(self) -> tuple[str, ...]:
        """The names of all policies that need no samples."""
        return (*self.orders, *self.rules)

    def check_options(self, name: str, given: Mapping[str, Any]) -> None:
        """Raises on an option that this operator has no use for."""
        for option, why in self.unused.items():
            if given.get(option) is not None:
                raise ValueError(
                    f"{option} is {given[option]}, but {name} has no use for it, as {why}: leave "
                    f"--{option} out"
                )


def width_of(image: NamedImage) -> int:
    """The side of an image that is projected."""
    height, width = image.pixels.shape
    if image.pixels.is_complex():
        raise ValueError(
            f"{image.name} is complex, but projections are of real images: use --operator mri, or save its "
            "magnitude"
        )
    if height != width:
        raise ValueError(
            f"{image.name} is {height} x {width} pixels; projections need a square image: crop or pad it"
        )
    return width


def radon(image: NamedImage, angles: Tensor, bins: int | None) -> Radon:
    """Parallel projections."""
    return Radon(width_of(image), angles, bins)


def fan(
    image: NamedImage,
    angles: Tensor,
    bins: int | None,
    source: float = 4.0,
    detector: float = 5.4,
    **rest: Any,
) -> Fan:
    """Fan-beam projections; distances of source and detector are in widths of the image."""
    width = width_of(image)
    lengths = {"source": width * float(source), "detector": width * float(detector)}
    return Fan(width, angles, bins, **lengths, **rest)


def mri(image: NamedImage, angles: Tensor, bins: int | None) -> Fourier:
    """All rows of k-space."""
    height, width = image.pixels.shape
    return Fourier((height, width))


PARALLEL = Family(
    radon,
    PROJECTION.name,
    prior="chip-128",
    auto="scout:moments",
    bare="tv",
    posteriors=("auto", "fbp", "tv"),
    policies=("variance", "uniform"),
    order="uniform",
    opening=uniform_order,
    orders={
        "uniform": lambda operator, *_: uniform_order(operator),
        "random": lambda operator, seed, *_: random_order(len(operator), seed),
        "golden": lambda operator, *_: golden_order(operator),
        SEQUENTIAL: lambda operator, *_: [*range(len(operator))],
        "population": population,
    },
    rules={"expert": Expert},
)
OPERATORS = {
    "radon": PARALLEL,
    "fan": replace(PARALLEL, make=fan, turn=360.0),
    "mri": Family(
        mri,
        ROW.name,
        prior="brain-128",
        auto="scout-inpaint:inpaint",
        bare="zero-filled",
        posteriors=("auto", "zero-filled"),
        policies=("variance", "low-to-high", "uniform"),
        order="low-to-high",
        opening=lambda rows: centre_order(len(rows)),
        orders={
            "uniform": _from_centre(lambda rows, *_: centred_bisection(len(rows))),
            "random": _from_centre(lambda rows, seed, *_: random_order(len(rows), seed)),
            "low-to-high": lambda rows, *_: centre_order(len(rows)),
            "population": population,
            "equispaced": _from_centre(
                lambda rows, _, start, budget: equispaced_order(len(rows), budget - start)
            ),
        },
        unused={
            "angles": "the image itself says which rows of k-space there are",
            "wedge": "k-space has no angles",
            "bins": "k-space has no detector",
            "finer": "k-space is not projected",
            "prescan": "the rows about the centre are its pre-scan (--start)",
        },
    ),
}


def bare_policies() -> tuple[str, ...]:
    """The names of all policies that need no samples."""
    return tuple(dict.fromkeys(name for family in OPERATORS.values() for name in family.bare_policies))


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises on the first name that is not known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"{kind} {name!r} is unknown; the known ones are {', '.join(known)}")


def family(operator: str) -> Family:
    """What an operator's name stands for, whatever its options."""
    name = part(operator)[0]
    check_names("operator", [name], OPERATORS)
    return OPERATORS[name]


def part(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a part.

    >>> part("soft(steps=20)")
    ('soft', {'steps': 20})
    """
    match = re.fullmatch(r"([^()]*)(?:\((.*)\))?", text.strip(), re.DOTALL)
    try:
        assert match is not None
        call = ast.parse(f"part({match[2] or ''})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return match[1], {str(key.arg): ast.literal_eval(key.value) for key in call.keywords if key.arg}
    except (AssertionError, SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is not understood; write a name, or name(option=value)") from None


def rule(policy: str) -> str:
    """The name of a policy, whatever its options.

    >>> rule("variance(batch=4)"), rule("replay:runs/first/summary.json")
    ('variance', 'replay:')
    """
    return REPLAY if policy.startswith(REPLAY) else part(policy)[0]


Made = TypeVar("Made")


def built(
    text: str,
    make: Callable[..., Made],
    given: Sequence[Any],
    options: Mapping[str, Any],
    what: str = "policy",
) -> Made:
    """What a text names; raises on options that `make` does not know, lacks or finds out of range."""
    known = inspect.signature(make)
    try:
        known.bind(*given, **options)
        return make(*given, **options)
    except TypeError as error:
        names = ", ".join([*known.parameters][len(given) :])
        raise ValueError(
            f"{what} {text!r} cannot be used: {error}; {rule(text)} takes {names or 'no options'}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{what} {text!r} cannot be used: {error}") from None


def entry(text: str) -> Entry:
    """What the name of a posterior stands for, whatever its options."""
    name = part(text)[0]
    check_names("posterior", [name], POSTERIORS)
    return POSTERIORS[name]


def make(text: str, *given: Any) -> Posterior:
    """A posterior by name and options; `given` are prior and scale where it needs them."""
    name, options = part(text)
    try:
        return entry(text).make(*given, **options)
    except TypeError as error:
        raise ValueError(f"{name} does not accept the options {options} ({error})") from None


def pair(posterior: str) -> tuple[str, str]:
    """Who chooses and who estimates: `a:b`, or one posterior for both; `auto` is our best pair.

    >>> pair("scout:prox"), pair("soft(steps=20)")
    (('scout', 'prox'), ('soft(steps=20)', 'soft(steps=20)'))
    """
    if posterior == "auto":
        posterior = PARALLEL.auto
    names = posterior.split(":")
    if len(names) > 2:
        raise ValueError(f"posterior {posterior!r}; expected one name, or two as in scout:moments")
    known = POSTERIORS if len(names) > 1 else ["auto", *POSTERIORS]
    check_names("posterior", [part(name)[0] for name in names], known)
    return names[0], names[-1]


@dataclass(frozen=True)
class Method:
    """One way to scan: a reconstruction and a policy, by name.

    A posterior `a:b` chooses by the samples of a and estimates by those of b; `auto` is our best such pair.
    """

    posterior: str
    policy: str
    prior: str | None

    def __post_init__(self) -> None:
        pair(self.posterior)
        if not self.policy.startswith(REPLAY):
            check_names("policy", [rule(self.policy)], [*SCORES, *bare_policies(), f"{REPLAY}FILE"])
        if self.adaptive and not entry(self.chooser).gives_samples:
            others = " or ".join(_family_of(entry(self.chooser)).bare_policies)
            raise ValueError(f"{self.chooser} gives one image, {self.policy} compares samples; use {others}")
        if self.prior is None and self.learned:
            raise ValueError(
                f"{self.posterior} needs a prior; choose one with --prior (`tomopilot priors` lists them)"
            )

    @property
    def chooser(self) -> str:
        """Whose samples the next design is chosen by."""
        return pair(self.posterior)[0]

    @property
    def estimator(self) -> str:
        """Whose samples are looked at."""
        return pair(self.posterior)[1]

    @property
    def pair(self) -> str:
        """`auto` by its own name."""
        return ":".join(dict.fromkeys(pair(self.posterior)))

    @property
    def learned(self) -> bool:
        """Whether a prior has a part in it."""
        return entry(self.chooser).needs_prior or entry(self.estimator).needs_prior

    @property
    def samples(self) -> bool:
        """Whether its estimates come with samples."""
        return entry(self.estimator).gives_samples

    @property
    def adaptive(self) -> bool:
        """Whether measurements decide what is measured next."""
        return rule(self.policy) in SCORES

    def check(self, operator: str) -> None:
        """Raises where it cannot be used with what is measured."""
        usual = family(operator)
        for name in (self.chooser, self.estimator):
            kind = entry(name).kind
            if kind not in (None, usual.kind):
                fitting = [n for n, other in POSTERIORS.items() if other.kind in (None, usual.kind)]
                raise ValueError(f"{name} is for {kind}s only; {operator} takes {', '.join(fitting)}")
        name = rule(self.policy)
        if name in bare_policies() and name not in usual.bare_policies:
            other = next(kind.kind for kind in OPERATORS.values() if name in kind.bare_policies)
            others = " or ".join(usual.bare_policies)
            raise ValueError(f"{self.policy} is for {other}s; for {usual.kind}s use {others}")


def _family_of(posterior: Entry) -> Family:
    """The first operator that a posterior is for."""
    return next(known for known in OPERATORS.values() if posterior.kind in (None, known.kind))
