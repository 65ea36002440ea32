"""Imports point one way, and the public names are honest."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import tomopilot

ROOT = Path(tomopilot.__file__).parent
# Who may import whom; each may also import itself. Whoever is missing here may not be imported at all.
LOOP = {"measure", "records", "randomness"}
CORE = LOOP | {
    "units",
    "metrics",
    "nets",
    "disk",
    "prior",
    "posterior",
    "design",
    "experiment",
    "simulate",
    "files",
    "raw",
}
ALLOWED = {
    "randomness": set(),
    "units": set(),
    "metrics": set(),
    "nets": set(),
    "disk": set(),
    "measure": set(),
    "records": {"measure"},
    "prior": {"nets", "randomness", "disk", "units"},
    "posterior": LOOP | {"prior", "nets"},
    "design": LOOP,
    "experiment": LOOP | {"design", "posterior"},
    "testing": LOOP | {"design", "posterior", "prior", "experiment", "files"},
    "simulate": LOOP,
    "files": LOOP | {"simulate", "disk", "units"},
    "raw": LOOP | {"files", "disk", "units"},
    "prepare": {"files", "units", "disk"},
    "scan": CORE,
    "live": CORE | {"scan"},
    "beamline": CORE | {"scan", "live", "report"},
    "report": CORE | {"scan"},
    "bench": CORE | {"scan", "report"},
    "cli": CORE | {"scan", "report", "bench", "prepare", "live", "beamline"},
    "__main__": {"cli"},
    "__init__": set(),
}
LONGEST = 60  # lines of a function
LARGEST = 1 / 5  # of all code in one folder


def imports(source: Path) -> set[str]:
    """Rooms of ours that a module imports, anywhere in its code."""
    package = ("tomopilot", *source.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{origin}.{alias.name}" for alias in node.names} if origin == "tomopilot" else {origin}
    rooms = {name.split(".")[1] for name in found if name.startswith("tomopilot.")}
    return rooms - {"__version__"}


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_imports_point_one_way(source):
    room = source.relative_to(ROOT).parts[0].removesuffix(".py")
    assert room in ALLOWED, f"{room} is new: say in ALLOWED what it may import"
    wrong = imports(source) - ALLOWED[room] - {room}
    assert not wrong, f"{room} may not import {', '.join(sorted(wrong))}"


def test_the_order_has_no_circle():
    done: set[str] = set()
    while rest := {room for room in ALLOWED if room not in done}:
        free = {room for room in rest if ALLOWED[room] <= done}
        assert free, f"a circle among {rest}"
        done |= free


def files_imported(source: Path) -> set[Path]:
    """Files of ours that a module imports, anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
            found |= {path} if name.startswith("tomopilot.") and path.is_file() else set()
    return found


def test_no_files_import_each_other():
    """Not even by a detour: they can be read one after the other."""
    graph = {source: files_imported(source) for source in SOURCES}
    while free := {source for source, needs in graph.items() if not needs & graph.keys() - {source}}:
        graph = {source: needs for source, needs in graph.items() if source not in free}
    assert not graph, sorted(str(source.relative_to(ROOT)) for source in graph)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_functions_are_short(source):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, functions):
            lines = (node.end_lineno or 0) - node.body[0].lineno + 1
            assert lines <= LONGEST, f"{node.name} has {lines} lines"


def test_no_folder_holds_most_of_the_code():
    lines: dict[str, int] = {}
    for source in SOURCES:
        room = source.relative_to(ROOT).parts[0]
        lines[room] = lines.get(room, 0) + len(source.read_text().splitlines())
    assert max(lines.values()) <= LARGEST * sum(lines.values()), lines


def public_names() -> list[str]:
    tree = ast.parse((ROOT / "__init__.pyi").read_text())
    aliases = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in aliases)
    return [alias.name for alias in aliases]


@pytest.mark.parametrize("name", public_names())
def test_public_name(name):
    thing = getattr(tomopilot, name)
    assert name in tomopilot.__all__ and name in dir(tomopilot)
    text = inspect.getdoc(thing) or ""
    assert thing.__doc__ and text.strip(), f"{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{name} has only the docstring that dataclass makes"


def test_public_names_are_complete_and_unique():
    assert sorted(set(tomopilot.__all__)) == sorted(public_names())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_every_module_says_what_it_is(source):
    assert source.name == "__main__.py" or ast.get_docstring(ast.parse(source.read_text()))


def test_every_module_can_be_imported():
    for source in SOURCES:
        if source.name != "__main__.py":
            parts = source.relative_to(ROOT.parent).with_suffix("").parts
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
