"""How often a sound projection is taken for one of a weaker beam, and half the beam is noticed.

    .venv/bin/python benchmarks/beam.py

90 projections of 128 bins each, absorption 0.05 a pixel, 60,000 photons a bin. `each`: by what each
projection sees of air (ours). `most`: by the bins that see air in most projections of the scan.
"""

from collections.abc import Callable

import numpy as np
import torch

from tomopilot.files.images import read_images
from tomopilot.measure.radon import Radon, half_turn
from tomopilot.raw.faults import AIR, beam_levels

SIDE, ANGLES, SCALE, PHOTONS, DROP, BINS_OF_AIR = 128, 90, 0.05, 60_000, 0.2, 0.02
RADON, RNG = Radon(SIDE, half_turn(ANGLES)), np.random.default_rng(0)
DEGREES = np.linspace(0, np.pi, ANGLES, endpoint=False)


def counted(lines: np.ndarray) -> np.ndarray:
    """Line integrals of so many photons."""
    return -np.log(np.maximum(RNG.poisson(PHOTONS * np.exp(-lines)), 0.5) / PHOTONS)


def most(values: np.ndarray, angles: np.ndarray) -> np.ndarray:
    usual = np.median(values, 0)
    air = usual < AIR
    if air.mean() <= BINS_OF_AIR:
        return np.ones(len(values))
    level = np.median(values[:, air], 1)
    return np.exp(np.median(level) - level)


def seldom(levels: np.ndarray) -> np.ndarray:
    return (levels < 1 - DROP) | (levels > 1 / (1 - DROP))


def shapes() -> dict[str, list[torch.Tensor]]:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    ellipses = [(x / a) ** 2 + (y / b) ** 2 < 1 for a, b in ((60, 10), (60, 30), (63, 20), (50, 40))]
    plates = [(abs(x) < half) & (abs(y) < 5) for half in (30, 50, 60, 75, 100)]
    return {
        "ellipses": [torch.from_numpy(shape.astype(np.float32)) for shape in ellipses],
        "plates": [torch.from_numpy(shape.astype(np.float32)) for shape in plates],
        "discs": [image.pixels for image in read_images("phantom:disc::0-9")],
    }


def main() -> None:
    judges: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"each": beam_levels, "most": most}
    for name, pixels in shapes().items():
        scans = [SCALE * RADON.forward(image[None])[0, :, None].numpy() for image in pixels]
        for how, judge in judges.items():
            false = found = 0
            for lines in scans:
                values = counted(lines)
                false += int(seldom(judge(values, DEGREES)).sum())
                for spoiled in range(0, ANGLES, 10):
                    weaker = values.copy()
                    weaker[spoiled] = counted(lines[spoiled] + np.log(2))
                    found += bool(seldom(judge(weaker, DEGREES))[spoiled])
            print(f"{name:8} {how}: {false} of {len(scans) * ANGLES} left out; half the beam noticed in "
                  f"{found} of {len(scans) * len(range(0, ANGLES, 10))}")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
