"""The picture of docs/measured.md: filtered back-projections of measured scans.

.venv/bin/python benchmarks/measured.py ../shared/data/measured docs/measured.png
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

from tomopilot import Correction, filtered_backprojection, read_measured

matplotlib.use("agg")
import matplotlib.pyplot as plt


def image_of(source: str, bins: int | None = None, size: int | None = None) -> np.ndarray:
    """The first detector row, attenuation per bin."""
    lines = Correction(bins=bins)(read_measured(source))
    print(source, lines.log["axis"], lines.noise)
    return filtered_backprojection(lines.operator(size), lines.values[:, 0][None])[0].numpy()


folder, out = Path(sys.argv[1]), sys.argv[2]
phantom = folder / "htc2022_ta.npz"
reference = np.load(phantom)["reference_fbp"].astype(np.float32)
ours = image_of(str(phantom), size=512)
inside = np.median(reference[reference > reference.max() / 2])
error = np.sqrt(np.mean((ours - reference) ** 2)) / inside
print(
    f"phantom ta: correlation {np.corrcoef(ours.ravel(), reference.ravel())[0, 1]:.4f}, rms {error:.3f} of it"
)
pictures = {
    "tooth": image_of(str(folder / "tooth.h5"), 320)[80:240, 80:240],
    "phantom ta": ours,
    "reference": reference,
}
figure, axes = plt.subplots(1, len(pictures), figsize=(9, 3.2))
for ax, (title, image) in zip(axes, pictures.items(), strict=True):
    low, high = np.percentile(image, (1, 99.5))
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)
    ax.set_title(title)
    ax.axis("off")
figure.tight_layout()
figure.savefig(out, dpi=100)
