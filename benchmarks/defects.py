"""How often a painted defect is where measurements argue with the samples that had predicted them.

    .venv/bin/python benchmarks/defects.py chip-128 ../shared/data/chip/validation.npz::0-285:15

Adaptive scans of 20 measurements with three samples, 1 % noise. Spots are the strongest pixels of the picture
`unpredicted`, each at least 10 pixels from the stronger ones. Counted: voids that hold the strongest, or one
of the three strongest; beside it the same places in the same slices without a void, as a control.
"""

import argparse

import torch
from torch import Tensor

from tomopilot.design.disagreement import unpredicted
from tomopilot.design.stopping import budget
from tomopilot.experiment import run
from tomopilot.files.images import DEFECT, read_images
from tomopilot.randomness import stream
from tomopilot.scan.plan import plan_of
from tomopilot.scan.virtual import virtual

BUDGET, SPOTS, APART = 20, 3, 10


def picture(image: str, prior: str, operator: str) -> Tensor:
    """Where the measurements of a scan argue with what was predicted of them."""
    plan = plan_of(
        [image], priors=[prior], operator=operator, posteriors=["auto"], policies=["variance"], count=3,
        budget=BUDGET, at=[BUDGET], noise="relative:0.01",
    )  # fmt: skip
    cell = virtual(plan, plan.scans[0])
    experiment = cell.parts.experiment
    experiment.guard = None
    for _ in run(experiment, cell.instrument, until=budget(BUDGET)):
        pass
    found = unpredicted(experiment.operator, experiment.told, rng=stream(0, "disagreement"))
    assert found is not None
    return experiment.operator.kind.picture(found).abs()


def rank(strength: Tensor, inside: Tensor) -> int | None:
    """Which of the strongest spots lies inside, from 1; None where none of them does."""
    left = strength.clone()
    rows, columns = torch.meshgrid(*map(torch.arange, strength.shape), indexing="ij")
    for place in range(1, SPOTS + 1):
        row, column = divmod(int(left.argmax()), strength.shape[1])
        if inside[row, column]:
            return place
        left[(rows - row).square() + (columns - column).square() < APART**2] = 0
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prior")
    parser.add_argument("images")
    parser.add_argument("--operator", default="radon")
    given = parser.parse_args()
    ranks: dict[str, list[int | None]] = {"with the void": [], "without": []}
    share = []
    for image in read_images(given.images):
        plain = f"{given.images.partition('::')[0]}::{image.name.rpartition('::')[2]}"
        (flawed,) = read_images(DEFECT + plain)
        inside = (flawed.pixels - image.pixels).abs() > 0.05 * image.pixels.abs().max()
        share.append(inside.float().mean().item())
        for found, spec in zip(ranks.values(), (DEFECT + plain, plain), strict=True):
            found.append(rank(picture(spec, given.prior, given.operator), inside))
        print(image.name, *(f"{name}: {found[-1] or '-'}" for name, found in ranks.items()), flush=True)
    for name, found in ranks.items():
        first, any_of_them = sum(one == 1 for one in found), sum(one is not None for one in found)
        print(f"{name}: the strongest spot in {first} of {len(found)}, one of {SPOTS} in {any_of_them}")
    print(f"voids cover {100 * sum(share) / len(share):.1f} % of the image")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
