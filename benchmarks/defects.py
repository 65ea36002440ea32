"""Slices with a defect that no training has shown: a round void with a bright rim, as of a blown wire.

.venv/bin/python benchmarks/defects.py ../shared/data/chip/validation.npz 20 runs/defects.npz

One defect a slice, radius 8 to 14 pixels, anywhere within; slices evenly spread over the file; seed 0.
"""

import sys

import numpy as np

source, count, target = sys.argv[1:]
images = np.load(source)["images"]
images = images[np.linspace(0, len(images) - 1, int(count)).astype(int)].astype(np.float32) / 255
random = np.random.default_rng(0)
rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
for image in images:
    radius = random.uniform(8, 14)
    row, column = random.uniform(2 * radius, len(image) - 2 * radius, 2)
    apart = np.hypot(rows - row, columns - column) / radius
    image *= np.clip((apart - 0.9) / 0.1, 0, 1)
    image += np.exp(-(((apart - 1) / 0.12) ** 2))
np.savez_compressed(target, images=images.clip(0, 1))
print(f"{len(images)} slices in {target}")
