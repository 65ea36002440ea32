"""How well scores choose by few samples, where the best choice is known: a Gaussian of images.

PYTHONPATH=tests python benchmarks/scores.py
"""

import torch
from gaussians import known, measured, samples

from tomopilot.design.acquisition import AOptimal, LogDet, carried, variance
from tomopilot.measure.noise import Gaussian
from tomopilot.records import Draws, Forecast

DRAWS = 60
SCORES = {"variance": variance, "carried": carried, "logdet": LogDet()}
SCORES |= {f"aoptimal(left_out={share})": AOptimal(left_out=share) for share in (0.0, 0.03, 0.1, 0.3, 1.0)}


def missed(taken: int, std: float, count: int, rng: torch.Generator) -> dict[str, float]:
    """The share of the best reduction of the image variance that each score's choice misses, in the mean."""
    operator, a, covariance = known(taken=taken, noise=std)
    free = torch.tensor([design for design in range(18) if design % (18 // taken)])
    left = [measured(covariance, a[design], std).trace() for design in free]
    exact = covariance.trace() - torch.stack(left)
    totals = dict.fromkeys(SCORES, 0.0)
    for _ in range(DRAWS):
        images = samples(covariance, count, rng)
        forecast = Forecast.of(operator, Draws(images, images.mean(0)), Gaussian(std))[free]
        for name, score in SCORES.items():
            totals[name] += (1 - exact[score(forecast).argmax()] / exact.max()).item() / DRAWS
    return totals


if __name__ == "__main__":
    rng = torch.Generator().manual_seed(1)
    settings = [(taken, std, count) for taken in (2, 6) for std in (0.02, 0.3) for count in (3, 10)]
    found = [missed(*setting, rng) for setting in settings]
    for name in SCORES:
        cells = [f"{one[name]:7.1%}" for one in found]
        print(f"{name:24}", *cells, f" mean {sum(one[name] for one in found) / len(found):.1%}")
