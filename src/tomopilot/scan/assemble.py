"""From names to the parts of one scan: the only place where a plan becomes objects."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from tomopilot.design.acquisition import Oracle
from tomopilot.design.policy import Greedy, InOrder, Policy
from tomopilot.design.stopping import Rule, budget, certain, either
from tomopilot.design.trust import Trust, Watch
from tomopilot.experiment import Experiment, Guard
from tomopilot.files.images import NamedImage
from tomopilot.files.replay import recorded_settings
from tomopilot.measure.noise import Gaussian, Noise, Poisson
from tomopilot.measure.operator import Operator
from tomopilot.measure.stack import Stack
from tomopilot.metrics import rmse_at
from tomopilot.nets.build import fast_precision
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.inflated import Inflated
from tomopilot.posterior.moves import MOVES
from tomopilot.posterior.posterior import Posterior
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.checkpoint import Prior, card_of, load_prior
from tomopilot.prior.denoiser import Metered
from tomopilot.records import Data, Draws
from tomopilot.scan.grid import candidates
from tomopilot.scan.parts import (
    ORACLE,
    REPLAY,
    SCORES,
    Method,
    Order,
    built,
    entry,
    family,
    make,
    part,
    rule,
)
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.replayed import Replayed
from tomopilot.scan.truth import read_roi, read_slices

SAME = 1e-3  # of the unit of a setting, within which a recorded one is a candidate
EXACT = 1e-3  # noiseless data are fitted to this share of their rms, no closer
DENSE = 4.0  # absorption, for Poisson noise, of a ray along a whole row of image value 1


class Watched:
    """A posterior with a stopwatch on it, and a count of the images its draws sent through the network."""

    def __init__(self, posterior: Posterior, meter: Metered | None) -> None:
        self.posterior, self.meter, self.seconds, self.evaluations = posterior, meter, 0.0, 0

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        start, before = time.perf_counter(), self.meter.evaluations if self.meter else 0
        draws = self.posterior.sample(data, count, rng=rng, previous=previous)
        if draws.images.is_cuda:
            torch.cuda.synchronize(draws.images.device)
        self.seconds += time.perf_counter() - start
        self.evaluations += (self.meter.evaluations if self.meter else 0) - before
        return draws


def operator_of(plan: Plan, image: NamedImage) -> Operator:
    """All that could be measured of an image, or of a volume."""
    if isinstance(image, Replayed):
        return image.operator
    usual, (_, options), slices = family(plan.operator), part(plan.operator), len(image.slices)
    single = replace(image, pixels=image.pixels[0]) if slices else image
    given = (single, candidates(plan.angles, plan.wedge, usual.turn), plan.bins)
    made = built(plan.operator, usual.make, given, options, "operator")
    return Stack(made, slices) if slices else made


@dataclass(frozen=True)
class Parts:
    """What one scan is made of; `chooser` and `estimator` are one object where a method has one posterior."""

    experiment: Experiment
    chooser: Watched
    estimator: Watched
    bare: Watched  # estimates once the prior is left; the estimator, if that has no prior
    meter: Metered | None  # counts what goes through the prior
    trust: Trust
    until: Rule
    peak: float  # intensity range of the images


def assemble(
    plan: Plan,
    scan: Scan,
    operator: Operator,
    noise: Noise,
    span: float = 1.0,
    known: Data | None = None,
    truth: Tensor | None = None,
    slices: Sequence[int] = (),
) -> Parts:
    """The parts of a scan of whatever `operator` measures.

    span: intensity range of the images, where no method of the plan has a prior that states one
    known: what was measured before the scan
    truth: what is scanned, where it is known; see `policy`
    slices: the numbers of those of a volume that it measures
    """
    method = scan.method
    prior = prior_of(method, plan.device)
    trust = Trust.from_card(prior.card) if prior else Trust()
    meter = Metered(prior) if prior else None

    def watched(name: str) -> Watched:
        made = posterior(name, prior, meter, trust)
        return Watched(Slicewise(made, tuple(slices)) if slices else made, meter)

    estimator, alike = watched(method.estimator), method.chooser == method.estimator
    chooser = estimator if alike else watched(method.chooser)
    bare = watched(family(plan.operator).bare) if entry(method.estimator).needs_prior else estimator
    peak, alarm = _peak(plan, prior, span), trust.watch(method.chooser, plan.start)
    _check_moves(chooser.posterior, alarm, scan.method.prior)
    chosen = policy(plan, scan, operator, truth)
    guard = _guard(plan, scan, operator, alarm, chosen, bare)
    ordered = len(chosen.order) if isinstance(chosen, InOrder) else plan.budget
    until: Rule = budget(max(1, min(plan.budget, ordered)))
    if plan.certain is not None:
        wanted = certain(rmse_at(plan.certain, peak), margin(method, trust), operator.kind.picture)
        until = either(until, wanted)
    experiment = Experiment(
        operator, noise, estimator, chosen,
        scout=None if alike else chooser, count=plan.count, seed=plan.seed, data=known,
        guard=guard,
    )  # fmt: skip
    return Parts(experiment, chooser, estimator, bare, meter, trust, until, peak)


def _peak(plan: Plan, prior: Prior | None, span: float) -> float:
    """The intensity range that all methods of a study are judged by: the first prior's."""
    known = prior or next(filter(None, (prior_of(method, plan.device) for method in plan.methods)), None)
    return known.peak if known else span


