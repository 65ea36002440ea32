"""The loop (paper, Algorithm 1): draw, project, choose, measure, learn. Read this first."""

import time
from collections.abc import Callable, Iterator
from operator import index

import torch
from torch import Tensor

from tomopilot.design.policy import Choice, Policy
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Operator
from tomopilot.posterior.posterior import Posterior
from tomopilot.randomness import stream
from tomopilot.records import Data, Decision, Draws, Step


class Experiment:
    """One scan: what was measured, what is known, what to measure next. Whoever measures asks and tells.

    Everything random hangs on `seed` and the number of measurements told, so an experiment that is told the
    same measurements again continues exactly as the first one would have.
    """

    def __init__(
        self,
        operator: Operator,
        noise: Noise,
        posterior: Posterior,
        policy: Policy,
        *,
        count: int = 10,
        seed: int = 0,
    ) -> None:
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 posterior sample")
        self.operator, self.noise, self.posterior, self.policy = operator, noise, posterior, policy
        self.count, self.seed = count, seed
        self.data = Data(operator.image_shape, operator.device)
        self.designs: list[int] = []  # measured, in the order told
        self.pending: set[int] = set()  # asked for, not yet told
        self._moment = _Moment(self, None)
        self._decision: Decision | None = None

    @property
    def count_told(self) -> int:
        return len(self.designs)

    @property
    def free(self) -> tuple[int, ...]:
        """Designs that are neither measured nor asked for."""
        return tuple(sorted(set(range(len(self.operator))) - set(self.designs) - self.pending))

    def draws(self) -> Draws:
        """`count` posterior samples given everything told, drawn once."""
        return self._moment.draws()

    def decide(self) -> Decision:
        """The design that `ask` would give now."""
        if self._decision is None:
            free = self.free
            if not free:
                raise ValueError(
                    f"all {len(self.operator)} designs are measured or asked for; nothing is left to ask"
                )
            taken = self.count_told + len(self.pending)
            self._decision = self.policy.choose(Choice(self.operator, free, taken, self.draws))
        return self._decision

    def ask(self) -> int:
        """The design to measure next; it is not offered again."""
        design = self.decide().design
        self.pending.add(design)
        self._decision = None
        return design

    def tell(self, design: int, values: Tensor) -> None:
        """Takes the measurement of a design: asked for or not, in any order, repeated or not."""
        design = index(design)
        self._check(design, values)
        if not (values.is_floating_point() or values.is_complex()):
            values = values.float()
        values = values.to(self.operator.device)
        self.data = self.data.add(self.operator, design, values, self.noise)
        self.designs.append(design)
        self.pending.discard(design)
        self._moment, self._decision = _Moment(self, self._moment.latest), None

    def step(self, *, last: bool = False) -> Step:
        """The latest measurement as a step; unless it was the `last` one, the next design is decided."""
        start = time.perf_counter()
        following = None if last or not self.free else self.decide()
        seconds = time.perf_counter() - start if following else 0.0
        design = self.designs[-1]
        setting = self.operator.settings[design].tolist()
        return Step(self.count_told, design, setting, seconds, following, self._moment.draws)

    def _check(self, design: int, values: Tensor) -> None:
        if not 0 <= design < len(self.operator):
            raise ValueError(
                f"design {design} is unknown; the operator has designs 0 to {len(self.operator) - 1}"
            )
        if tuple(values.shape) != self.operator.block_shape:
            raise ValueError(
                f"values have shape {tuple(values.shape)}, but one design of {self.operator!r} reads "
                f"{self.operator.block_shape}; was the detector binned?"
            )
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {values.numel()} values of design {design} are NaN or infinite; expected finite "
                "numbers: mask dead detector bins and check the flat field, then measure it again"
            )


class _Moment:
    """What is known between two measurements: the posterior is drawn when somebody first looks."""

    def __init__(self, experiment: Experiment, previous: Draws | None) -> None:
        self.posterior, self.data, self.count = experiment.posterior, experiment.data, experiment.count
        self.keys = (experiment.seed, "draws", experiment.count_told)
        self.latest = self.previous = previous
        self.drawn = False

    def draws(self) -> Draws:
        if not self.drawn:
            rng = stream(*self.keys)
            self.latest = self.posterior.sample(self.data, self.count, rng=rng, previous=self.previous)
            self.drawn, self.previous = True, None
        assert self.latest is not None
        return self.latest


def run(
    experiment: Experiment,
    measure: Callable[[int], Tensor],
    *,
    until: Callable[[Experiment], bool],
) -> Iterator[Step]:
    """Measures until told to stop or nothing is left, yielding after each one (paper, Algorithm 1)."""
    while experiment.free and not until(experiment):
        design = experiment.ask()
        experiment.tell(design, measure(design))
        yield experiment.step(last=until(experiment))
