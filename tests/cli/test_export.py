from live.conftest import SETUP, drive, open_beam

from tomopilot.live.live import hold
from tomopilot.raw.door import read_measured


def test_a_live_scan_becomes_a_file(tmp_path, call):
    with hold(tmp_path / "live", SETUP) as live:
        open_beam(live)
        drive(live, 3)
        said = call("export", tmp_path / "live", "--out", tmp_path / "scan.nxs")  # while it runs
    assert said.status == 0 and "3 projections" in said.out
    assert len(read_measured(str(tmp_path / "scan.nxs")).angles) == 3


def test_other_folders_are_rejected(tmp_path, call):
    said = call("export", tmp_path)
    assert said.status == 2 and "contains no live scan" in said.err
