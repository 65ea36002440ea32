"""One list of angles for a whole volume against one a slice, and scouts of it that choose for all.

.venv/bin/python benchmarks/volumes.py PRIOR FILE::SLICES ...

Each spec is a volume, cropped to 64 x 64 pixels. Four uniform angles open every scan; eight more are of the
greatest variance of three warm samples (`scout`). All slices are then estimated by the same three cold ones.
Mean PSNR over all slices, the difference from an own list for each slice with two standard errors over the
slices, and the network evaluations that were spent on choosing. Noise: 1 % of the rms of the volume.
"""

import sys
from collections import defaultdict
from statistics import mean

import torch

from tomopilot.design.acquisition import variance
from tomopilot.design.policy import Greedy, InOrder, uniform_order
from tomopilot.design.stopping import budget
from tomopilot.experiment import Experiment, run
from tomopilot.files.volumes import read_volume
from tomopilot.measure.noise import Gaussian
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.measure.stack import Stack, over_height
from tomopilot.metrics import psnr
from tomopilot.posterior.slicewise import Slicewise
from tomopilot.prior.checkpoint import load_prior
from tomopilot.prior.denoiser import Metered
from tomopilot.scan.parts import make
from tomopilot.scan.summary import mean_and_two_se
from tomopilot.simulate.instrument import Simulated

SIDE, SAMPLES, START, BUDGET = 64, 3, 4, 12
RADON = Radon(SIDE, half_turn())
UNIFORM = InOrder(uniform_order(RADON))
OWN = "a list for each slice"


def cropped(spec: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The middle of every slice."""
    volume = read_volume(spec)
    first = (volume.pixels.shape[-1] - SIDE) // 2
    return volume.pixels[:, first : first + SIDE, first : first + SIDE].contiguous(), volume.slices


def scanned(truth, names, noise, posterior, numbers, policy) -> list[int]:
    """The angles that some slices choose."""
    numbers, operator = tuple(numbers), Stack(RADON, len(numbers))
    instrument = Simulated(truth[list(numbers)], operator, noise, name=[names[n] for n in numbers])
    experiment = Experiment(operator, noise, Slicewise(posterior, numbers), policy, count=SAMPLES)
    for _ in run(experiment, instrument, until=budget(BUDGET)):
        pass
    return experiment.designs


def estimated(truth, names, noise, posterior, number, designs, peak) -> float:
    """The quality of one slice."""
    operator = Stack(RADON, 1)
    instrument = Simulated(truth[number, None], operator, noise, name=[names[number]])
    experiment = Experiment(operator, noise, Slicewise(posterior, (number,)), UNIFORM, count=SAMPLES)
    for design in designs:
        experiment.tell(design, instrument(design))
    return psnr(experiment.draws().guess[0], truth[number], peak)


def strongest(truth, count: int) -> list[int]:
    """The slices whose first projection varies most."""
    first = Stack(RADON, len(truth))[torch.tensor([0])].forward(truth[None])[0, 0]
    return sorted(first.std(1).topk(count).indices.tolist())


def main(prior: str, *specs: str) -> None:
    quality, looks, meter = defaultdict(list), defaultdict(int), Metered(known := load_prior(prior))
    posterior, adaptive = make("scout", meter, known.scale), Greedy(variance, UNIFORM, START)
    for spec in specs:
        truth, names = cropped(spec)
        every, size = range(len(truth)), len(truth)
        noise = Gaussian(0.01 * RADON.forward(truth).square().mean().sqrt().item())
        plans = {
            OWN: [[number] for number in every],
            "one list, all slices": [every],
            "4 scouts over the height": [over_height(4, size)],
            "2 scouts over the height": [over_height(2, size)],
            "2 scouts of most contrast": [strongest(truth, 2)],
            "1 scout": [over_height(1, size)],
            "uniform": [],
        }
        for name, groups in plans.items():
            before = meter.evaluations
            lists = [scanned(truth, names, noise, posterior, group, adaptive) for group in groups]
            looks[name] += meter.evaluations - before
            lists = lists or [uniform_order(RADON)[:BUDGET]]
            for number in every:
                designs = lists[number if len(lists) > 1 else 0]
                quality[name].append(estimated(truth, names, noise, posterior, number, designs, known.peak))
    for name, found in quality.items():
        apart = [one - own for one, own in zip(found, quality[OWN], strict=True)]
        ahead, band = mean_and_two_se(apart)
        spread = "" if band is None else f" ± {band:.2f}"
        print(f"{name:26} {mean(found):.2f} dB  {ahead:+.2f}{spread}  {looks[name]} evaluations")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
