"""Which angles each image asked for: the image, and the adaptive ones among its first measurements.

.venv/bin/python benchmarks/angles.py RUN IMAGES.npz COUNT PICTURE.png

Prints how far they agree on a direction: the length of the mean of exp(2 i angle), 1 where all are
equal, 0 where they are spread evenly, beside that of as many random angles (10,000 draws).
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tomopilot.files.images import read_images
from tomopilot.report.plots import BLUE


def agreement(angles: np.ndarray) -> np.ndarray:
    """Of angles in radians, along the last axis."""
    return np.abs(np.exp(2j * angles).mean(-1))


run, images, count, picture = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
summary = json.loads((run / "summary.json").read_text())
scans = [s for s in summary["images"] if s["policy"] == "variance"]
figure = Figure(figsize=(2.0 * len(scans), 3.6), layout="constrained")
edges = np.deg2rad(np.arange(0, 181, 10))
found = []
for i, scan in enumerate(scans):
    angles = np.deg2rad(scan["settings"][summary["start"] : count])
    found.append(float(agreement(angles)))
    axes = figure.add_subplot(2, len(scans), i + 1)
    number = scan["image"].rpartition("::")[2]
    axes.imshow(read_images(f"{images}::{number}")[0].shown, cmap="gray")
    axes.set(xticks=[], yticks=[], title=f"slice {number}")
    circle = figure.add_subplot(2, len(scans), len(scans) + i + 1, projection="polar")
    circle.set_thetamax(180)
    circle.bar(edges[:-1], np.histogram(angles, edges)[0], np.diff(edges), align="edge", color=BLUE)
    circle.set(xticks=np.deg2rad([0, 90, 180]), yticks=[], title=f"agreement {found[-1]:.2f}")
figure.savefig(picture, dpi=110)
chance = agreement(np.random.default_rng(0).uniform(0, np.pi, (10_000, count - summary["start"])))
print(f"agreement {np.mean(found):.2f} in the mean, {min(found):.2f} to {max(found):.2f}")
print(f"random angles: {chance.mean():.2f} in the mean, 95 % below {np.quantile(chance, 0.95):.2f}")
