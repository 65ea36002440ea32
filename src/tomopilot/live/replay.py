"""The decisions of a live scan made again from its record: the same measurements, the same choices."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tomopilot.live.chooser import Chooser
from tomopilot.live.held import release
from tomopilot.live.ledger import Ledger
from tomopilot.live.record import KEY, open_record, read_setup
from tomopilot.scan.recorded import Recorded


@dataclass(frozen=True)
class Again:
    """A suggestion as it was recorded, and the design that the same measurements lead to now."""

    id: int
    by: str
    recorded: int
    decided: int
    gain: list[float] | None  # scores of all designs now, NaN where none was made


def replayed(folder: Path) -> list[Again]:
    """Every decision of a scan again, samples drawn anew, without clocks.

    What operators asked for and what a rule answered at a deadline is taken as it was recorded.
    """
    with closing(open_record(folder)) as book:
        setup = read_setup(book)
        parts, scouts = setup.assembled()
        experiment, ledger = parts.experiment, Ledger(setup)
        recorded = Recorded(experiment, book, KEY, scouts, recall=False)
        chooser, blocks, found = Chooser(setup, experiment), book.each_block(KEY), []
        for event in book.events():
            content = event.content
            if event.kind == "suggested":
                design, gain = content["design"], None
                if content["why"] is None:
                    decision = chooser(ledger, late=False, failed=None)().decision
                    design = decision.design
                    gain = None if decision.scores is None else decision.scores.tolist()
                found.append(Again(content["id"], content["by"], content["design"], design, gain))
                experiment.reserve(content["design"])
            elif event.kind == "told":
                recorded.take(next(blocks))
            elif event.kind == "used" and (snapshot := experiment.recent(content["told"])):
                experiment.take(snapshot, snapshot.anew().choosing())
            ledger.apply([event])
            if event.kind in ("failed", "quarantined"):
                release(experiment, ledger, ledger.suggestions[content["id"]].design)
        return found
