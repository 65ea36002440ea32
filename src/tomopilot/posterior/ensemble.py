"""Baselines of the paper (Sec. 4.2) that know only the data: fits from many starts, or along one path."""

from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopilot.nets.dip import DeepImagePrior
from tomopilot.posterior.fit import Adam, Picture, Rule, Steepest, check, fit, last, level, pixels, rough
from tomopilot.records import Data, Draws


@dataclass(frozen=True, eq=False)
class State:
    """What goes on from draw to draw."""

    weights: Float[Tensor, "fits *p"]  # or pixels
    level: Float[Tensor, ""]  # of the image, when the fits began
    measured: Int[Tensor, ""]  # blocks that they were fitted to


@dataclass(frozen=True)
class _Fits:
    """What is fitted, and by which steps: the options that both baselines share.

    Pixels, by gradient steps of `relaxation` / L on batches of at most `batch` designs, L the largest
    eigenvalue of A^T W A of the batch. With `network`, the weights of deep image priors of this `width`
    instead, by Adam at this `rate`; they draw images of values above 0, or of two channels of any value.
    `steps` at first; a later draw continues with `again` steps for each new measurement, at most `steps`.
    """

    steps: int = 500
    again: int = 50
    batch: int = 8
    relaxation: float = 1.0
    network: bool = False
    width: int = 16
    rate: float = 3e-3

    def __post_init__(self) -> None:
        check(self, counts=("steps", "batch", "width"), maybe=("again",), real=("rate",))
        if not 0 < self.relaxation < 2:
            raise ValueError(f"relaxation is {self.relaxation}; gradient steps converge above 0 and below 2")

    def _begin(
        self, data: Data, fits: int, rng: torch.Generator, previous: Draws | None
    ) -> tuple[State, int]:
        """Where the fits are, the first of which is the estimate's, and how many steps they need."""
        if previous is not None and len(previous.carry["weights"]) == fits:
            state = State(**{name: value.to(data.device) for name, value in previous.carry.items()})
            return state, min(self.steps, self.again * (len(data) - int(state.measured.item())))
        size = level(rough(data))
        if self.network:
            start = self._net(data, size).start(fits, rng=rng)
        else:
            start = size.cpu() * torch.randn(fits, *data.image_shape, generator=rng)
            start[0] = 0
        return State(start.to(data.device), size, torch.tensor(len(data))), self.steps

    def _net(self, data: Data, size: Tensor) -> DeepImagePrior:
        return DeepImagePrior(data.image_shape, size.item(), self.width, positive=len(data.image_shape) == 2)

    def _kind(self, data: Data, state: State) -> tuple[Picture, Rule]:
        """What weights look like, and how they move."""
        if self.network:
            return partial(self._net(data, state.level), seen=rough(data)), Adam(self.rate)
        return pixels, Steepest(self.relaxation)


@dataclass(frozen=True)
class Bootstrap(_Fits):
    """Fits from independent starts, the paper's `Bootstrap` (deep ensembles, Lakshminarayanan et al. 2017).

    Starts are white noise of the data's `level`: what was not measured keeps it, whatever the object, and
    that is all that the samples differ in. The estimate is one more fit, from 0.
    """

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        state, steps = self._begin(data, 1 + count, rng, previous)
        picture, rule = self._kind(data, state)
        path = fit(data, picture, state.weights, rule, steps=steps, batch=self.batch, rng=rng)
        weights = last(path, state.weights)
        with torch.no_grad():
            images = picture(weights)
        carry = State(weights, state.level, torch.tensor(len(data)))
        return Draws(images[1:], images[0], carry=vars(carry))


@dataclass(frozen=True)
class Swag(_Fits):
    """Images along the path of one fit from 0, the paper's `SWAG` (Maddox et al. 2019), which it sub-samples.

    After the `steps`, every `every`-th image is a sample; the estimate is their mean (Izmailov et al. 2018).
    The batches keep the path moving, by as much as they contradict each other.
    """

    every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, counts=("every",))

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        state, steps = self._begin(data, 1, rng, previous)
        picture, rule = self._kind(data, state)
        end = steps + count * self.every
        path = fit(data, picture, state.weights, rule, steps=end, batch=self.batch, rng=rng)
        weights = list(islice(path, steps + self.every - 1, None, self.every))
        with torch.no_grad():
            images = torch.cat([picture(found) for found in weights])
        carry = State(weights[-1], state.level, torch.tensor(len(data)))
        return Draws(images, images.mean(0), carry=vars(carry))
