"""The lines of docs/http.md do what the page says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from beamline.conftest import TOKEN, listening
from live.conftest import CAMERA, SETUP

from tomopilot.live.live import hold

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_lines_of_curl(tmp_path):
    begin, *blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert begin.startswith("TOKEN=") and len(blocks) == 5
    arrays = {"darks": CAMERA.darks(), "flats": CAMERA.flats(), "frame": CAMERA.frame(0.02)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    with hold(tmp_path / "scan", SETUP) as live, listening(tmp_path / "scan", live) as url:
        environment = os.environ | {"TOKEN": TOKEN, "URL": url, "no_proxy": "127.0.0.1"}
        how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
        done = [subprocess.run(["sh", "-ec", block], **how).stdout for block in blocks]
    fields, asked, told, failed, last = done
    assert fields == '{"event":2}{"event":3}' and json.loads(asked)["angle"] == 0.0
    assert json.loads(told)["accepted"] and '"accepted":false' in failed
    assert '"measured":1' in last and '"granted":true' in last
    assert (tmp_path / "scan.nxs").read_bytes()[:4] == b"\x89HDF"
    assert (live.held.ledger.told[0]["angle"], live.held.ledger.told[0]["monitor"]) == (0.02, 0.99)
