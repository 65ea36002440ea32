"""What the alarm is worth: adaptive scans of foreign images against uniform angles with total variation.

    .venv/bin/python benchmarks/alarmed.py chip-128 lung/validation.npz::0-12 composite/validation.npz::0,3

Where its prior predicts worse than total variation after an alarm, a scan goes on in uniform order and is
estimated without the prior. PSNR of both at 10 and 20 angles, the paired difference with two standard errors,
and the worst. Relative noise 1 %, three samples.
"""

import argparse
import math

import torch

from tomopilot.design.stopping import budget
from tomopilot.experiment import run
from tomopilot.scan.plan import Plan, Scan, plan_of
from tomopilot.scan.summary import mean_and_two_se
from tomopilot.scan.virtual import virtual

AT = (10, 20)
METHODS = (("auto", "variance"), ("tv", "uniform"))


def scanned(plan: Plan, scan: Scan) -> tuple[dict[int, float], int | None]:
    """PSNR at each judged count, and the measurement at which the prior was left."""
    cell, found = virtual(plan, scan), {}
    for step in run(cell.parts.experiment, cell.instrument, until=budget(plan.budget)):
        if plan.judges(step.count):
            found[step.count] = cell.judge.judged(step.draws)["psnr"]
    return found, cell.parts.experiment.without_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prior")
    parser.add_argument("images", nargs="+")
    given = parser.parse_args()
    plan = plan_of(
        given.images, priors=[given.prior], posteriors=["auto", "tv"], policies=["variance", "uniform"],
        noise="relative:0.01", count=3, budget=max(AT), at=AT,
    )  # fmt: skip
    apart: dict[int, list[float]] = {count: [] for count in AT}
    for image in plan.images:
        own = {(one.method.posterior, one.method.policy): one for one in plan.scans if one.image == image}
        (adaptive, at), (uniform, _) = (scanned(plan, own[name]) for name in METHODS)
        for count in AT:
            apart[count].append(adaptive[count] - uniform[count])
        line = ", ".join(f"{count}: {adaptive[count]:.2f} ({uniform[count]:.2f})" for count in AT)
        print(f"{plan.label(image)} prior left at {at}, dB at {line}", flush=True)
    for count, found in apart.items():
        average, band = mean_and_two_se(found)
        print(
            f"{count}: {average:+.2f} ± {band or math.nan:.2f} dB over {len(found)}, worst {min(found):+.2f}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
