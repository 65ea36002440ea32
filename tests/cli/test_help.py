"""Help, version and the list of priors: quick, complete, and in a form that programs can read."""

import json
import subprocess
import sys

import pytest

from tomopilot.cli import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]
QUICK = """
import sys
sys.argv = ["tomopilot", sys.argv[1]]
from tomopilot.cli import main
try:
    main()
finally:
    print(sorted({"torch", "h5py", "matplotlib", "diffusers"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, call):
    outcome = call(command, "--help")
    assert outcome.status == 0 and outcome.err == ""
    assert f"Example: tomopilot {command}" in " ".join(outcome.out.split())


@pytest.mark.parametrize("command", ["simulate", "compare", "resume", "train", "priors"])
def test_promised_commands_are_listed(command, call):
    assert command in call("--help").out


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_answers_without_heavy_imports(option):
    command = [sys.executable, "-c", QUICK, option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and done.stderr.strip() == "[]", done.stderr


def test_version(call):
    import tomopilot

    outcome = call("--version")
    assert (outcome.status, outcome.out.strip()) == (0, tomopilot.__version__)


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["simulate"], ["simulate", "--nonsense"], ["train", "a", "--out", "b", "--steps", "x"]],
)
def test_wrong_words(words, call):
    outcome = call(*words)
    assert outcome.status == 2 and outcome.out == ""
    assert "Traceback" not in outcome.err and "Usage: " in outcome.err


@pytest.fixture
def known(tiny, monkeypatch):
    monkeypatch.setenv("TOMOPILOT_PRIORS", str(tiny.parent))


def test_priors(known, call):
    outcome = call("priors")
    assert outcome.status == 0
    assert "tiny" in outcome.out and "metal" in outcome.out


def test_priors_as_json(known, call, tiny):
    cards = json.loads(call("priors", "--json").out)
    assert cards["tiny"] == json.loads((tiny / "card.json").read_text())


def test_a_known_prior_goes_by_its_name(known, call, pictures, tmp_path):
    words = ("--policy", "uniform", "--budget", 1, "--angles", 4, "--at", 1, "--count", 2)
    outcome = call("simulate", f"{pictures}::0", "--prior", "nobody", "--out", tmp_path, *words)
    assert outcome.status == 2 and "tiny" in outcome.err


def test_without_any_prior(call, monkeypatch, tmp_path):
    """A folder that is not there is no reason to fail."""
    monkeypatch.setenv("TOMOPILOT_PRIORS", str(tmp_path / "none"))
    assert call("priors").status == 0
