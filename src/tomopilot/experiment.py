"""The loop (paper, Algorithm 1): draw, project, choose, measure, learn. Read this first."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import index

import torch
from torch import Tensor

from tomopilot.design.disagreement import rounded
from tomopilot.design.policy import OLDEST, Choice, Policy
from tomopilot.design.trust import (
    Raised,
    Watch,
    decided,
    deviations,
    left,
    mean_square,
    relative_noise,
    worse,
)
from tomopilot.measure.noise import Noise
from tomopilot.measure.operator import Numbers, Operator, numbers
from tomopilot.posterior.posterior import Posterior
from tomopilot.randomness import stream
from tomopilot.records import Data, Decision, Draws, Step, Told


class Undrawn(Exception):
    """The samples that a decision needs are not drawn yet: those of `snapshot`."""

    def __init__(self, snapshot: "Snapshot") -> None:
        super().__init__(f"the samples of {snapshot.told} measurements are not drawn yet")
        self.snapshot = snapshot


@dataclass(frozen=True)
class Guard:
    """What a scan goes on by once its prior is left: a policy and a posterior without the samples.

    by_estimate: the prior is weighed by its estimate; else by the samples to choose by, which are there
    """

    alarm: Watch
    policy: Policy
    posterior: Posterior
    by_estimate: bool = True


class Experiment:
    """One scan: what was measured, what is known, what to measure next. The caller asks, measures and tells.

    The `posterior` is drawn when its samples are needed. The `scout`, a cheaper one that may continue from
    its earlier samples, is drawn to choose. Without a scout, the posterior does both, and each draw serves
    both. All randomness is derived from `seed` and the number of measurements told, so an experiment that
    is told the same measurements again continues exactly as the first one would have. Once the alarm of
    the `guard` is raised, a few measurements are predicted by its posterior and by the prior's; if the latter
    does worse, see `trust.left`, its policy and posterior take over for good.
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
        guard: Guard | None = None,
    ) -> None:
        if data is not None and data.image_shape != operator.image_shape:
            raise ValueError(
                f"the data are of images of shape {data.image_shape}, but the operator measures "
                f"{operator.image_shape}: use the same grid for both"
            )
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1 posterior sample")
        self.operator, self.noise, self.posterior, self.policy = operator, noise, posterior, policy
        self.scout, self.count, self.seed, self.guard = scout, count, seed, guard
        self.data = Data(operator.image_shape, operator.device) if data is None else data
        self.told: list[Told] = []
        self.pending: dict[int, None] = {}  # asked for, not yet told, in the order asked
        self.barred: set[int] = set()  # never offered, as nothing can be measured there
        self.snapshot = self._snapshot(None)
        self._recent = [self.snapshot]  # from the latest one on that was drawn to choose by
        self._decision: Decision | None = None

    @property
    def count_told(self) -> int:
        return len(self.told)

    @property
    def designs(self) -> list[int]:
        """Measured, in the order told."""
        return [one.design for one in self.told]

    @property
    def surprises(self) -> list[float | None]:
        """Of each measurement; None where none was predicted."""
        return [one.surprise for one in self.told]

    @property
    def free(self) -> tuple[int, ...]:
        """Designs that are neither measured nor asked for nor barred."""
        return tuple(sorted(set(range(len(self.operator))) - {*self.designs, *self.pending, *self.barred}))

    @property
    def raised(self) -> Raised | None:
        """The alarm of the guard, or None."""
        return self.guard.alarm(self.told) if self.guard else None

    @property
    def without_prior(self) -> int | None:
        """The measurement, from 1, from which on the guard has taken over, or None."""
        return left(self.told) if self.guard else None

    @property
    def leading(self) -> Policy:
        """The policy that decides now."""
        return self.guard.policy if self.guard and self.without_prior else self.policy

    def draws(self) -> Draws:
        """`count` posterior samples given everything told, drawn once."""
        return self.snapshot.draws()

    def choosing(self) -> Draws:
        """The samples that the next design is chosen by, drawn once."""
        return self.snapshot.choosing()

    def scouted(self) -> Draws | None:
        """The samples of `choosing`, if anything needed them yet."""
        return self.snapshot.chosen_by

    def recall(self, told: Sequence[Told], chosen_by: Draws | None) -> None:
        """After the same measurements were told again: what was found and drawn before an interruption."""
        if [one.design for one in told] != self.designs:
            raise ValueError(
                f"{len(told)} measurements were recalled, but {self.count_told} were told, or others; "
                "tell those that were recalled first"
            )
        self.told = list(told)
        posterior, scout = self._posteriors()
        self.snapshot = self._recent[-1] = replace(self.snapshot, posterior=posterior, scout=scout)
        if chosen_by is not None:
            self.take(self.snapshot, chosen_by)

    def take(self, snapshot: "Snapshot", chosen_by: Draws) -> None:
        """Takes over the samples that `snapshot.choosing()` gave elsewhere, as in another process.

        They may come late: what is drawn next starts from the latest ones there are.
        """
        if all(snapshot is not known for known in self._recent):
            raise ValueError(
                f"the samples are of {snapshot.told} measurements, but {self.count_told} were told and "
                "later samples are known; draw from a later snapshot"
            )
        snapshot.take(chosen_by)

    def recent(self, told: int) -> "Snapshot | None":
        """The snapshot of so many measurements, where its samples could still be of use."""
        return next((one for one in self._recent if one.told == told), None)

    @property
    def decided(self) -> Decision | None:
        """The design that `ask` would give now, if it is known already."""
        return self._decision

    def decide(self) -> Decision:
        """The design that `ask` would give now."""
        if self._decision is None:
            self._decision = self.leading.choose(self.choice(self._chosen_by))
        return self._decision

    def at_hand(self, late: bool = False) -> Choice:
        """What a policy may look at now without a draw: `Undrawn` is raised where it asks for more.

        late: the latest samples that are there will do, if any are
        """
        recent, best = tuple(self._recent), self._best

        def past(count: int) -> tuple[Draws, int]:
            drawn = [one for one in recent if one.chosen_by]
            snapshot = drawn[-1] if late and drawn else best(count, recent)
            if snapshot.chosen_by is None:
                raise Undrawn(snapshot)
            return snapshot.chosen_by, snapshot.told

        return self.choice(past)

    def choice(self, past: Callable[[int], tuple[Draws, int]]) -> Choice:
        """What a policy may look at now; `past` gives it samples, and how many were told by then."""
        free = self.free
        if not free:
            raise ValueError(
                f"all {len(self.operator)} designs are measured or asked for; nothing is left to ask"
            )
        taken = self.count_told + len(self.pending)
        return Choice(
            self.operator, free, taken, lambda: past(self.count_told)[0], tuple(self.told), self.noise,
            self.data, tuple(self.pending), past,
        )  # fmt: skip

    def ask(self) -> int:
        """The design to measure next; it is not offered again."""
        design = self.decide().design
        self.reserve(design)
        return design

    def reserve(self, design: int) -> None:
        """Takes a design as asked for, whoever chose it."""
        self.pending[design] = None
        self._decision = None

    def tell(
        self, design: int, values: Numbers, noise: Noise | None = None, setting: Numbers | None = None
    ) -> None:
        """Takes the measurement of a design: asked for or not, in any order, repeated or not.

        noise: of this measurement, where it is another than the experiment's, as with a shutter or a mask
        setting: that the hardware reached, where it is not quite the design's (radians, or a row)
        """
        design, noise = index(design), noise or self.noise
        values = numbers(values).to(self.operator.device)
        self.told.append(self.judge(design, values, noise, setting))
        reached = self.operator.settings[design] if setting is None else numbers(setting)
        self.data = self.data.add(self.operator, design, values, noise, reached)
        self.pending.pop(design, None)
        self.snapshot, self._decision = self._snapshot(self._latest() or self.snapshot.earlier), None
        drawn = [n for n, snapshot in enumerate(self._recent) if snapshot.chosen_by]
        self._recent = [*self._recent[drawn[-1] if drawn else -OLDEST :], self.snapshot]

    def judge(
        self, design: int, values: Numbers, noise: Noise | None = None, setting: Numbers | None = None
    ) -> Told:
        """A measurement as it would be told; raises where it is none."""
        noise, values = noise or self.noise, numbers(values).to(self.operator.device)
        check_measured(self.operator, design, values, noise, setting)
        reached = self.operator.settings[design] if setting is None else numbers(setting)
        precision, predicted = noise.precision(values), self._predicted(reached)
        apart = None if predicted is None else deviations(predicted, values, precision)
        told = Told(
            design, reached.tolist(), mean_square(apart, precision), self._moves(),
            relative_noise(values, precision), None if apart is None else rounded(apart),
        )  # fmt: skip
        if predicted is None or not self._doubts(told):
            return told
        try:
            return replace(told, worse=worse(*self._both(reached), values, precision))
        except (RuntimeError, FloatingPointError):  # as out of memory: a measurement is never lost by that
            return told

    def step(self, until: Callable[["Experiment"], bool] = lambda _: False) -> Step:
        """The latest measurement as a step; the next design is decided, unless that was the last one."""
        start = time.perf_counter()
        following = None if not self.free or until(self) else self.decide()
        seconds = time.perf_counter() - start if following else 0.0
        latest = self.told[-1]
        draw = self.snapshot.draws
        return Step(self.count_told, latest.design, latest.setting, seconds, following, draw)

    def _chosen_by(self, count: int) -> tuple[Draws, int]:
        """The latest samples to choose by, if `count` were told by then, else those of when they were."""
        snapshot = self._best(count, self._recent)
        return snapshot.choosing(), snapshot.told

    @staticmethod
    def _best(count: int, recent: Sequence["Snapshot"]) -> "Snapshot":
        drawn = [one for one in recent if one.chosen_by and one.told >= count]
        known = [one for one in recent if one.told <= count]
        return [*(drawn or known or recent)][-1]

    def _latest(self) -> Draws | None:
        """The latest samples to choose by that were drawn."""
        snapshot = self._drawn()
        return snapshot and snapshot.chosen_by

    def _drawn(self) -> "Snapshot | None":
        return next((one for one in reversed(self._recent) if one.chosen_by), None)

    def _snapshot(self, earlier: Draws | None) -> "Snapshot":
        posterior, scout = self._posteriors()
        return Snapshot(posterior, scout, self.data, self.count, self.seed, self.count_told, earlier)

    def _posteriors(self) -> tuple[Posterior, Posterior | None]:
        """What estimates now, and the scout."""
        over = self.guard and self.without_prior
        return (self.guard.posterior, None) if self.guard and over else (self.posterior, self.scout)

    def _moves(self) -> list[float] | None:
        """Of the latest samples, unless they stand beside an earlier measurement already."""
        latest = self._latest()
        moves = None if latest is None or latest.moves is None else latest.moves.tolist()
        return moves if moves != next((one.moves for one in reversed(self.told) if one.moves), None) else None

    def _predicted(self, reached: Tensor) -> Tensor | None:
        """What the latest samples say of a measurement at a setting."""
        latest = self._latest()
        return None if latest is None else self._seen(reached, latest.images)

    def _doubts(self, told: Told) -> bool:
        """Whether an alarm is raised by now, and it is not decided what follows."""
        if self.guard is None or decided(self.told):
            return False
        return self.guard.alarm([*self.told, told]) is not None

    def _both(self, reached: Tensor) -> tuple[Tensor, Tensor]:
        """A measurement at a setting by the prior and by the guard, given the data of the latest samples."""
        guard, snapshot = self.guard, self._drawn()
        assert guard is not None and snapshot is not None
        by_prior = snapshot.draws() if guard.by_estimate else snapshot.choosing()
        bare = snapshot.bare(guard.posterior)
        return self._seen(reached, by_prior.images), self._seen(reached, bare.images)[0]

    def _seen(self, reached: Tensor, images: Tensor) -> Tensor:
        """What a measurement at a setting would be of images."""
        with torch.no_grad():
            return self.operator.at(reached[None]).forward(images)[:, 0]