def _guard(
    plan: Plan, scan: Scan, operator: Operator, alarm: Watch | None, chosen: Policy, bare: Posterior
) -> Guard | None:
    """The best fixed order instead of choices by samples; None for the oracle, which follows the truth."""
    if alarm is None or rule(scan.method.policy) == ORACLE:
        return None
    usual = family(plan.operator)
    order = usual.orders[usual.order](operator, plan.seed, 0, plan.budget)
    return Guard(alarm, InOrder(order) if scan.method.adaptive else chosen, bare)


def _check_moves(chooser: Posterior, alarm: Watch | None, prior: str | None) -> None:
    """Raises, before the scan, where a card knows the moves of samples that are drawn otherwise."""
    drawn = chooser
    while isinstance(drawn, Slicewise | Inflated):
        drawn = drawn.posterior
    warm = drawn.warm if isinstance(drawn, DiffusionPosterior) else None
    if alarm is None or alarm.strange is None or warm is None:
        return
    known, drawn_now = len(alarm.strange.mean), MOVES * len(warm)
    if known != drawn_now:
        raise ValueError(
            f"the card of prior {prior!r} has an alarm for samples of {known} moves, but they have "
            f"{drawn_now} now; fit it again with `tomopilot bench alarm ... --into`"
        )


def prior_of(method: Method, device: str) -> Prior | None:
    """The prior that a method is given, in the precision that the device is quickest in."""
    return _loaded(method.prior, device, card_of(method.prior)) if method.prior else None


@lru_cache(maxsize=4)
def _loaded(name: str, device: str, card: bytes) -> Prior:
    return load_prior(name, device, precision=fast_precision(device))


def posterior(name: str, prior: Prior | None, meter: Metered | None, trust: Trust) -> Posterior:
    """A posterior by name, its samples spread as far as the prior's card says."""
    if not entry(name).needs_prior:
        return make(name)
    assert prior is not None
    made, factors = make(name, meter, prior.scale), trust.inflation.get(name)
    return Inflated(made, factors) if factors else made


def margin(method: Method, trust: Trust) -> float:
    """The factor by which estimates of known images erred more than their samples had predicted."""
    if method.pair not in trust.margins:
        raise ValueError(
            f"the card of prior {method.prior!r} has no margin for {method.posterior}; "
            "fit one with `tomopilot bench certain`, or leave --certain out"
        )
    return trust.margins[method.pair]


