"""A measured scan, from the counts of a detector to an image: seconds on a CPU.

.venv/bin/python examples/03_measured_scan.py
"""

import numpy as np
import torch

from tomopilot import Correction, Radon, filtered_backprojection, half_turn, read_measured
from tomopilot.metrics import psnr
from tomopilot.simulate.phantoms import chip

# What a beamline may leave: counts of 10,000 photons a bin over a dark level, flats before and after, and the
# axis 3.4 bins beside the detector's middle. Bin 60 is dead, and at 100 degrees the beam was lost.
image, random = torch.from_numpy(chip(seed=2)) * 0.02, np.random.default_rng(0)
lines = Radon(128, half_turn(180), bins=200, offset=3.4).forward(image[None])[0].numpy()
counts = 100 + random.poisson(1e4 * np.exp(-lines))
counts[:, 60], counts[100] = 100, 100
flats, darks = 100 + random.poisson(1e4, (10, 200)), np.full((5, 200), 100)
flats[:, 60] = 100
np.savez("scan.npz", projections=counts, flats=flats, darks=darks, angles_deg=np.arange(180.0))

# Reading looks at the content. Frames stay on disk where the format allows it.
raw = read_measured("scan.npz")
print(f"{raw.format}: {len(raw.projections)} projections of {raw.projections.bins} bins, {raw.unit}")

# Flat and dark fields, the logarithm, masks, quarantine, the rotation axis and the noise, in one call.
measured = Correction()(raw)
print(f"the axis is {measured.offset:.2f} bins from the middle; left out: {dict(measured.quarantined)}")
print(f"{measured.mask.sum()} values are masked; {measured.noise}")

# The geometry is an operator like any other.
operator = measured.operator(128)
estimate = filtered_backprojection(operator, measured.values[:, 0][None])[0]
quality = psnr(estimate, image, peak=0.02)
print(f"{quality:.1f} dB")
assert abs(measured.offset - 3.4) < 0.1 and list(measured.quarantined) == [100] and quality > 20
