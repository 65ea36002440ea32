import numpy as np
import pytest
from samples import disc_lines

from tomopilot.files.reading import InputFileError
from tomopilot.raw.correction import Correction
from tomopilot.raw.door import read_measured
from tomopilot.raw.fan_axis import find_fan_axis
from tomopilot.raw.records import FanBeam

BEAM, BIN = FanBeam(0.4, 0.54), 1e-3  # metres
FULL = np.arange(180) * 2 * np.pi / 180
ANGLES = {
    "full turn": FULL,
    "with both ends": np.linspace(0, 2 * np.pi, 181),
    "not in order": np.random.default_rng(0).permutation(FULL) + 1,
    "not even": np.sort(np.random.default_rng(0).uniform(0, 2 * np.pi, 300)),
}


def projections(angles: np.ndarray, bins: int, offset: float) -> np.ndarray:
    """Discs in a fan beam, (n, 1, bins), by the formula of the chord."""
    gamma = np.arctan((np.arange(bins) - (bins - 1) / 2 - offset) * BIN / BEAM.source_detector)
    half_width = bins / 2 * BIN * BEAM.source_axis / BEAM.source_detector
    return disc_lines(angles[:, None] - gamma, BEAM.source_axis * np.sin(gamma) / half_width)[:, None]


@pytest.mark.parametrize("offset", [0.37, -9.5])
@pytest.mark.parametrize("name", ANGLES)
def test_discs(name, offset):
    angles = ANGLES[name]
    found, clear = find_fan_axis(projections(angles, 96, offset), angles, BEAM, BIN)
    assert abs(found - offset) < 0.1 and clear > 50


def test_noise():
    values = projections(FULL, 96, 3.2)
    noisy = values + 0.03 * np.random.default_rng(0).standard_normal(values.shape)
    assert abs(find_fan_axis(noisy, FULL, BEAM, BIN)[0] - 3.2) < 0.2


@pytest.mark.parametrize("case", ["half turn", "few angles", "nothing"])
def test_what_cannot_be_found(case):
    angles = {"half turn": FULL[:90], "few angles": FULL[::30]}.get(case, FULL)
    values = projections(angles, 96, 3.2) * (case != "nothing")
    with pytest.raises(InputFileError, match=r"cannot be found from .* a fan beam.*--axis"):
        find_fan_axis(values, angles, BEAM, BIN)


def test_measured_phantoms(data_folder):
    """Three on one detector; from the parallel rays made of the first one, the axis is found at 279.40."""
    for name in ("ta", "tb", "tc"):
        raw = read_measured(str(data_folder / "measured" / f"htc2022_{name}.npz"))
        assert abs(Correction()(raw).log["axis"]["column"] - 279.4) < 0.15
