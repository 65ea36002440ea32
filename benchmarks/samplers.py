"""Variants of our sampler side by side: the same slices, angles, noise and samples for each.

.venv/bin/python benchmarks/samplers.py ../shared/data/chip/validation.npz::60,140,230,320 [PRIOR] [NAME ...]

Uniform angles. Mean PSNR of the estimate, spread over error (pooled), seconds and network evaluations of a
draw, at 10, 20 and 40 angles.
"""

import sys
import time
from dataclasses import dataclass
from functools import partial

import torch

from tomopilot.bench.calibration import spread_and_error, spread_over_error
from tomopilot.design.policy import bisect_order
from tomopilot.files.images import single_specs
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.posterior.guidance.soft import Soft
from tomopilot.prior.schedule import ddpm, logarithmic
from tomopilot.randomness import stream
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import virtual

COUNTS, SAMPLES = (10, 20, 40), 3


@dataclass(frozen=True)
class Late:
    """Another guidance below a noise level; above it, the data are not looked at."""

    guidance: Prox
    below: float

    def __call__(self, denoise, data):
        guided = self.guidance(denoise, data)
        return lambda x, sigma: (guided if sigma.max() < self.below else denoise)(x, sigma)


def ours(prior, high=2.5, low=0.02, levels=50, guidance=None, eta=1.0):
    return DiffusionPosterior(prior, guidance or Prox(), logarithmic(high, low, levels), eta)


VARIANTS = {
    "soft": lambda prior: DiffusionPosterior(prior, Soft(), ddpm(50, 0.5)),
    "prox": ours,
    "30 levels": partial(ours, levels=30),
    "from sigma 1": partial(ours, high=1.0, levels=40),
    "down to 0.01": partial(ours, low=0.01),
    "data below sigma 0.8": partial(ours, guidance=Late(Prox(), 0.8)),
    "15 iterations": partial(ours, guidance=Prox(15)),
    "5 iterations": partial(ours, guidance=Prox(5)),
    "firmness 0.3": partial(ours, guidance=Prox(12, firmness=0.3)),
    "firmness 0.1": partial(ours, guidance=Prox(15, firmness=0.1)),
    "firmness 3": partial(ours, guidance=Prox(firmness=3.0)),
    "firmness 10": partial(ours, guidance=Prox(firmness=10.0)),
    "eta 0.95": partial(ours, eta=0.95),
}


def main(specs: str, prior: str = "chip-128", *names: str) -> None:
    found = {}
    for spec in single_specs(specs):
        plan = Plan((spec,), (Method("prox", "uniform", prior),), count=SAMPLES, budget=max(COUNTS))
        cell = virtual(plan, Scan(spec, plan.methods[0]))
        experiment, truth = cell.parts.experiment, cell.instrument.image
        for count, design in enumerate(bisect_order(180)[: max(COUNTS)], 1):
            experiment.tell(design, cell.instrument(design))
            for name in names or VARIANTS if count in COUNTS else ():
                posterior, start = VARIANTS[name](cell.parts.meter), time.perf_counter()
                draws = posterior.sample(experiment.data, SAMPLES, rng=stream(0, "samplers", count))
                seconds = time.perf_counter() - start
                pair = spread_and_error(draws.images, truth)
                quality = cell.judge.judged(draws)["psnr"]
                found.setdefault((name, count), []).append((quality, pair, seconds))
    for (name, count), cells in sorted(found.items()):
        quality, pairs, seconds = zip(*cells, strict=True)
        ratio = spread_over_error(list(pairs)) or 0.0
        mean = torch.tensor([quality, seconds]).mean(1)
        print(f"{name:22} {count:3} angles  {mean[0]:.2f} dB  spread/error {ratio:.2f}  {mean[1]:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
