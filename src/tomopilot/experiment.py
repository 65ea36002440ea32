"""The loop (paper, Algorithm 1): draw, project, choose, measure, learn. Read this first."""

import time
from collections.abc import Callable, Iterator, Sequence
from operator import index

import torch
from torch import Tensor

from tomopilot.design.policy import Choice, Policy
from tomopilot.design.trust import surprise
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Numbers, Operator, numbers
from tomopilot.posterior.posterior import Posterior
from tomopilot.randomness import stream
from tomopilot.records import Data, Decision, Draws, Step


class Experiment:
    """One scan: what was measured, what is known, what to measure next. The caller asks, measures and tells.

    The `posterior` is drawn when its samples are needed. The `scout`, a cheaper one that may continue from
    its earlier samples, is drawn to choose. Without a scout, the posterior does both, and each draw serves
    both. All randomness is derived from `seed` and the number of measurements told, so an experiment that
    is told the same measurements again continues exactly as the first one would have.
    `data` are what was known of the image before, such as a pre-scan; they do not count as measurements.
    """

    def __init__(
        self,
        operator: Operator,
        noise: Noise,
        posterior: Posterior,
        policy: Policy,
        *,
        scout: Posterior | None = None,
        count: int = 10,
        seed: int = 0,
        data: Data | None = None,
    ) -> None:
        if data is not None and data.image_shape != operator.image_shape:
            raise ValueError(
                f"the data are of images of shape {data.image_shape}, but the operator measures "
                f"{operator.image_shape}: use the same grid for both"
            )
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 posterior sample")
        self.operator, self.noise, self.posterior, self.policy = operator, noise, posterior, policy
        self.scout, self.count, self.seed = scout, count, seed
        self.data = Data(operator.image_shape, operator.device) if data is None else data
        self.designs: list[int] = []  # measured, in the order told
        self.surprises: list[float | None] = []  # of each measurement; None where none was predicted
        self.moves: list[list[float] | None] = []  # of the samples each was chosen by, see `posterior.moves`
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

    def choosing(self) -> Draws:
        """The samples that the next design is chosen by, drawn once."""
        return self._moment.choosing()

    def scouted(self) -> Draws | None:
        """The samples of `choosing`, if anything needed them yet."""
        return self._moment.chosen_by

    def recall(
        self,
        chosen_by: Draws | None,
        surprises: Sequence[float | None],
        moves: Sequence[list[float] | None] | None = None,
    ) -> None:
        """After the same measurements were told again: what was drawn and found before an interruption."""
        moves = [None] * len(surprises) if moves is None else moves
        if not len(surprises) == len(moves) == self.count_told:
            raise ValueError(
                f"{len(surprises)} surprises and {len(moves)} moves were recalled, but {self.count_told} "
                "measurements were told; tell those that they belong to first"
            )
        self._moment.chosen_by, self.surprises, self.moves = chosen_by, list(surprises), list(moves)
        if self.scout is None:
            self._moment.seen = chosen_by

    @property
    def decided(self) -> Decision | None:
        """The design that `ask` would give now, if it is known already."""
        return self._decision

    def decide(self) -> Decision:
        """The design that `ask` would give now."""
        if self._decision is None:
            free = self.free
            if not free:
                raise ValueError(
                    f"all {len(self.operator)} designs are measured or asked for; nothing is left to ask"
                )
            taken = self.count_told + len(self.pending)
            told = tuple(self.surprises), tuple(self.moves)
            choice = Choice(self.operator, free, taken, self.choosing, *told, self.noise)
            self._decision = self.policy.choose(choice)
        return self._decision

    def ask(self) -> int:
        """The design to measure next; it is not offered again."""
        design = self.decide().design
        self.pending.add(design)
        self._decision = None
        return design

    def tell(self, design: int, values: Numbers, noise: Noise | None = None) -> None:
        """Takes the measurement of a design: asked for or not, in any order, repeated or not.

        noise: of this measurement, where it is another than the experiment's, as with a shutter or a mask
        """
        design, noise = index(design), noise or self.noise
        values = numbers(values).to(self.operator.device)
        self.check(design, values, noise)
        self.surprises.append(self._surprise(design, values, noise))
        self.moves.append(self._moves())
        self.data = self.data.add(self.operator, design, values, noise)
        self.designs.append(design)
        self.pending.discard(design)
        self._moment, self._decision = _Moment(self, self._moment.latest), None

    def step(self, until: Callable[["Experiment"], bool] = lambda _: False) -> Step:
        """The latest measurement as a step; the next design is decided, unless that was the last one."""
        start = time.perf_counter()
        following = None if not self.free or until(self) else self.decide()
        seconds = time.perf_counter() - start if following else 0.0
        design = self.designs[-1]
        setting = self.operator.settings[design].tolist()
        return Step(self.count_told, design, setting, seconds, following, self._moment.draws)

    def _surprise(self, design: int, values: Tensor, noise: Noise) -> float | None:
        """How far off the prediction of the samples that this measurement was chosen by was."""
        if self._moment.chosen_by is None:
            return None
        with torch.no_grad():
            one = self.operator[torch.tensor([design])]
            predicted = one.forward(self._moment.chosen_by.images)[:, 0]
        return surprise(predicted, values, noise.precision(values))

    def _moves(self) -> list[float] | None:
        """How the samples that this measurement was chosen by had moved."""
        chosen_by = self._moment.chosen_by
        return None if chosen_by is None or chosen_by.moves is None else chosen_by.moves.tolist()

    def check(self, design: int, values: Numbers, noise: Noise | None = None) -> None:
        """Raises where these cannot be the values of a design: its number, their shape, type or content."""
        values, noise = numbers(values), noise or self.noise
        if not 0 <= design < len(self.operator):
            raise ValueError(
                f"design {design} is unknown; the operator has designs 0 to {len(self.operator) - 1}"
            )
        if tuple(values.shape) != self.operator.block_shape:
            raise ValueError(
                f"values have shape {tuple(values.shape)}, but one design of {self.operator!r} reads "
                f"{self.operator.block_shape}; was the detector binned?"
            )
        if values.is_complex() != self.operator.complex_values:
            came, expected = ("complex", "real") if values.is_complex() else ("real", "complex")
            raise ValueError(
                f"values are {came} ({values.dtype}), but {self.operator!r} measures {expected} numbers; "
                f"{'take line integrals' if expected == 'real' else 'keep the phase of k-space'}"
            )
        bad = int((~values.isfinite() & (noise.precision(values) != 0)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {values.numel()} values of design {design} are NaN or infinite; expected finite "
                "numbers: check the flat field, or mask dead detector bins with the noise Masked(noise, bins)"
            )


class _Moment:
    """What is known between two measurements: samples are drawn when first needed."""

    def __init__(self, experiment: Experiment, earlier: Draws | None) -> None:
        self.looker, self.scout = experiment.posterior, experiment.scout
        self.data, self.count = experiment.data, experiment.count
        self.seed, self.told, self.earlier = experiment.seed, experiment.count_told, earlier
        self.chosen_by: Draws | None = None
        self.seen: Draws | None = None

    @property
    def latest(self) -> Draws | None:
        """What the next moment may start from."""
        return self.chosen_by or self.earlier

    def choosing(self) -> Draws:
        """The samples to choose the next design by."""
        if self.chosen_by is None:
            self.chosen_by = self._draw(self.scout, "scout", self.earlier) if self.scout else self.draws()
            self.earlier = None
        return self.chosen_by

    def draws(self) -> Draws:
        """The samples to look at."""
        if self.seen is None:
            self.seen = self._draw(self.looker, "draws", None if self.scout else self.earlier)
        return self.seen

    def _draw(self, posterior: Posterior, purpose: str, earlier: Draws | None) -> Draws:
        rng = stream(self.seed, purpose, self.told)
        draws = posterior.sample(self.data, self.count, rng=rng, previous=earlier)
        if not bool(draws.images.isfinite().all() and draws.guess.isfinite().all()):
            raise FloatingPointError(
                f"{type(posterior).__name__} gave an image that is NaN or infinite after {self.told} "
                "measurements; nothing can be chosen or judged by it: check the noise and the intensity range"
            )
        return draws


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
        yield experiment.step(until)
