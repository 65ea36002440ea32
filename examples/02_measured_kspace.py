"""Look at measured k-space of eight receiver coils, as a scanner saves it: writes kspace.png.

.venv/bin/python examples/02_measured_kspace.py
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from tomopilot.files.fastmri import check_centred
from tomopilot.measure.fourier import from_kspace

# The file is (coils, rows, columns), complex; points that were not measured are 0.
data = Path(os.environ.get("TOMOPILOT_DATA", "../shared/data"))
path = data / "native" / "mri_kspace_8coil_undersampled.npy"
if not path.is_file():
    print(f"nothing to show: {path} is not there; set TOMOPILOT_DATA to the folder of the image sets")
    sys.exit(0)
kspace = np.load(path)
check_centred(kspace)
kspace = torch.from_numpy(kspace)
measured = kspace.abs().sum(0) > 0
print(f"{len(kspace)} coils, {measured.float().mean():.0%} of k-space measured")

# What is missing stays 0; each coil gives one complex image, and they join as the root of the sum of squares.
coils = from_kspace(kspace).abs()
combined = coils.square().sum(0).sqrt()

figure = Figure((11, 4.6), layout="constrained")
panels = figure.subplots(1, 3)
strength = kspace.abs().square().sum(0).sqrt()
panels[0].imshow(torch.log10(strength + 1e-4 * strength.max()).numpy(), cmap="gray")
panels[0].set_title("k-space, logarithmic")
panels[1].imshow(coils[0].numpy(), cmap="gray")
panels[1].set_title("first coil")
panels[2].imshow(combined.numpy(), cmap="gray")
panels[2].set_title("all coils, root of the sum of squares")
for panel in panels:
    panel.set_axis_off()
figure.savefig("kspace.png", dpi=110)
print("wrote kspace.png")
