import numpy as np
import pytest
from samples import disc_projections

from tomopilot.files.reading import InputFileError
from tomopilot.raw.axis import find_axis
from tomopilot.raw.counts import line_integrals_of
from tomopilot.raw.door import read_measured

HALF = np.arange(180) * np.pi / 180
ANGLES = {
    "half turn": HALF,
    "full turn": np.arange(100) * 2 * np.pi / 100,
    "with both ends": np.linspace(0, np.pi, 91),
    "not in order": np.random.default_rng(0).permutation(HALF)[:60],
    "twelve": np.arange(12) * np.pi / 12,
    "150 degrees": HALF[:150],
}


@pytest.mark.parametrize("offset", [0.37, -12.5])
@pytest.mark.parametrize("name", ANGLES)
def test_discs(name, offset):
    angles = ANGLES[name]
    found, clear = find_axis(disc_projections(angles, 96, offset)[:, None], angles)
    assert abs(found - offset) < 0.05 and clear > 50


def test_odd_number_of_bins_and_several_rows():
    values = np.stack([scale * disc_projections(HALF, 81, 3.14) for scale in (1, 0, 2, 1, 3)], 1)
    assert abs(find_axis(values, HALF)[0] - 3.14) < 0.02


def test_noise_and_beam_that_drifts():
    random = np.random.default_rng(0)
    values = disc_projections(HALF, 128, -4.4)
    noisy = values + 0.03 * random.standard_normal(values.shape) + 0.02 * random.standard_normal((180, 1))
    assert abs(find_axis(noisy[:, None], HALF)[0] + 4.4) < 0.1


EMPTY = {
    "nothing in view": (np.zeros((180, 1, 64)), HALF),
    "noise": (np.random.default_rng(0).standard_normal((180, 1, 64)), HALF),
    "a wedge": (disc_projections(HALF[:40], 64, 1.0)[:, None], HALF[:40]),
    "two angles": (disc_projections(HALF[:2], 64, 1.0)[:, None], HALF[:2]),
}


@pytest.mark.parametrize("name", EMPTY)
def test_where_nothing_tells_the_axis(name):
    with pytest.raises(InputFileError, match=r"cannot be found from \d+ projections over .*--axis"):
        find_axis(*EMPTY[name])


def test_measured_tooth(data_folder):
    """The column that its publisher's first and last projection suggest, as mirror images, is 295.5."""
    raw = read_measured(str(data_folder / "measured" / "tooth.h5"))
    for row in (0, 1):
        values = line_integrals_of(raw, np.arange(181), slice(row, row + 1)).values
        offset, clear = find_axis(values, raw.angles)
        assert abs(319.5 + offset - 295.5) < 0.5 and clear > 1000


@pytest.mark.parametrize("name", ["ta", "tb", "tc"])
def test_measured_phantoms(data_folder, name):
    raw = read_measured(str(data_folder / "measured" / f"htc2022_{name}.npz:/parallel_sinogram"))
    offset, clear = find_axis(raw.projections.read(), raw.angles)
    assert abs(offset) < 0.3 and clear > 500
