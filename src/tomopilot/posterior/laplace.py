"""Linearised deep image prior: a network's fit, and the Gaussian posterior of its weights about it."""

import warnings
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.nets.dip import DeepImagePrior
from tomopilot.posterior.fit import Adam, Picture, check, fit, last, level, rough
from tomopilot.posterior.linear import LinearModel, Solved, solve
from tomopilot.records import Data, Draws


@dataclass(frozen=True, eq=False)
class State:
    """What goes on from draw to draw."""

    weights: Float[Tensor, "1 p"]  # of the network
    variances: Float[Tensor, " blocks"]  # of its weights, one a convolution
    level: Float[Tensor, ""]  # of the image, as it was when the network was new
    measured: Int[Tensor, ""]  # blocks that it was fitted to
    since: Int[Tensor, ""]  # how many there were when it was new


@dataclass(frozen=True)
class Laplace:
    """The linearised Laplace approximation of a deep image prior (Barbano et al. 2022, Antoran et al. 2023).

    A network is fitted to the data: misfit + `smooth` TV / level, by `steps` of Adam. About its weights it is
    linear: image = fitted + J (w - fitted w), w Gaussian of mean 0 with one variance per convolution. The
    variances make the data likely, by `climbs` steps of `probes` samples at first, and one after each draw.
    Estimate and samples are mean and samples of this model given the data, exact up to `solves` conjugate
    gradients that are preconditioned by the `rank` largest directions. The noise is the data's own.

    A later draw continues from weights and variances, with `again` steps for each new measurement, but not
    more than `steps`. `refit` measurements after the network was new, it starts anew; 0 never does.
    """

    steps: int = 1500
    again: int = 150
    refit: int = 0
    rate: float = 3e-3
    smooth: float = 3.0
    width: int = 16
    climbs: int = 3
    probes: int = 3
    solves: int = 50
    rank: int = 250

    def __post_init__(self) -> None:
        counts, maybe = ("steps", "width", "probes", "solves", "rank"), ("again", "refit", "climbs")
        check(self, counts=counts, maybe=maybe, real=("rate", "smooth"))

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        earlier = None if previous is None else State(**previous.carry)
        fresh = earlier is None or 0 < self.refit <= len(data) - int(earlier.since)
        state = self._new(data, rng) if earlier is None or fresh else earlier
        steps = self.steps if fresh else min(self.steps, self.again * (len(data) - int(state.measured)))
        net = DeepImagePrior(data.image_shape, state.level.item(), self.width)
        picture = partial(net, seen=rough(data))
        weights = self._fitted(picture, data, state, steps, rng)
        variances = _squares(net, weights) if fresh else state.variances.to(weights)
        model = linearised(picture, weights, net.block.to(weights.device), variances)
        for _ in range(self.climbs if fresh else 0):
            model = self._solved(model, data, self.probes, rng).improved(model)
        solved = self._solved(model, data, count, rng)
        following = solved.improved(model).variances
        state = State(weights, following, state.level, torch.tensor(len(data)), state.since)
        return Draws(solved.mean + solved.deviations, solved.mean, carry=vars(state))

    def _new(self, data: Data, rng: torch.Generator) -> State:
        """A network before any fit."""
        size, measured = level(rough(data)), torch.tensor(len(data))
        net = DeepImagePrior(data.image_shape, size.item(), self.width)
        weights = net.start(1, rng=rng).to(data.device)
        return State(weights, torch.zeros(len(net.sizes)), size, measured, measured)

    def _fitted(
        self, picture: Picture, data: Data, state: State, steps: int, rng: torch.Generator
    ) -> Float[Tensor, "1 p"]:
        rule, smooth, every = Adam(self.rate, steps), self.smooth / state.level.item(), max(1, len(data))
        start = state.weights.to(data.device)
        path = fit(data, picture, start, rule, steps=steps, batch=every, smooth=smooth, rng=rng)
        return last(path, start)

    def _solved(self, model: LinearModel, data: Data, count: int, rng: torch.Generator) -> Solved:
        return solve(model, data, count, steps=self.solves, rank=self.rank, rng=rng)


def linearised(
    picture: Picture,
    weights: Float[Tensor, "1 p"],
    block: Int[Tensor, " p"],
    variances: Float[Tensor, " blocks"],
) -> LinearModel:
    """picture(w) = picture(weights) + J (w - weights), to first order."""

    def image(w: Float[Tensor, " p"]) -> Float[Tensor, "*image"]:
        return picture(w[None])[0]

    at = weights[0].detach()
    fitted, pull, *_ = torch.func.vjp(image, at)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about itself
        _, push = torch.func.linearize(image, at)
    return LinearModel(fitted - push(at), push, lambda x: pull(x)[0], block, variances)


def _squares(net: DeepImagePrior, weights: Float[Tensor, "1 p"]) -> Float[Tensor, " blocks"]:
    """Mean square of the weights of each convolution."""
    return torch.stack([part.square().mean() for part in weights[0].split(net.sizes)])
