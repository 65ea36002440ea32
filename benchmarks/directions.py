"""Where adaptive angles lie relative to the layout of turned chip slices.

.venv/bin/python benchmarks/directions.py RUN ../shared/data/chip/validation_rotated.npz PICTURE.png

The angles chosen after the opening, as distance to the nearer of the layout's two directions (0 to 45
degrees), in bins of 5 degrees; angles that know nothing of the layout fill all bins alike.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

run, images, picture = map(Path, sys.argv[1:])
turned = np.load(images)["angle_deg"]
summary = json.loads((run / "summary.json").read_text())
edges = np.arange(0, 50, 5)
figure = Figure(figsize=(6.4, 3.2), layout="constrained")
axes = figure.add_subplot()
for scan in summary["images"]:
    if scan["policy"] != "variance":
        continue
    number = int(scan["image"].rpartition("::")[2])
    apart = (np.array(scan["settings"][summary["start"] :]) - turned[number] + 45) % 90 - 45
    scan["apart"] = np.abs(apart)
for posterior in dict.fromkeys(scan["posterior"] for scan in summary["images"] if "apart" in scan):
    apart = np.concatenate(
        [s["apart"] for s in summary["images"] if s["posterior"] == posterior and "apart" in s]
    )
    shares = np.histogram(apart, edges)[0] / len(apart)
    near = np.mean(apart <= 10)
    print(
        f"{posterior}: {near:.0%} of {len(apart)} angles within 10 degrees of a direction (chance 22 %)",
        shares.round(2),
    )
    axes.stairs(shares * (len(edges) - 1), edges, label=posterior, linewidth=1.6)
axes.axhline(1, color="#909090", linewidth=0.8)
axes.set(
    xlabel="degrees from the nearer direction of the layout", ylabel="angles (chance = 1)", ylim=(0, None)
)
axes.legend(frameon=False)
figure.savefig(picture, dpi=110)
