"""Opens NXtomo files with the package nxtomo, checks them, and reconstructs a slice by scikit-image.

It needs an environment of its own, with nxtomo 3.1.1 and scikit-image; ours does not know these packages:

    python -m venv runs/nx && runs/nx/bin/pip install nxtomo==3.1.1 scikit-image==0.26.0
    runs/nx/bin/python benchmarks/open_nxtomo.py counts.nxs lines.nxs
"""

import sys

import numpy as np
from nxtomo.application.nxtomo import NXtomo
from skimage.transform import iradon


def image_of(path: str) -> np.ndarray:
    """The first detector row, about the axis that the file states or the detector's middle."""
    scan = NXtomo().load(path, "entry", detector_data_as="as_numpy_array")
    NXtomo.check_consistency(scan, raises_error=True)
    detector = scan.instrument.detector
    keys = np.array([int(key.value) for key in detector.image_key_control])
    frames, degrees = detector.data[:, 0].astype(float), scan.sample.rotation_angle.to("degree").magnitude
    lines = frames[keys == 0]
    if (keys == 1).any():
        dark = frames[keys == 2].mean(0)
        lines = -np.log((lines - dark) / (frames[keys == 1].mean(0) - dark))
    column = detector.x_rotation_axis_pixel_position
    bins = lines.shape[1]
    column = (bins - 1) / 2 if column is None else column
    print(f"{path}: {dict(zip(*np.unique(keys, return_counts=True), strict=True))}, axis {column:.2f}")
    place = np.arange(bins) - bins // 2 + column  # scikit-image turns about bin n // 2
    centred = np.stack([np.interp(place, np.arange(bins), row) for row in lines])
    return iradon(centred.T, theta=degrees[keys == 0])


if __name__ == "__main__":
    first, *others = [image_of(path) for path in sys.argv[1:]]
    for path, image in zip(sys.argv[2:], others, strict=True):
        print(f"{path}: correlation with the first {np.corrcoef(image.ravel(), first.ravel())[0, 1]:.5f}")
