"""Names to parts: the tables behind the command line. Everything else builds its parts directly."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import (
    Greedy,
    Guarded,
    InOrder,
    Policy,
    bisect_order,
    centre_order,
    centred_bisection,
    equispaced_order,
    random_order,
)
from tomopilot.design.trust import Alarm, Strangeness, Watch
from tomopilot.files.images import NamedImage
from tomopilot.files.replay import recorded_designs
from tomopilot.measure.fourier import Fourier, to_channels
from tomopilot.measure.noise import Gaussian, Noise, Poisson
from tomopilot.measure.operator import Operator
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.posterior.classical import FilteredBackProjection, TotalVariation, ZeroFilled
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.dps import DPS
from tomopilot.posterior.guidance.hard import Hard
from tomopilot.posterior.guidance.inpaint import Inpaint
from tomopilot.posterior.guidance.moments import Moments
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.posterior.inflated import Inflated
from tomopilot.posterior.posterior import Guidance, Posterior
from tomopilot.prior.checkpoint import Prior
from tomopilot.prior.denoiser import Denoiser
from tomopilot.prior.phase import smooth_phase, with_phase
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.randomness import stream

EMPTY: Mapping[str, Any] = MappingProxyType({})
MARGIN = 0.25  # how far an image may leave the prior's intensity range, as a share of it
EXACT = 1e-3  # noiseless data are fitted to this share of their rms, no closer
PHASE = 1.0  # radians, rms of the slow waves in the phase of simulated complex images
DENSE = 4.0  # absorption, for Poisson noise, of a ray along a whole row of image value 1


def _soft(prior: Denoiser, scale: float) -> Posterior:
    return DiffusionPosterior(prior, Soft(), ddpm(50, scale))


def _hard(prior: Denoiser, scale: float) -> Posterior:
    return DiffusionPosterior(prior, Hard(scale=scale), ddpm(50, scale))


def _dps(prior: Denoiser, scale: float) -> Posterior:
    return DiffusionPosterior(prior, DPS(scale=scale), ddpm(250, scale), eta=0.27)  # about ancestral


def _estimator(prior: Denoiser, scale: float, guidance: Guidance) -> Posterior:
    return DiffusionPosterior(prior, guidance, logarithmic(5 * scale, 0.04 * scale, 50))


def _moments(prior: Denoiser, scale: float) -> Posterior:
    """Few levels where data decide little, most where edges find their places, few where grain is left."""
    ends = [(5.0, 0.5, 8), (0.5, 0.1, 26)]
    levels = [logarithmic(high * scale, low * scale, steps + 1)[:-1] for high, low, steps in ends]
    sigmas = torch.cat([*levels, logarithmic(0.1 * scale, 0.04 * scale, 4)])
    return DiffusionPosterior(prior, Moments(below=0.52 * scale), sigmas, weigh=(0.2 * scale, 0.1 * scale))


def _scout(prior: Denoiser, scale: float, guidance: Guidance) -> Posterior:
    cold, warm = logarithmic(5 * scale, 0.06 * scale, 15), logarithmic(0.7 * scale, 0.06 * scale, 3)
    return DiffusionPosterior(prior, guidance, cold, warm=warm, refresh=24)


POSTERIORS: dict[str, Callable[[Denoiser, float], Posterior]] = {
    "soft": _soft,
    "hard": _hard,
    "dps": _dps,
    "prox": partial(_estimator, guidance=Prox()),
    "moments": _moments,
    "scout": partial(_scout, guidance=Prox()),
    "inpaint": partial(_estimator, guidance=Inpaint()),
    "scout-inpaint": partial(_scout, guidance=Inpaint()),
}
AUTO = "scout:moments"
PRIOR_FREE: dict[str, Callable[[], Posterior]] = {
    "fbp": FilteredBackProjection,
    "tv": TotalVariation,
    "zero-filled": ZeroFilled,
}
AUTO_MRI = "scout-inpaint:inpaint"


Order = Callable[[int, int, int, int], list[int]]  # from designs, seed, start and budget, as make_policy


def _from_centre(order: Order) -> Order:
    """Rows in some order, once those about the centre have opened the scan, as in the paper (App. B)."""
    return lambda n, seed, start, budget: [*centre_order(n)[:start], *order(n, seed, start, budget)]


class Usual(NamedTuple):
    """A kind of measurement: what is taken where nothing is named, and the orders it can be taken in."""

    designs: str  # in words, what is chosen between
    prior: str
    posteriors: tuple[str, ...]
    policies: tuple[str, ...]
    order: str  # of them, the best that is fixed before the scan
    opening: Callable[[int], list[int]]  # how adaptive scans begin
    orders: Mapping[str, Order]  # policies that are decided before the scan


OPERATORS = {
    "radon": Usual(
        "angles",
        "chip-128",
        ("auto", "fbp", "tv"),
        ("variance", "uniform"),
        "uniform",
        bisect_order,
        {
            "uniform": lambda n, *_: bisect_order(n),
            "random": lambda n, seed, *_: random_order(n, seed),
        },
    ),
    "mri": Usual(
        "k-space rows",
        "brain-128",
        ("auto", "zero-filled"),
        ("variance", "low-to-high", "uniform"),
        "low-to-high",
        centre_order,
        {
            "uniform": _from_centre(lambda n, *_: centred_bisection(n)),
            "random": _from_centre(lambda n, seed, *_: random_order(n, seed)),
            "low-to-high": lambda n, *_: centre_order(n),
            "equispaced": _from_centre(lambda n, _, start, budget: equispaced_order(n, budget - start)),
        },
    ),
}
ONLY_FOR = {  # reconstructions of one kind of measurement; the others take any
    "fbp": "radon",
    "tv": "radon",
    "inpaint": "mri",
    "scout-inpaint": "mri",
    "zero-filled": "mri",
}
ADAPTIVE = {"variance": variance}
REPLAY = "replay:"  # and the summary.json of an earlier run
FIXED = tuple(dict.fromkeys(name for usual in OPERATORS.values() for name in usual.orders))


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises on the first name that is not known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"{kind} {name!r} is unknown; the known ones are {', '.join(known)}")


@dataclass(frozen=True)
class Method:
    """One way to scan: a reconstruction and a policy, by name.

    A posterior `a:b` chooses by the samples of a and estimates by those of b; `auto` is our best such pair.
    """

    posterior: str
    policy: str
    prior: str | None

    def __post_init__(self) -> None:
        if self.posterior.count(":") > 1:
            raise ValueError(f"posterior {self.posterior!r}; expected one name, or two as in scout:prox")
        alone = ["auto"] if ":" not in self.posterior else []
        check_names("posterior", self.posterior.split(":"), [*alone, *POSTERIORS, *PRIOR_FREE])
        if not self.policy.startswith(REPLAY):
            check_names("policy", [self.policy], [*ADAPTIVE, *FIXED, f"{REPLAY}FILE"])
        if self.policy in ADAPTIVE and self.chooser in PRIOR_FREE:
            orders = " or ".join(OPERATORS[ONLY_FOR[self.chooser]].orders)
            raise ValueError(f"{self.chooser} gives one image, {self.policy} compares samples; use {orders}")
        if self.prior is None and not {self.chooser, self.estimator} <= set(PRIOR_FREE):
            raise ValueError(
                f"{self.posterior} needs a prior; name one with --prior (`tomopilot priors` lists them)"
            )

    @property
    def chooser(self) -> str:
        """Whose samples the next design is chosen by."""
        return self.pair.partition(":")[0]

    @property
    def estimator(self) -> str:
        """Whose samples are looked at."""
        return self.pair.rpartition(":")[2]

    @property
    def pair(self) -> str:
        """`auto` by its own name."""
        return AUTO if self.posterior == "auto" else self.posterior


def method_for(operator: str, posterior: str) -> str:
    """A posterior by name: `auto` is another pair for k-space than for projections."""
    return AUTO_MRI if (operator, posterior) == ("mri", "auto") else posterior


def usual_for(operator: str) -> Usual:
    """What is taken where nothing is named, for what is measured."""
    check_names("operator", [operator], OPERATORS)
    return OPERATORS[operator]


def check_method(method: Method, operator: str) -> None:
    """Raises where a method cannot be used with what is measured."""
    for name in (method.chooser, method.estimator):
        if ONLY_FOR.get(name, operator) != operator:
            fitting = [n for n in (*POSTERIORS, *PRIOR_FREE) if ONLY_FOR.get(n, operator) == operator]
            raise ValueError(f"{name} is for {ONLY_FOR[name]} alone; {operator} takes {', '.join(fitting)}")
    usual = OPERATORS[operator]
    if method.policy in FIXED and method.policy not in usual.orders:
        other = next(kind.designs for kind in OPERATORS.values() if method.policy in kind.orders)
        orders = " or ".join(usual.orders)
        raise ValueError(f"{method.policy} is an order of {other}; for {usual.designs} use {orders}")


def make_posteriors(
    method: Method, prior: Denoiser | None, scale: float, trust: Mapping[str, Any] = EMPTY
) -> tuple[Posterior, Posterior]:
    """Chooser and estimator of a method, the same object where they are one.

    `trust` is what a prior's card says of how far the samples that are drawn with it can be believed.
    """

    def make(name: str) -> Posterior:
        if name in PRIOR_FREE:
            return PRIOR_FREE[name]()
        assert prior is not None
        posterior, factors = POSTERIORS[name](prior, scale), trust.get("inflation", {}).get(name)
        if factors is None:
            return posterior
        return Inflated(posterior, {int(count): factor for count, factor in factors.items()})

    estimator = make(method.estimator)
    return (estimator if method.chooser == method.estimator else make(method.chooser)), estimator


def make_alarm(method: Method, trust: Mapping[str, Any], noise: str) -> Watch | None:
    """The alarms that a prior's card holds for the samples a method chooses by.

    Surprise allows for the noise; how far data move samples hangs on it, and strangeness is for one alone.
    """
    surprise, strange = (trust.get(kind, {}).get(method.chooser) for kind in ("alarm", "strangeness"))
    watch = Watch(Alarm(**surprise)) if surprise else None
    if not strange or strange["noise"] != noise:
        return watch
    return replace(
        watch or Watch(),
        strangeness=Alarm(strange["drift"], strange["threshold"]),
        strange=Strangeness(strange["mean"], strange["precision"]),
        until=strange["until"],
    )


def make_margin(method: Method, trust: Mapping[str, Any]) -> float:
    """The factor by which, on scans of known images, estimates erred more than a method's samples expect."""
    margin = trust.get("margin", {}).get(method.pair)
    if margin is None:
        raise ValueError(
            f"the card of prior {method.prior!r} says nothing of how certain {method.posterior} can be; "
            "fit it with `tomopilot bench certain`, or scan to a budget alone"
        )
    return margin


