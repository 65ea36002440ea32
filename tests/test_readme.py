"""The README's Python and the examples run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README.read_text())
PAGES = [ROOT / "docs" / "live.md"]  # whose Python needs no files
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIMIT = 1200  # seconds; a twentieth of it where nothing else runs


def execute(code: str, folder: Path, name: str) -> None:
    """In a process and a folder of its own, as a user would; warnings are errors there too."""
    environment = {**os.environ, "MPLBACKEND": "agg"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, f"{name}\n{done.stderr}"


def test_readme_shows_python():
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme(number, tmp_path):
    """A block may use what the blocks above it made."""
    execute("\n".join(BLOCKS[: number + 1]), tmp_path, f"block {number} of README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_page(page, tmp_path):
    execute("\n".join(BLOCK.findall(page.read_text())), tmp_path, page.name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(example, tmp_path):
    execute(example.read_text(), tmp_path, example.name)
