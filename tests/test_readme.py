"""The README's Python and the examples run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text() if README.is_file() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIMIT = 60  # seconds for an example


def need_priors(code: str) -> None:
    """Skips where the code names a shipped prior that this clone does not have."""
    from tomopilot.prior.checkpoint import prior_folders

    named = set(re.findall(r"\b(?:chip|composite|lung|brain)-\d+\b", code))
    if missing := named - prior_folders().keys():
        pytest.skip(f"needs the priors {', '.join(sorted(missing))}")


def execute(code: str, folder: Path, name: str) -> None:
    """In a process and a folder of its own, as a user would; warnings are errors there too."""
    environment = {**os.environ, "MPLBACKEND": "agg"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, f"{name}\n{done.stderr}"


def test_readme_is_there():
    if not TEXT:
        pytest.skip("README.md is not written yet")
    assert BLOCKS, "README.md shows no Python"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme(number, tmp_path):
    """A block may use what the blocks above it made."""
    code = "\n".join(BLOCKS[: number + 1])
    need_priors(code)
    execute(code, tmp_path, f"block {number} of README.md")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(example, tmp_path):
    code = example.read_text()
    need_priors(code)
    execute(code, tmp_path, example.name)
