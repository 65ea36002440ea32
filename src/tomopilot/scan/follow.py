"""One scan of a known image, from its beginning or from where its record ends."""

from collections.abc import Iterator

from torch import Tensor

from tomopilot.design.disagreement import disagreement, unpredicted
from tomopilot.experiment import Experiment
from tomopilot.files.archive import Archive
from tomopilot.randomness import stream
from tomopilot.scan.judge import Row
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.recorded import Recorded
from tomopilot.scan.virtual import virtual

RECORD = "run.db"


def follow(plan: Plan, scan: Scan, archive: Archive) -> Iterator[Row]:
    """Runs one scan, or continues it after an interruption; ends with its estimate in the record."""
    rows = archive.steps(scan.key)
    yield from rows
    if archive.estimate(scan.key, len(rows)):
        return
    cell = virtual(plan, scan)
    experiment, until, judge = cell.parts.experiment, cell.parts.until, cell.judge
    recorded, shown = Recorded(experiment, archive, scan.key, cell.scouts), scan in shown_halfway(plan)

    def keep(row: Row) -> Row:
        if cell.scouts:
            row["scouts"] = list(cell.scouts.numbers)
        if shown and row["count"] == plan.halfway:
            archive.add_estimate(scan.halfway, row["count"], {"guess": experiment.draws().guess})
        return recorded.keep(row)

    if recorded.unjudged:
        yield keep(judge.row(lambda: experiment.step(until)))
    while experiment.free and not until(experiment):
        experiment.decide()  # known already, except after a resume: then it is not counted twice
        yield keep(judge.row(lambda: recorded.step(cell.instrument, until, cell.noise)))
    archive.add_estimate(scan.key, experiment.count_told, final(experiment))


def shown_halfway(plan: Plan) -> list[Scan]:
    """The scans of the first image, where there are several: only their estimates are kept on the way."""
    return [scan for scan in plan.scans if scan.image == plan.images[0]] if len(plan.methods) > 1 else []


def final(experiment: Experiment) -> dict[str, Tensor]:
    """The last estimate, its samples, and where the data argue with what the samples had predicted.

    Where the prior was left, also the estimate by it. Where nothing was predicted, what the data say against
    the estimate, of both the one by the prior.
    """
    draws = experiment.draws()
    found = {"images": draws.images, "guess": draws.guess}
    if experiment.snapshot.posterior is not experiment.posterior:
        rng = stream(experiment.seed, "draws", experiment.count_told)
        draws = experiment.posterior.sample(experiment.data, experiment.count, rng=rng)
        found["by_prior"] = draws.guess
    rng = stream(experiment.seed, "disagreement")
    if (missed := unpredicted(experiment.operator, experiment.told, rng=rng)) is not None:
        return found | {"unpredicted": missed}
    return found | {"disagreement": disagreement(experiment.data, draws.guess, rng=rng)}
