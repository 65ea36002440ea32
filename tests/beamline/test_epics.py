"""The example of EPICS: a scan over Channel Access at a soft IOC in a process of its own."""

import math
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from samples import chip_volume, run_example

from tomopilot.raw.door import read_measured
from tomopilot.simulate.camera import Camera

MISSING = [name for name in ("bluesky", "ophyd_async", "aioca", "softioc") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")

DARKS, FLATS, BUDGET, ROWS, COLUMNS = 3, 5, 4, 2, 16
SMALL = ("--rows", str(ROWS), "--columns", str(COLUMNS), "--budget", str(BUDGET), "--prior", "none")


def test_a_scan_over_channel_access(tmp_path):
    printed = run_example("epics/scan.py", tmp_path, "--folder", "scan", *SMALL)
    assert "the scan is finished: the budget is measured" in printed and f"{BUDGET} projections" in printed
    raw, camera = read_measured(str(tmp_path / "scan" / "scan.nxs")), Camera(chip_volume(ROWS, COLUMNS))
    assert len(raw.darks) == DARKS and len(raw.flats) == FLATS and len(raw.projections) == BUDGET
    np.testing.assert_array_equal(raw.flats.read(), np.repeat(camera.flats(1), FLATS, 0))
    np.testing.assert_array_equal(raw.darks.read(), np.repeat(camera.darks(1), DARKS, 0))
    angles = np.rad2deg(raw.angles)
    said = [float(angle) for angle in re.findall(r"([\d.]+) degrees", printed)]
    np.testing.assert_allclose(angles, said, atol=5e-4)
    for number, (angle, frame) in enumerate(zip(said, raw.projections.read(), strict=True)):
        exposure = DARKS + FLATS + 1 + number
        beam = 1 + 0.02 * math.sin(exposure / 5)
        np.testing.assert_array_equal(frame, camera.frame(angle, exposure, beam))
        assert raw.monitor[number] == pytest.approx(beam)


@pytest.mark.slow
def test_a_scan_of_a_real_chip_by_the_prior(tmp_path, data_folder):
    chip = f"volume:{data_folder / 'chip' / 'validation.npz'}::0-3"
    printed = run_example("epics/scan.py", tmp_path, "--volume", chip)
    assert "the scan is finished: the budget is measured" in printed and "8 projections" in printed


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc, which is Linux'")
def test_the_ioc_listens_on_this_machine_only():
    ioc = Path(__file__).resolve().parents[2] / "examples" / "epics" / "ioc.py"
    command = [sys.executable, str(ioc), "--rows", "1", "--columns", "8"]
    port = 20_000 + os.getpid() % 5_000
    ports = {"EPICS_CA_SERVER_PORT": str(port), "EPICS_CA_REPEATER_PORT": str(port + 6_000)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | ports) as process:
        assert any("serves" in line for line in process.stdout)
        folder = Path(f"/proc/{process.pid}/fd")
        own = {str(one.readlink()) for one in folder.iterdir()}
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = {line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in own}
        process.terminate()
    assert listening == {f"0100007F:{port:04X}"}  # 127.0.0.1