def check_measured(
    operator: Operator, design: int, values: Numbers, noise: Noise, setting: Numbers | None = None
) -> None:
    """Raises where this is no measurement: number or setting of the design, shape or type of the values."""
    values = numbers(values)
    if not 0 <= design < len(operator):
        raise ValueError(f"design {design} is unknown; the operator has designs 0 to {len(operator) - 1}")
    if tuple(values.shape) != operator.block_shape:
        raise ValueError(
            f"values have shape {tuple(values.shape)}, but one design of {operator!r} reads "
            f"{operator.block_shape}; was the detector binned?"
        )
    if values.is_complex() != operator.complex_values:
        came, expected = ("complex", "real") if values.is_complex() else ("real", "complex")
        raise ValueError(
            f"values are {came} ({values.dtype}), but {operator!r} measures {expected} numbers; "
            f"{'take line integrals' if expected == 'real' else 'keep the phase of k-space'}"
        )
    bad = int((~values.isfinite() & (noise.precision(values) != 0)).sum())
    if bad:
        raise ValueError(
            f"{bad} of {values.numel()} values of design {design} are NaN or infinite; expected finite "
            "numbers: check the flat field, or mask dead detector bins with the noise Masked(noise, bins)"
        )
    if setting is not None:
        _check_reached(operator, design, setting)


