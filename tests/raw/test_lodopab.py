import h5py
import numpy as np
import pytest

from tomopilot.measure.noise import Poisson
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured

WIDE = 0.26 * 2**0.5 / 513  # metres, a bin: the detector covers the diagonal of the square


def test_a_point_comes_out_where_the_image_has_it(tmp_path):
    """In ODL, bin t of angle phi is x cos(phi) + y sin(phi) = t, x along the first axis of the image."""
    phi = (np.arange(1000) + 0.5) * np.pi / 1000
    row, column = 100, 250  # of 362 x 362 pixels over 0.26 m
    x, y = ((i - 180.5) * 0.26 / 362 for i in (row, column))
    place = (np.arange(513) - 256) * WIDE - (x * np.cos(phi) + y * np.sin(phi))[:, None]
    sinograms = np.zeros((3, 1000, 513), np.float32)
    sinograms[1] = np.exp(-((place / 0.002) ** 2)) / 81.35858
    with h5py.File(tmp_path / "observation_test_000.hdf5", "w") as file:
        file["data"] = sinograms
    raw = read_measured(str(tmp_path / "observation_test_000.hdf5"))
    assert (len(raw.projections), raw.projections.rows, raw.counts) == (1000, 3, False)
    assert raw.pixel_size == pytest.approx(WIDE) and raw.format.startswith("LoDoPaB")
    lines = Correction()(raw, slice(1, 2))
    np.testing.assert_allclose(lines.values[:, 0], sinograms[1] * 81.35858, rtol=1e-5)
    assert lines.offset == 0 and lines.noise == Poisson(4096.0, 1.0)
    right, up = (column - 180.5) * 0.26 / 362, -(row - 180.5) * 0.26 / 362
    seen = right * np.cos(lines.angles) + up * np.sin(lines.angles)
    np.testing.assert_allclose((lines.values[:, 0].argmax(1) - 256) * WIDE, seen, atol=WIDE)
