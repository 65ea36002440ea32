"""The files of the operator's page: nothing of other hosts, and nothing named that is not there."""

import re
from inspect import signature

import pytest

from tomopilot.beamline.showing import PAGE
from tomopilot.live.ledger import Ledger
from tomopilot.live.wishes import WISHES

SCRIPTS = sorted(PAGE.glob("*.js"))
HTML = (PAGE / "index.html").read_text()
CSS = (PAGE / "page.css").read_text()


@pytest.mark.fault
@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_nothing_of_other_hosts_is_asked_for(path):
    assert not re.findall(r"(?:https?:|wss?:)?//\w[\w.-]*\.\w+", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_element_that_a_script_names_is_on_the_page(path):
    source = path.read_text()
    named = set(re.findall(r'(?:\$|\btext|\blabel|getElementById|_values)\("([\w-]+)"', source))
    known = set(re.findall(r'id="([\w-]+)"', HTML))
    assert named <= known
    selected = re.findall(r"(?:closest|querySelectorAll)\(\"(.+?)\"", source)
    assert set(re.findall(r"#([\w-]+)", " ".join(selected))) <= known


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_imports_is_there(path):
    for names, place in re.findall(r"import (.+) from \"\./(.+)\"", path.read_text()):
        exported = set(
            re.findall(r"export (?:async )?(?:function|const|class) (\w+)", (PAGE / place).read_text())
        )
        wanted = set(re.findall(r"\w+", names)) if names.startswith("{") else set()
        assert wanted <= exported


def test_files_that_the_page_loads_are_there():
    loaded = set(re.findall(r'"/static/([\w.]+)"', HTML)) - {"plotly.min.js"}
    assert loaded == {"page.css", "page.js"}
    assert loaded <= {path.name for path in PAGE.iterdir()}


def test_colours_of_plots_are_in_the_style_sheet():
    names = re.search(r"const names = \[(.+)\]", (PAGE / "plots.js").read_text())
    assert names
    for name in re.findall(r'"(\w+)"', names[1]):
        assert CSS.count(f"--{name}: #") == 2, f"{name}: one for light, one for dark"


def test_events_and_wishes_are_those_of_the_scan():
    stream, words = ((PAGE / name).read_text() for name in ("stream.js", "words.js"))
    block = re.search(r"const KINDS = \[(.+?)\]", stream, re.DOTALL)
    assert block
    kinds = set(re.findall(r'"(\w+)"', block[1]))
    events = (name for name, one in vars(Ledger).items() if re.fullmatch(r"_[a-z]+", name) and callable(one))
    assert kinds == {
        name[1:] for name in events if [*signature(getattr(Ledger, name)).parameters] == ["self", "content"]
    }
    lines = re.search(r"const LINES = \{(.+?)\n\};", words, re.DOTALL)
    assert lines
    assert set(re.findall(r"^  (\w+): \(", lines[1], re.MULTILINE)) == kinds - {"used"}
    wishes = re.search(r"const WISHES = \{(.+?)\n\};", words, re.DOTALL)
    assert wishes
    assert set(re.findall(r"^  (\w+): ", wishes[1], re.MULTILINE)) == set(WISHES)
