"""A first adaptive scan: ten lines, no files, under a minute on a CPU.

.venv/bin/python examples/01_first_scan.py
"""

import torch

from tomopilot import (
    DiffusionPosterior,
    Experiment,
    Gaussian,
    Greedy,
    InOrder,
    Prox,
    Radon,
    Simulated,
    bisect_order,
    budget,
    half_turn,
    load_prior,
    logarithmic,
    run,
    variance,
)
from tomopilot.metrics import psnr
from tomopilot.simulate.phantoms import chip

# The sample, and what could be measured of it: projections at 180 angles, with a little noise.
image = torch.from_numpy(chip(seed=2))
operator, noise = Radon(128, half_turn(180)), Gaussian(0.3)

# What is known beforehand, and how images are drawn that agree with it and with the data.
# (10 noise levels and 3 samples keep this short; the default is 50 and 10.)
posterior = DiffusionPosterior(load_prior("chip-128"), Prox(), sigmas=logarithmic(2.5, 0.02, 10))

# Who decides: after two measurements in uniform order, the angle on which the samples disagree most.
policy = Greedy(variance, opening=InOrder(bisect_order(180)), start=2)

experiment = Experiment(operator, noise, posterior, policy, count=3, seed=0)
for step in run(experiment, measure=Simulated(image, operator, noise), until=budget(5)):
    angle = operator.settings[step.design].rad2deg()
    print(f"{step.count}: {angle:5.1f} degrees, {psnr(step.draws.guess, image):.1f} dB")
