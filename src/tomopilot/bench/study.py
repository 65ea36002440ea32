"""A grid of virtual scans: images times methods, each scan resumable, judged step by step into rows."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from tomopilot.design.stopping import budget
from tomopilot.experiment import Experiment, run
from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.files.nexus import ScanFile, write_scan
from tomopilot.metrics import psnr, rmse, ssim
from tomopilot.prior.checkpoint import Prior, load_prior
from tomopilot.prior.denoiser import Metered
from tomopilot.recipe import (
    ADAPTIVE,
    PRIOR_FREE,
    Method,
    check_image,
    make_noise,
    make_operator,
    make_policy,
    make_posterior,
)
from tomopilot.records import Data, Draws, Step
from tomopilot.simulate.instrument import Simulated

Row = dict[str, Any]
RECORD = "run.db"


@dataclass(frozen=True)
class Plan:
    """All that determines the numbers of a study; kept with the run, so that resuming needs nothing else."""

    images: tuple[str, ...]  # specs of single images
    methods: tuple[Method, ...]
    operator: str = "radon"
    angles: int = 180
    bins: int | None = None
    noise: str = "relative:0.01"
    finer: int = 1
    count: int = 10
    budget: int = 20
    start: int = 4
    at: tuple[int, ...] | None = None  # judge after these many measurements only
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.images or not self.methods:
            raise ValueError("a study needs at least one image and one method")
        if not 1 <= self.budget <= self.angles:
            raise ValueError(
                f"the budget is {self.budget} measurements; expected 1 to {self.angles}, the number of angles"
            )
        if self.at is not None and not all(1 <= count <= self.budget for count in self.at):
            raise ValueError(
                f"counts to judge at are {list(self.at)}; expected 1 to the budget, {self.budget}"
            )
        for name, least in (("start", 0), ("count", 1), ("finer", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.count < 2 and any(method.policy in ADAPTIVE for method in self.methods):
            raise ValueError("an adaptive policy compares samples: ask for a --count of at least 2")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Plan":
        fields = json.loads(text)
        methods = tuple(Method(**method) for method in fields["methods"])
        at = None if fields["at"] is None else tuple(fields["at"])
        return Plan(**{**fields, "images": tuple(fields["images"]), "methods": methods, "at": at})

    def label(self, spec: str) -> str:
        """An image's name in tables: without its folder, where that is enough to tell it from the others."""
        short = [Path(image).name for image in self.images]
        return Path(spec).name if short.count(Path(spec).name) == 1 else spec

    def judges(self, count: int) -> bool:
        return self.at is None or count in self.at


@dataclass(frozen=True)
class Scan:
    """One cell of the grid."""

    image: str
    method: Method

    @property
    def key(self) -> str:
        return json.dumps([self.image, self.method.prior, self.method.posterior, self.method.policy])


def scans(plan: Plan) -> list[Scan]:
    return [Scan(image, method) for image, method in product(plan.images, plan.methods)]


@lru_cache(maxsize=4)
def _prior(name: str, device: str) -> Prior:
    return load_prior(name, device)


def check(plan: Plan) -> None:
    """Reads every image and prior once, so that a wrong one is refused before the first scan."""
    for spec in plan.images:
        (image,) = read_images(spec)
        make_operator(plan.operator, image, angles=plan.angles, bins=plan.bins, device="cpu")
        make_noise(plan.noise, image.pixels, len(image.pixels))
        for name in {method.prior for method in plan.methods if method.posterior not in PRIOR_FREE}:
            assert name is not None
            check_image(image, _prior(name, plan.device))


