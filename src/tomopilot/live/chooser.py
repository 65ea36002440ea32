"""Who decides what a live scan measures next, also where no samples come."""

from collections.abc import Callable
from typing import NamedTuple

from tomopilot.design.policy import InOrder
from tomopilot.experiment import Experiment, Snapshot, Undrawn
from tomopilot.live.ledger import Ledger
from tomopilot.live.setup import Setup
from tomopilot.records import Decision
from tomopilot.scan.parts import PARALLEL


class Chosen(NamedTuple):
    """A decision, by whom, and why not by the policy with samples of all that was measured."""

    decision: Decision
    by: str
    why: str | None = None


class Chooser:
    """An operator's angle first, then what has to be repeated, then the policy; at the deadline, a rule.

    Until the deadline `Undrawn` is raised where the policy needs samples that are not there. At it, the
    latest ones that are there will do; where there are none, or they cannot be drawn, the rule answers.
    """

    def __init__(self, setup: Setup, experiment: Experiment) -> None:
        self.setup, self.experiment = setup, experiment
        self._uniform, self._rule = (self._order(name) for name in ("uniform", setup.fallback))

    def __call__(self, ledger: Ledger, late: bool, failed: Snapshot | None) -> Callable[[], Chosen]:
        """What decides; it takes a while, and whatever is told meanwhile does not change it.

        failed: samples that could not be drawn
        """
        for queue, by in ((ledger.forced, "operator"), (ledger.again, "again")):
            if queue:
                first = Chosen(Decision(next(iter(queue))), by)
                return lambda: first
        choice, experiment = self.experiment.at_hand(late), self.experiment
        if ledger.uniform:
            return lambda: Chosen(self._uniform.choose(choice), "uniform")
        policy = experiment.leading
        if policy is not experiment.policy:
            return lambda: Chosen(policy.choose(choice), "uniform", "alarm")
        trouble = f"no samples: {ledger.trouble['message']}" if ledger.trouble else None
        earlier = "earlier samples" if late and experiment.scouted() is None else None

        def choose() -> Chosen:
            try:
                return Chosen(policy.choose(choice), self.setup.policy, earlier)
            except Undrawn as error:
                if not late and error.snapshot is not failed:
                    raise
                return Chosen(self._rule.choose(choice), self.setup.fallback, trouble or "no samples in time")
            except FloatingPointError as error:
                return Chosen(self._rule.choose(choice), self.setup.fallback, str(error))

        return choose

    def _order(self, name: str) -> InOrder:
        return InOrder(PARALLEL.orders[name](self.experiment.operator, self.setup.seed, 0, 0))