def make_policy(
    name: str,
    designs: int,
    *,
    start: int,
    seed: int,
    alarm: Watch | None = None,
    image: str = "",
    operator: str = "radon",
    budget: int = 0,
) -> Policy:
    """The policy of a checked name; an adaptive one goes on in uniform order once the alarm was raised.

    `image` is the name that `replay` looks for in its file; an order may hang on `start` and `budget`.
    """
    if name.startswith(REPLAY):
        return InOrder(recorded_designs(name.removeprefix(REPLAY), image))
    usual = OPERATORS[operator]
    if name in usual.orders:
        return InOrder(usual.orders[name](designs, seed, start, budget))
    policy = Greedy(ADAPTIVE[name], InOrder(usual.opening(designs)), start)
    retreat = InOrder(usual.orders["uniform"](designs, seed, 0, budget))
    return Guarded(policy, retreat, alarm) if alarm else policy


def make_operator(name: str, image: NamedImage, *, angles: int, bins: int | None, device: str) -> Operator:
    check_names("operator", [name], OPERATORS)
    height, width = image.pixels.shape
    if name == "mri":
        if bins is not None:
            raise ValueError(
                f"a detector of {bins} bins was asked for, but k-space has none; leave --bins out"
            )
        return Fourier((height, width)).to(device)
    if image.pixels.is_complex():
        raise ValueError(
            f"{image.name} is complex, but projections are of real images: use --operator mri, or save its "
            "magnitude"
        )
    if height != width:
        raise ValueError(
            f"{image.name} is {height} x {width} pixels; projections need a square image: crop or pad it"
        )
    return Radon(width, half_turn(angles).to(device), bins)


