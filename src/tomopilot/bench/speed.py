"""How long things take, and how much memory: a choice, an estimate, conjugate gradients, the projector."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, NamedTuple

import torch

from tomopilot.bench.projectors import PROJECTORS, disc, obstacle
from tomopilot.design.policy import Choice, bisect_order
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.denoiser import Metered
from tomopilot.randomness import stream
from tomopilot.report.charts import seconds
from tomopilot.scan.grid import candidates
from tomopilot.scan.judge import Row
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import Virtual, virtual

LONG = 512  # sides from which a step is timed once
Work = tuple[Callable[[], object], Metered | None]  # what is timed, and who counts the network's images


class Case(NamedTuple):
    """One row to come; `prepare` builds what it needs."""

    case: str
    size: int  # side of the image in pixels
    samples: int
    angles: int
    prepare: Callable[[], Work]
    once: bool = False  # so long that the first call is timed, with what it builds


@dataclass(frozen=True)
class Speed:
    """Seconds and memory of a choice, an estimate, conjugate gradients and the projector."""

    plan: Plan
    samples: tuple[int, ...] = (3, 10)
    measured: tuple[int, ...] = (11, 41)  # primes: no refresh of warm samples falls on them
    solved: tuple[int, ...] = (5, 11, 20, 41, 90, 180)
    sizes: tuple[int, ...] = (64, 128, 256, 512)  # of the projectors
    grown: tuple[int, ...] = (64, 256)  # sides of phantoms that the last method scans besides the image
    repeats: int = 5
    patience: float = 20.0  # seconds after which a case is not repeated again
    columns: ClassVar[tuple[str, ...]] = (
        "case", "size", "samples", "angles", "seconds", "cpu_seconds", "network_evaluations", "peak_mib"
    )  # fmt: skip

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What cannot be timed here, and why."""
        return tuple(filter(None, map(obstacle, PROJECTORS)))

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        plan, few, most = self.plan, min(self.samples), max(self.samples)
        side, found = len(virtual(plan, Scan(plan.images[0], plan.methods[0])).simulated.image), []
        for method, count, n in product(plan.methods, self.samples, self.measured):
            found += scanning(replace(plan, count=count), method, side, n)
        for n in self.solved:
            told = partial(tell, replace(plan, count=most), plan.methods[0], n)
            found.append(Case("conjugate gradients", side, most, n, partial(solving, told)))
        for name, wide in product(PROJECTORS, self.sizes):
            if obstacle(name) is None:
                work = partial(projecting, plan, name, wide)
                found.append(Case(f"projector: {name}", wide, 1, len(candidates(plan.angles, None)), work))
        for wide in self.grown:
            larger = replace(plan, count=few, images=(f"phantom:chip@{wide}::0",))
            found += scanning(larger, plan.methods[-1], wide, min(self.measured))
        return tuple(found)

    def __len__(self) -> int:
        return len(self.cases)

    def parts(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {str(case[:4]): partial(self._timed, case) for case in self.cases}

    def _timed(self, case: Case) -> Iterator[Row]:
        yield timed(case, self.repeats, self.patience, self.plan.device)

    def line(self, row: Row) -> str:
        what = f"{row['case']}, {row['size']} px, {row['samples']} samples, {row['angles']} angles"
        spent = f"{row['seconds']:.4f} s, {row['cpu_seconds']:.4f} s of processor"
        return f"{what}: {spent}, {row['peak_mib']:.0f} MiB"

    def findings(self, rows: list[Row]) -> dict[str, Any]:
        machine = {"threads": torch.get_num_threads(), "cores": os.cpu_count()}
        return {**machine, "count": self.samples, "repeats": self.repeats, "notes": self.notes, "cases": rows}

    def table(self, findings: dict[str, Any]) -> list[dict[str, Any]]:
        return findings["cases"]

    def pictures(self, findings: dict[str, Any]) -> dict[str, bytes]:
        cases, side = findings["cases"], findings["cases"][0]["size"]
        sized = [row for row in cases if row["case"].startswith("projector")]
        others = [row for row in cases if row not in sized]
        few = (min(self.samples), min(self.measured), self.plan.methods[-1].posterior)
        grown = [r for r in others if (r["samples"], r["angles"], r["case"].rpartition(": ")[0]) == few]
        return {
            "seconds_by_size.png": seconds(
                sized, "size", "side of the image (pixels), all angles there and back"
            ),
            "seconds_by_angles.png": seconds(
                [row for row in others if row["size"] == side], "angles", "measured angles"
            ),
            "step_by_size.png": seconds(grown, "size", "side of the image (pixels)"),
        }


def scanning(plan: Plan, method: Method, side: int, n: int) -> list[Case]:
    """A choice from cold and, where the method knows them, warm samples, and an estimate."""
    told, once = partial(tell, plan, method, n), side >= LONG
    starts = {"cold": False, "warm": True} if method.chooser != method.estimator else {"cold": False}
    works = {f"choice, {start}": partial(choosing, told, warm) for start, warm in starts.items()}
    works["estimate"] = partial(estimating, told)
    return [Case(f"{method.posterior}: {name}", side, plan.count, n, w, once) for name, w in works.items()]


def tell(plan: Plan, method: Method, n: int) -> Virtual:
    """A scan of the first image after its first `n` angles of the uniform order."""
    cell = virtual(plan, Scan(plan.images[0], method))
    for design in bisect_order(len(cell.instrument.operator))[:n]:
        cell.parts.experiment.tell(design, cell.instrument(design))
    return cell


def choosing(told: Callable[[], Virtual], warm: bool) -> Work:
    """The next angle by the chooser's samples; `warm` ones start from those of a moment before."""
    parts = told().parts
    experiment = parts.experiment

    def draw(previous=None):
        rng = stream(experiment.seed, "speed")
        return parts.chooser.sample(experiment.data, experiment.count, rng=rng, previous=previous)

    taken, sample = experiment.count_told, partial(draw, draw() if warm else None)
    choice = Choice(experiment.operator, experiment.free, taken, sample, noise=experiment.noise)
    return lambda: experiment.policy.choose(choice), parts.meter


def estimating(told: Callable[[], Virtual]) -> Work:
    parts = told().parts
    data, count, seed = parts.experiment.data, parts.experiment.count, parts.experiment.seed
    return lambda: parts.estimator.sample(data, count, rng=stream(seed, "speed")), parts.meter


def solving(told: Callable[[], Virtual]) -> Work:
    """The data consistency of one sampling step, without its network."""
    experiment = told().parts.experiment
    shape = (experiment.count, *experiment.operator.image_shape)
    noisy = torch.randn(shape, generator=stream("speed")).to(experiment.operator.device)
    sigma = torch.full((len(noisy),), 0.1).to(noisy)
    consistent = Prox()(lambda x, sigma: x, experiment.data)
    return lambda: consistent(noisy, sigma), None


def projecting(plan: Plan, name: str, side: int) -> Work:
    """All projections of one image, and their back-projection."""
    _, make = PROJECTORS[name]
    return make(disc(side).to(plan.device), candidates(plan.angles, None).to(plan.device)), None


def timed(case: Case, repeats: int, patience: float, device: str) -> Row:
    """Median seconds after a first call, which may build things; the rise in memory includes it.

    Processor seconds tell what a machine would need that has nothing else to do. A case that is called `once`
    has the seconds of that call.
    """
    call, meter = case.prepare()

    def called() -> tuple[float, float]:
        start, busy = time.perf_counter(), time.process_time()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - busy

    before = peak_mib(device, reset=True)
    if not case.once:
        called()
    counted, taken = meter.evaluations if meter else 0, []
    while len(taken) < (1 if case.once else repeats) and sum(elapsed for elapsed, _ in taken) < patience:
        taken.append(called())
    elapsed, processor = map(median, zip(*taken, strict=True))
    return {
        **dict(zip(Case._fields[:4], case, strict=False)),
        "seconds": elapsed,
        "cpu_seconds": processor,
        "network_evaluations": (meter.evaluations - counted) // len(taken) if meter else 0,
        "peak_mib": peak_mib(device) - before,
    }


def peak_mib(device: str, *, reset: bool = False) -> float:
    """Most memory held since the last reset: of tensors on a GPU, else of this process.

    Where the system cannot forget an earlier peak (elsewhere than on Linux), smaller ones remain unseen.
    """
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    if reset:
        gc.collect()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
