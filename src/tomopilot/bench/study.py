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
from torch import Tensor

from tomopilot.design.stopping import Rule, budget, certain, either
from tomopilot.design.trust import Raised, expected_rmse
from tomopilot.experiment import Experiment, run
from tomopilot.files.archive import Archive
from tomopilot.files.images import read_images
from tomopilot.files.kspace import KspaceFile, write_kspace
from tomopilot.files.nexus import ScanFile, write_scan
from tomopilot.measure.fourier import Fourier, to_complex
from tomopilot.measure.noise import Gaussian
from tomopilot.metrics import magnitude, psnr, rmse, rmse_at, ssim
from tomopilot.nets.build import fast_precision
from tomopilot.posterior.posterior import Posterior
from tomopilot.prior.checkpoint import Prior, load_prior
from tomopilot.prior.denoiser import Metered
from tomopilot.recipe import (
    ADAPTIVE,
    Method,
    check_image,
    check_method,
    make_alarm,
    make_margin,
    make_noise,
    make_operator,
    make_policy,
    make_posteriors,
    make_truth,
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
    certain: float | None = None  # dB: stop before the budget once the estimate is expected to be this good
    at: tuple[int, ...] | None = None  # judge after these many measurements only
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.images or not self.methods:
            raise ValueError("a study needs at least one image and one method")
        if self.budget < 1 or (self.operator == "radon" and self.budget > self.angles):
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
        if self.certain is not None and self.count < 2:
            raise ValueError("certainty comes from the spread of samples: ask for a --count of at least 2")
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
    return load_prior(name, device, precision=fast_precision(device))


def check(plan: Plan) -> None:
    """Reads every image and prior once, so that a wrong one is refused before the first scan."""
    for spec in plan.images:
        (image,) = read_images(spec)
        operator = make_operator(plan.operator, image, angles=plan.angles, bins=plan.bins, device="cpu")
        if plan.budget > len(operator):
            raise ValueError(
                f"the budget is {plan.budget} measurements, but {operator!r} of {spec} has {len(operator)}"
            )
        truth = make_truth(plan.operator, image, plan.seed)
        make_noise(plan.noise, operator[torch.tensor([0])].forward(truth[None]), len(image.pixels))
        for method in plan.methods:
            check_method(method, plan.operator)
            if method.prior:
                check_image(image, _prior(method.prior, plan.device), operator)
            if plan.certain is not None:
                make_margin(method, _trust(method, plan))
            make_policy(
                method.policy, len(operator), start=0, seed=0, image=plan.label(spec), operator=plan.operator
            )


def _trust(method: Method, plan: Plan) -> Mapping[str, Any]:
    """What the card of a method's prior says of how far its samples can be believed."""
    return _prior(method.prior, plan.device).card.get("trust", {}) if method.prior else {}


class Watched:
    """A posterior with a stopwatch on it, and a count of the images its draws sent through the network."""

    def __init__(self, posterior: Posterior, meter: Metered | None) -> None:
        self.posterior, self.meter, self.seconds, self.evaluations = posterior, meter, 0.0, 0

    def sample(self, data: Data, count: int, *, rng: torch.Generator, previous: Draws | None = None) -> Draws:
        start, before = time.perf_counter(), self.meter.evaluations if self.meter else 0
        draws = self.posterior.sample(data, count, rng=rng, previous=previous)
        if draws.images.is_cuda:
            torch.cuda.synchronize(draws.images.device)
        self.seconds += time.perf_counter() - start
        self.evaluations += (self.meter.evaluations if self.meter else 0) - before
        return draws


class Judge:
    """Builds the experiment of one scan and turns its steps into rows."""

    def __init__(self, plan: Plan, scan: Scan) -> None:
        self.plan, self.scan = plan, scan
        (image,) = read_images(scan.image)
        self.truth = make_truth(plan.operator, image, plan.seed).to(plan.device)
        self.operator = make_operator(
            plan.operator, image, angles=plan.angles, bins=plan.bins, device=plan.device
        )
        everything = torch.arange(len(self.operator))
        exact = Simulated(self.truth, self.operator, Gaussian(), finer=plan.finer).clean(everything)
        noise = make_noise(plan.noise, exact, len(image.pixels))
        self.instrument = Simulated(self.truth, self.operator, noise, seed=plan.seed, finer=plan.finer)
        method = scan.method
        prior = _prior(method.prior, plan.device) if method.prior else None
        self.trust = trust = _trust(method, plan)
        self.peak = prior.peak if prior else 1.0
        self.meter = Metered(prior) if prior else None
        chooser, estimator = make_posteriors(method, self.meter, prior.scale if prior else 0.5, trust)
        self.estimator = Watched(estimator, self.meter)
        self.chooser = Watched(chooser, self.meter) if chooser is not estimator else self.estimator
        self.alarm = make_alarm(method, trust, plan.noise)
        policy = make_policy(
            method.policy, len(self.operator), start=plan.start, seed=plan.seed, alarm=self.alarm,
            image=plan.label(scan.image), operator=plan.operator, budget=plan.budget,
        )  # fmt: skip
        self.until: Rule = budget(plan.budget)
        if plan.certain is not None:
            wanted = certain(rmse_at(plan.certain, self.peak), make_margin(method, trust), self.picture)
            self.until = either(self.until, wanted)
        self.experiment = Experiment(
            self.operator,
            noise,
            self.estimator,
            policy,
            scout=self.chooser if self.chooser is not self.estimator else None,
            count=plan.count,
            seed=plan.seed,
        )

    def _so_far(self) -> dict[str, float]:
        """Clocks and counters whose differences make a row."""
        drawn = sum(watched.seconds for watched in {self.chooser, self.estimator})
        network = self.meter.seconds if self.meter else 0.0
        return {"drawn": drawn, "network": network, "now": time.perf_counter()}

    def row(self, take: Callable[[], Step]) -> Row:
        """The row of one step, `take` being what measures, decides and returns it."""
        begun, choices = self._so_far(), self.chooser.evaluations
        looks, looked = self.estimator.evaluations, self.estimator.seconds
        step = take()
        raised = self.raised()
        decided, choices = self._so_far(), self.chooser.evaluations - choices
        method, plan = self.scan.method, self.plan
        row: Row = {
            "image": plan.label(self.scan.image), **asdict(method), "seed": plan.seed, "count": step.count,
            "design": step.design, "setting": self.operator.shown[step.design].item(),
            "setting_unit": self.operator.unit,
            "psnr": None, "ssim": None, "rmse": None, "spread": None, "seconds": step.seconds,
            "network_evaluations": choices, "estimate_seconds": None,
            "choose_evaluations": choices, "estimate_evaluations": None,
            "expected_rmse": None, "surprise": self.experiment.surprises[-1],
            "moves": self.experiment.moves[-1],
            "alarm": raised and raised.at, "alarm_by": raised and raised.by,
        }  # fmt: skip
        if plan.judges(step.count):
            row |= self.judged(step.draws)
            row["estimate_seconds"] = self.estimator.seconds - looked
            row["estimate_evaluations"] = self.estimator.evaluations - looks
            shared = self.chooser is self.estimator
            row["network_evaluations"] = row["estimate_evaluations"] + (0 if shared else choices)
        if scouted := self.experiment.scouted():
            row["expected_rmse"] = expected_rmse(self.picture(scouted.images))
        ended = self._so_far()
        drawn, network = (ended[key] - begun[key] for key in ("drawn", "network"))
        projection = max(0.0, step.seconds - (decided["drawn"] - begun["drawn"])) if step.next else 0.0
        row["split"] = {"network": network, "consistency": drawn - network, "projection": projection}
        row["split"]["rest"] = ended["now"] - begun["now"] - drawn - projection
        if step.next and step.next.scores is not None:
            row["scores"] = [None if math.isnan(score) else score for score in step.next.scores.tolist()]
        return row

    def raised(self) -> Raised | None:
        """The alarm, if there was one."""
        return self.alarm(self.experiment.surprises, self.experiment.moves) if self.alarm else None

    def picture(self, images: Tensor) -> Tensor:
        """Images as they are looked at and judged: the magnitude of complex ones."""
        return magnitude(images) if len(self.operator.image_shape) > 2 else images

    def judged(self, draws: Draws) -> Row:
        """How good an estimate is."""
        guess, truth, images = map(self.picture, (draws.guess, self.truth, draws.images))
        quality = psnr(guess, truth, self.peak)
        return {
            "psnr": quality if math.isfinite(quality) else None,  # JSON knows no infinity
            "ssim": ssim(guess, truth, self.peak),
            "rmse": rmse(guess, truth),
            "spread": images.std(0).mean().item() if len(images) > 1 else None,
        }


def follow(plan: Plan, scan: Scan, archive: Archive) -> Iterator[Row]:
    """Runs one scan, or goes on where it was interrupted; every measurement is on disk before it is used."""
    rows = archive.steps(scan.key)
    yield from rows
    if len(rows) == plan.budget:
        return
    judge = Judge(plan, scan)
    experiment, until = judge.experiment, judge.until
    recall(experiment, archive, scan.key, rows)

    def measure(design: int):
        values = judge.instrument(design)
        archive.add_block(scan.key, experiment.count_told + 1, design, values)
        return values

    def keep(row: Row) -> Row:
        chosen_by = experiment.scouted()
        tensors = {k: v for k, v in vars(chosen_by).items() if v is not None} if chosen_by else None
        archive.add_step(scan.key, row["count"], row, tensors)
        return row

    if experiment.count_told > len(rows):
        yield keep(judge.row(lambda: experiment.step(until)))
    steps = run(experiment, measure, until=until)
    while not until(experiment):
        experiment.decide()  # known already, except after a resume: then it is not counted twice
        yield keep(judge.row(lambda: next(steps)))


def recall(experiment: Experiment, archive: Archive, key: str, rows: list[Row]) -> None:
    """Brings an experiment to where an interrupted one was: its measurements, surprises and samples."""
    blocks = archive.blocks(key)
    for design, values in blocks[: len(rows)]:
        experiment.tell(design, values)
    tensors = archive.draws(key, len(rows))
    found = ([row[key] for row in rows] for key in ("surprise", "moves"))
    experiment.recall(Draws(**tensors) if tensors else None, *found)
    for design, values in blocks[len(rows) :]:
        experiment.tell(design, values)


def finish(
    plan: Plan, scan: Scan, archive: Archive, path: Path, provenance: Mapping[str, str]
) -> ScanFile | KspaceFile:
    """The file of a finished scan: measurements, estimate, uncertainty, samples, scores."""
    judge, rows = Judge(plan, scan), archive.steps(scan.key)
    blocks = archive.blocks(scan.key)
    for design, values in blocks:
        judge.experiment.tell(design, values)
    draws, operator = judge.experiment.draws(), judge.operator
    settings, pictures = operator.shown.cpu(), judge.picture(draws.images)
    scores = [[math.nan if s is None else s for s in row["scores"]] for row in rows if "scores" in row]
    uncertainty = pictures.std(0) if len(pictures) > 1 else torch.full_like(pictures[0], math.nan)
    measured = torch.stack([values for _, values in blocks]).cpu().numpy()
    taken = settings[torch.tensor([design for design, _ in blocks])].numpy()
    common = {
        "uncertainty": uncertainty.cpu().numpy(),
        "scores": torch.tensor(scores).reshape(-1, len(settings)).numpy(),
        "name": scan.image,
        "provenance": dict(provenance),
    }
    if isinstance(operator, Fourier):
        estimate, samples = (to_complex(images).cpu().numpy() for images in (draws.guess, draws.images))
        kspace = KspaceFile(measured, taken.astype(int), estimate, samples=samples, **common)
        write_kspace(path, kspace)
        return kspace
    file = ScanFile(
        projections=measured,
        angles_deg=taken,
        reconstruction=draws.guess.cpu().numpy(),
        samples=draws.images.cpu().numpy(),
        settings_deg=settings.numpy(),
        **common,
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