def make_truth(name: str, image: NamedImage, seed: int) -> Tensor:
    """What is scanned: the image itself; for MRI, a real one gets a random phase that hangs on seed and name.

    Complex images are two channels, their real and their imaginary part.
    """
    if name != "mri":
        return image.pixels
    if image.pixels.is_complex():
        return to_channels(image.pixels)
    if image.pixels.min() < 0:
        raise ValueError(
            f"{image.name} goes down to {image.pixels.min():g}, but MRI is simulated from magnitudes, which "
            "are 0 or more: rescale the image"
        )
    rng, pixels = stream(seed, "phase", image.name), image.pixels[None]
    return with_phase(pixels, smooth_phase(1, tuple(image.pixels.shape), PHASE, rng=rng))[0]


def make_noise(text: str, clean: Tensor, size: int) -> Noise:
    """`none`, `relative:0.01` (of the rms of `clean`, all noiseless data), `gaussian:STD`, `poisson:I0`."""
    kind, _, number = text.partition(":")
    rms = clean.abs().square().mean().sqrt().item()
    try:
        if kind == "none" and not number:
            return Gaussian(0.0, floor=EXACT * rms)
        if kind == "relative":
            return Gaussian(float(number) * rms, floor=EXACT * rms)
        if kind == "gaussian":
            return Gaussian(float(number))
        if kind == "poisson" and clean.is_complex():
            raise ValueError("photons are counted of projections; k-space has Gaussian noise")
        if kind == "poisson":
            return Poisson(float(number), DENSE / size)
    except ValueError as error:
        raise ValueError(f"noise {text!r} cannot be used: {error}") from None
    raise ValueError(f"noise {text!r} is unknown; use none, relative:0.01, gaussian:STD or poisson:I0")


def check_image(image: NamedImage, prior: Prior, operator: Operator) -> None:
    """Raises where the prior cannot take the image: real or complex, its size, or its intensity range."""
    prior.check_shape(operator.image_shape)
    low, high = image.shown.min().item(), image.shown.max().item()
    lowest, margin = prior.high - prior.peak, MARGIN * prior.peak
    if low < lowest - margin or high > prior.high + margin:
        raise ValueError(
            f"{image.name} has values from {low:g} to {high:g}, but the prior {prior.card.get('name')!r} "
            f"knows images in [{lowest:g}, {prior.high:g}] ({prior.card.get('unit', 'no unit stated')}): "
            "rescale the image"
        )


def pick_device(name: str) -> str:
    """`auto` is the first GPU where there is one."""
    check_names("device", [name], ["auto", "cpu", "cuda"])
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but no CUDA GPU is visible; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
