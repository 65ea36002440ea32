"""Ways to choose angles side by side, all estimated by one and the same sampler.

.venv/bin/python benchmarks/choices.py ../shared/data/chip/validation.npz::60,140,230,320 [PRIOR] [NAME ...]

Four opening angles, then the greatest variance of three samples. Mean PSNR of `prox` (three samples) at 10,
20 and 30 angles; mean and median seconds from a measurement to the next angle; network evaluations of one.
"""

import sys
from collections import defaultdict
from statistics import mean, median

import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder, bisect_order
from tomopilot.design.stopping import budget
from tomopilot.experiment import Experiment, run
from tomopilot.files.images import single_specs
from tomopilot.posterior.diffusion import DiffusionPosterior
from tomopilot.posterior.guidance.prox import Prox
from tomopilot.prior.schedule import logarithmic
from tomopilot.scan.assemble import Watched
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan, Scan
from tomopilot.scan.virtual import virtual

COUNTS, SAMPLES, NEVER = (10, 20, 30), 3, 1000


def scout(prior, *, top=0.35, levels=3, cold=15, iterations=8, refresh=8):
    warm = logarithmic(top, 0.03, levels)
    return DiffusionPosterior(
        prior, Prox(iterations), logarithmic(2.5, 0.03, cold), warm=warm, refresh=refresh
    )


VARIANTS = {
    "refresh 8": {},
    "refresh 24": {"refresh": 24},
    "never again cold": {"refresh": NEVER},
    "2 levels": {"refresh": 24, "levels": 2},
    "2 levels, 5 iterations": {"refresh": 24, "levels": 2, "iterations": 5},
    "5 levels": {"refresh": 24, "levels": 5},
    "from sigma 0.7": {"refresh": 24, "top": 0.7, "levels": 4},
    "5 iterations": {"refresh": 24, "iterations": 5},
    "always cold": {"refresh": 1},
    "uniform": None,
}


def main(specs: str, prior: str = "chip-128", *names: str) -> None:
    quality, seconds, looks = defaultdict(list), defaultdict(list), {}
    for spec in single_specs(specs):
        plan = Plan((spec,), (Method("prox", "uniform", prior),), count=SAMPLES, budget=max(COUNTS))
        for name in names or VARIANTS:
            cell = virtual(plan, Scan(spec, plan.methods[0]))
            estimator, meter = cell.parts.estimator, cell.parts.meter
            uniform, options = InOrder(bisect_order(180)), VARIANTS[name]
            policy = uniform if options is None else Greedy(variance, uniform, 4)
            chooser = Watched(scout(meter, **options or {}), meter)
            experiment = Experiment(
                cell.instrument.operator,
                cell.instrument.noise,
                estimator,
                policy,
                scout=chooser,
                count=SAMPLES,
            )
            for step in run(experiment, cell.instrument, until=budget(max(COUNTS))):
                if step.next and step.next.scores is not None:
                    seconds[name].append(step.seconds)
                if step.count in COUNTS:
                    quality[name, step.count].append(cell.judge.judged(step.draws)["psnr"])
            looks[name] = chooser.evaluations
    for name in names or VARIANTS:
        means = "  ".join(f"{mean(quality[name, count]):.2f}" for count in COUNTS)
        times = seconds[name] or [0.0]
        print(
            f"{name:22} {means} dB   next angle {mean(times):.2f} s (median {median(times):.2f}), "
            f"{looks[name]} evaluations a scan"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
