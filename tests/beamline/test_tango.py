"""The example of Tango: suggest and tell around a device server without a database."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from samples import chip_volume, run_example

from tomopilot.raw.door import read_measured
from tomopilot.simulate.camera import Camera

pytestmark = pytest.mark.skipif(find_spec("tango") is None, reason="needs pytango")


def test_a_scan_of_tango_devices(tmp_path):
    printed = run_example("tango/scan.py", tmp_path)
    assert "the scan is finished: the budget is measured" in printed
    raw, camera = read_measured(str(tmp_path / "tango-scan.nxs")), Camera(chip_volume(2, 32))
    said = [float(angle) for angle in re.findall(r"([\d.]+) degrees", printed)]
    np.testing.assert_allclose(np.rad2deg(raw.angles), said, atol=5e-3)
    assert len(said) == len(set(said)) == 6 and all(abs(angle % 1 - 0.01) < 1e-9 for angle in said)
    for angle, frame in zip(said, raw.projections.read(), strict=True):
        np.testing.assert_array_equal(frame, camera.frame(round(angle) + 0.01))