class Judge:
    """Builds the experiment of one scan and turns its steps into rows."""

    def __init__(self, plan: Plan, scan: Scan) -> None:
        self.plan, self.scan = plan, scan
        (image,) = read_images(scan.image)
        self.truth = image.pixels.to(plan.device)
        self.operator = make_operator(
            plan.operator, image, angles=plan.angles, bins=plan.bins, device=plan.device
        )
        everything = torch.arange(len(self.operator))
        simulated = Simulated(self.truth, self.operator, make_noise("none", self.truth, 1), finer=plan.finer)
        clean = simulated.clean(everything) if plan.noise.startswith("relative") else self.truth
        noise = make_noise(plan.noise, clean, len(self.truth))
        self.instrument = Simulated(self.truth, self.operator, noise, seed=plan.seed, finer=plan.finer)
        method = scan.method
        prior = None if method.posterior in PRIOR_FREE else _prior(method.prior or "", plan.device)
        self.peak, scale = (prior.high - prior.low, prior.scale) if prior else (1.0, 0.5)
        self.meter = Metered(prior) if prior else None
        self.posterior = make_posterior(method.posterior, self.meter, scale)
        self.draw_seconds = 0.0
        policy = make_policy(method.policy, len(self.operator), start=plan.start, seed=plan.seed)
        self.experiment = Experiment(self.operator, noise, self, policy, count=plan.count, seed=plan.seed)

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        """The posterior with a stopwatch on it."""
        start = time.perf_counter()
        draws = self.posterior.sample(data, count, rng=rng, previous=previous)
        if draws.images.is_cuda:
            torch.cuda.synchronize(draws.images.device)
        self.draw_seconds += time.perf_counter() - start
        return draws

    def network(self) -> tuple[int, float]:
        """Images through the network, and seconds in it, so far."""
        return (self.meter.evaluations, self.meter.seconds) if self.meter else (0, 0.0)

    def row(self, take: Callable[[], Step]) -> Row:
        """The row of one step, `take` being what measures, decides and returns it."""
        begun, drawn, (evaluations, network) = time.perf_counter(), self.draw_seconds, self.network()
        step = take()
        method, plan = self.scan.method, self.plan
        row: Row = {
            "image": plan.label(self.scan.image), **asdict(method), "seed": plan.seed, "count": step.count,
            "design": step.design, "setting": self.operator.settings[step.design].rad2deg().item(),
            "psnr": None, "ssim": None, "rmse": None, "spread": None, "seconds": step.seconds,
            "network_evaluations": 0, "estimate_seconds": None,
        }  # fmt: skip
        if plan.judges(step.count):
            draws = step.draws
            quality = psnr(draws.guess, self.truth, self.peak)
            row["psnr"] = quality if math.isfinite(quality) else None  # JSON knows no infinity
            row["ssim"] = ssim(draws.guess, self.truth, self.peak)
            row["rmse"] = rmse(draws.guess, self.truth)
            row["spread"] = draws.images.std(0).mean().item() if len(draws.images) > 1 else None
            row["estimate_seconds"] = self.draw_seconds - drawn
        decided_by_draws = self.draw_seconds - drawn if step.next and step.next.scores is not None else 0.0
        row["network_evaluations"] = self.network()[0] - evaluations
        in_network = self.network()[1] - network
        row["split"] = {
            "network": in_network,
            "consistency": self.draw_seconds - drawn - in_network,
            "projection": max(0.0, step.seconds - decided_by_draws),
        }
        row["split"]["rest"] = time.perf_counter() - begun - sum(row["split"].values())
        if step.next and step.next.scores is not None:
            row["scores"] = [None if math.isnan(score) else score for score in step.next.scores.tolist()]
        return row


def follow(plan: Plan, scan: Scan, archive: Archive) -> Iterator[Row]:
    """Runs one scan, or goes on where it was interrupted; every measurement is on disk before it is used."""
    rows = archive.steps(scan.key)
    yield from rows
    if len(rows) == plan.budget:
        return
    judge = Judge(plan, scan)
    experiment, until = judge.experiment, budget(plan.budget)
    for design, values in archive.blocks(scan.key):
        experiment.tell(design, values)

    def measure(design: int):
        values = judge.instrument(design)
        archive.add_block(scan.key, experiment.count_told + 1, design, values)
        return values

    def keep(row: Row) -> Row:
        archive.add_step(scan.key, row["count"], row)
        return row

    if experiment.count_told > len(rows):
        yield keep(judge.row(lambda: experiment.step(last=until(experiment))))
    steps = run(experiment, measure, until=until)
    while not until(experiment):
        experiment.decide()  # known already, except after a resume: then it is not counted twice
        yield keep(judge.row(lambda: next(steps)))


def finish(plan: Plan, scan: Scan, archive: Archive, path: Path, provenance: Mapping[str, str]) -> ScanFile:
    """The NXtomo file of a finished scan: projections, estimate, uncertainty, samples, scores."""
    judge, rows = Judge(plan, scan), archive.steps(scan.key)
    blocks = archive.blocks(scan.key)
    for design, values in blocks:
        judge.experiment.tell(design, values)
    draws = judge.experiment.draws()
    settings = judge.operator.settings.rad2deg()
    scores = [[math.nan if s is None else s for s in row["scores"]] for row in rows if "scores" in row]
    uncertainty = draws.images.std(0) if len(draws.images) > 1 else torch.full_like(draws.guess, math.nan)
    file = ScanFile(
        projections=torch.stack([values for _, values in blocks]).numpy(),
        angles_deg=settings[torch.tensor([design for design, _ in blocks])].cpu().numpy(),
        reconstruction=draws.guess.cpu().numpy(),
        uncertainty=uncertainty.cpu().numpy(),
        samples=draws.images.cpu().numpy(),
        scores=torch.tensor(scores).reshape(-1, len(settings)).numpy(),
        settings_deg=settings.cpu().numpy(),
        name=scan.image,
        provenance=dict(provenance),
    )
    write_scan(path, file)
    return file


def follow_all(plan: Plan, path: Path, workers: int = 1) -> Iterator[Row]:
    """The rows of all scans, as they come; several workers share the machine's cores."""
    if workers == 1:
        archive = Archive(path)
        for scan in scans(plan):
            yield from follow(plan, scan, archive)
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_work, plan.to_json(), index, path, threads) for index in range(len(scans(plan)))]
        for job in as_completed(jobs):
            yield from job.result()


def _work(plan_json: str, index: int, path: Path, threads: int) -> list[Row]:
    torch.set_num_threads(threads)
    plan = Plan.from_json(plan_json)
    return list(follow(plan, scans(plan)[index], Archive(path)))