def _check_reached(operator: Operator, design: int, setting: Numbers) -> None:
    """Raises where a setting cannot be where the hardware stopped when it was sent to a design."""
    expected, reached = operator.settings[design], numbers(setting)
    if reached.shape != expected.shape:
        raise ValueError(
            f"the setting reached is {reached.tolist()}; design {design} is at {expected.tolist()}"
        )
    if expected.ndim or len(operator) < 2:
        return
    asked, shown = operator.shown[design].item(), operator.at(reached[None]).shown.item()
    apart, unit = operator.kind.apart(operator.shown[design], shown), operator.kind.unit
    if not apart <= operator.shown.sort().values.diff().max():
        raise ValueError(
            f"design {design} is at {asked:g} {unit}, but {shown:g} was reached, further off than the next "
            "design: is this its measurement, and was the setting given in radians?"
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is known between two measurements, and the samples of it, each drawn when first needed.

    Nothing that is told later changes it. It can be drawn in a thread, which the experiment then finds done,
    or in another process, see `Experiment.take`.
    """

    posterior: Posterior
    scout: Posterior | None
    data: Data
    count: int
    seed: int
    told: int  # measurements
    earlier: Draws | None  # what the samples to choose by may start from
    _drawn: dict[str, Draws] = field(default_factory=dict, repr=False)

    def choosing(self) -> Draws:
        """The samples to choose the next design by."""
        if self.chosen_by is None:
            self.take(self._draw("scout", self.scout, self.earlier) if self.scout else self.draws())
        return self._drawn["choosing"]

    def draws(self) -> Draws:
        """The samples to look at."""
        return self._draw("draws", self.posterior, None if self.scout else self.earlier)

    def bare(self, posterior: Posterior) -> Draws:
        """The image of a posterior without samples."""
        return self._draw("bare", posterior, None)

    @property
    def chosen_by(self) -> Draws | None:
        """The samples of `choosing`, if anything needed them yet."""
        return self._drawn.get("choosing")

    def anew(self) -> "Snapshot":
        """The same, with nothing drawn: for another thread or process, see `Experiment.take`."""
        return replace(self, _drawn={})

    def take(self, chosen_by: Draws) -> None:
        """Keeps samples of `choosing` that were drawn elsewhere."""
        self._drawn["choosing"] = chosen_by
        if self.scout is None:
            self._drawn["draws"] = chosen_by

    def _draw(self, purpose: str, posterior: Posterior, earlier: Draws | None) -> Draws:
        if purpose in self._drawn:
            return self._drawn[purpose]
        rng = stream(self.seed, purpose, self.told)
        draws = posterior.sample(self.data, self.count, rng=rng, previous=earlier)
        if not bool(draws.images.isfinite().all() and draws.guess.isfinite().all()):
            raise FloatingPointError(
                f"{type(posterior).__name__} gave an image that is NaN or infinite after {self.told} "
                "measurements; nothing can be chosen or judged by it: check the noise and the intensity range"
            )
        return self._drawn.setdefault(purpose, draws)


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