def replayed(source: str, image: str, operator: Operator) -> list[int]:
    """The designs whose settings are those that an earlier run measured, in its order."""
    settings, unit = recorded_settings(source, image)
    kind, shown = operator.kind, operator.shown
    if unit != kind.unit:
        raise ValueError(
            f"{source} was recorded in {unit}, but {kind.name}s are measured here: in {kind.unit}"
        )
    designs = []
    for setting in settings:
        apart = kind.apart(shown, setting)
        if apart.min() > SAME:
            raise ValueError(
                f"{source} measured at {setting:g} {unit}, none of the {len(shown)} candidates here: "
                "choose them so that it is one, as with --angles of the earlier run or a multiple"
            )
        designs.append(int(apart.argmin()))
    return list(dict.fromkeys(designs))


def policy(plan: Plan, scan: Scan, operator: Operator, truth: Tensor | None = None) -> Policy:
    """The policy of a checked name.

    truth: what is scanned, where it is known; only the oracle looks at it
    """
    text, usual = scan.method.policy, family(plan.operator)
    name, opening = rule(text), InOrder(usual.opening(operator))
    if name == REPLAY:
        return InOrder(replayed(text.removeprefix(REPLAY), plan.label(scan.image), operator))
    if name in usual.orders:
        return InOrder(_order(plan, text, operator))
    if name in usual.rules:
        return built(text, usual.rules[name], (opening, plan.start), part(text)[1])
    if name == ORACLE:
        return Greedy(_oracle(text, truth), opening, plan.start)
    return _greedy(text, operator, opening, plan.start)


def _greedy(text: str, operator: Operator, opening: Policy, start: int) -> Greedy:
    """An adaptive policy by name and options, of which `batch` and `move` are for every score."""
    name, options = part(text)
    own = {option: options.pop(option) for option in ("batch", "move") if option in options}
    if own.get("move") and operator.kind.period is None:
        raise ValueError(f"policy {text!r} cannot be used: no stage turns between {operator.kind.name}s")
    if "roi" in options:
        options["roi"] = _given(text, partial(read_roi, options["roi"], operator))
    score = built(text, SCORES[name], (), options)
    return built(text, Greedy, (score, opening, start), own)


def _oracle(text: str, truth: Tensor | None) -> Oracle:
    if truth is None:
        raise ValueError(
            f"policy {ORACLE} has to know the true image, so it is for scans of known images only"
        )
    return built(text, SCORES[ORACLE], (truth,), part(text)[1])  # pyright: ignore[reportReturnType]


def _order(plan: Plan, text: str, operator: Operator) -> Sequence[int]:
    """A fixed order by name and options; one that is learned is the same for all images of a size."""
    name, options = part(text)
    if "slices" in options:
        return _learned(plan, text, operator.image_shape)
    return _ordered(plan, text, operator, family(plan.operator).orders[name], options)


@lru_cache(maxsize=8)
def _learned(plan: Plan, text: str, image_shape: tuple[int, ...]) -> Sequence[int]:
    usual, (name, options) = family(plan.operator), part(text)
    operator = operator_of(plan, NamedImage(name, torch.zeros(image_shape[-2:])))
    options["slices"] = _given(text, partial(read_slices, options["slices"], operator, plan.seed))
    learned = _ordered(plan, text, operator, usual.orders[name], options)
    return [*dict.fromkeys([*learned, *usual.opening(operator)])]


def _ordered(
    plan: Plan, text: str, operator: Operator, make: Order, options: dict[str, Any]
) -> Sequence[int]:
    return built(text, make, (operator, plan.seed, plan.start, plan.budget), options)


def _given(text: str, read: Callable[[], Tensor]) -> Tensor:
    """Images that an option names."""
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"policy {text!r} cannot be used: {error}") from None


def noise_of(text: str, clean: Tensor, size: int) -> Noise:
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
            raise ValueError("photons are counted in projections only; k-space has Gaussian noise")
        if kind == "poisson":
            return Poisson(float(number), DENSE / size)
    except ValueError as error:
        raise ValueError(f"noise {text!r} cannot be used: {error}") from None
    raise ValueError(f"noise {text!r} is unknown; use none, relative:0.01, gaussian:STD or poisson:I0")
