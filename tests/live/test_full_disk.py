"""The disk of a live scan is full: nothing acknowledged is lost, and it goes on once there is room."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from live.conftest import CAMERA, drive, expose, open_beam

from tomopilot.files.logbook import Wish
from tomopilot.live.export import export
from tomopilot.live.live import hold

pytestmark = pytest.mark.fault


def fill(live):
    """Leaves the record no room."""
    connection = live.held.book.connection
    (count,) = connection.execute("pragma page_count").fetchone()
    connection.execute(f"pragma max_page_count = {count}")
    with pytest.raises(OSError, match="full"):
        for number in range(10_000):  # pages that were freed
            live.held.book.describe(f"ballast {number}", "0" * 4000)


def make_room(live):
    live.held.book.connection.execute("pragma max_page_count = 1000000")


class Wide:
    """The camera with narrower columns: a frame does not fit where there is no room."""

    def __getattr__(self, name):
        return lambda *given: np.repeat(getattr(CAMERA, name)(*given), 64, -1)


def test_a_full_disk_loses_nothing(tmp_path, setup):
    """F3: what is acknowledged stays, the rest can be told again once there is room."""
    wide = replace(setup, columns=64 * setup.columns, bins=setup.columns)
    with hold(tmp_path, wide) as live:
        open_beam(live, Wide())
        drive(live, 2, Wide())
        one, other = live.suggest(), live.suggest()
        first = expose(live, one, Wide())
        fill(live)
        before = live.held.experiment.data
        with pytest.raises(OSError, match="is it damaged, or the disk full"):
            expose(live, other, Wide())
        assert "full" in live.state()["stuck"] and live.state()["measured"] == 3
        assert live.held.experiment.data is before
        assert expose(live, one, Wide()) == first
        make_room(live)
        assert expose(live, other, Wide())["number"] == 4 and live.state()["stuck"] is None
        assert len(drive(live, camera=Wide())) == setup.budget - 4
        assert live.held.book.connection.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_a_disk_of_two_megabytes(tmp_path, setup):
    """F3 on a file system that is full: `mount` is needed."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with hold(place, setup) as live:
            open_beam(live)
            drive(live, 2)
            one = live.suggest()
            (place / "ballast").write_bytes(b"0" * (shutil.disk_usage(place).free - 4096))
            with pytest.raises(OSError, match="full"):
                for _ in range(100):
                    expose(live, one)
                    one = live.suggest()
            with pytest.raises(OSError):
                export(place, place / "scan.nxs")
            measured = live.state()["measured"]
            (place / "ballast").unlink()
            assert expose(live, one)["number"] == measured + 1
            drive(live)
            assert live.state()["mode"] == "finished"
    finally:
        subprocess.run(["umount", place], check=True)


def test_wishes_wait_for_room(tmp_path, setup):
    with hold(tmp_path, setup) as live:
        fill(live)
        with pytest.raises(OSError, match="full"):
            for number in range(200):
                live.wish(Wish(str(number), "uniform", {}))
        make_room(live)
        assert live.wish(Wish("stop", "stop", {}))["granted"]
