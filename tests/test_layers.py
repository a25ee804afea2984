"""Style as a test: who may import whom, what stays pure, how big things get, what the wheel holds.

    0 words ◀─ 1 world ◀─ 2 decisions ◀─ 3 mind, engines ◀─ 4 io ◀─ 5 faces
    nodes/ and brokers/ are leaves: nobody imports them

A module imports from lower levels and from its own room, never across or up, never in a circle.
A new module fails here until ROOMS says where it lives.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from edgeflow.cli.campaign import ROOMS as CAMPAIGN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Room:
    """Modules of one level. A package's name stands for all of its modules."""

    level: int
    pure: bool
    modules: str


ROOMS = {
    "words": Room(0, True, "messages events config errors"),
    "world": Room(1, True, "codec model layout tiles costmodel ledger traces"),
    "decisions": Room(2, True, "cluster estimation planning policy plans frames leader whatif"),
    "mind": Room(3, True, "mind sim"),
    "engines": Room(
        3,
        False,
        "modelfile draft exporter importer executors audit picture encoded",
    ),
    "io": Room(4, False, "io"),
    "faces": Room(5, False, "__init__ __main__ service api client views cli demo bench lab"),
}

PURE_IMPORTS = """
    __future__ abc bisect collections copy dataclasses enum functools hashlib heapq itertools json
    math operator re statistics types typing msgspec numpy scipy
"""
"""All that a pure module may import from outside: no socket, clock, thread, disk, random source."""

PURE_EXCEPTIONS = {
    ("sim", "traceback"): "a failing seed tells its story",
    ("sim", "random"): "seeded generators only: the same seed gives the same history",
}

OWNERS = {
    "torch": "exporter executors bench",
    "onnx": "executors importer",
    "onnxruntime": "executors bench",
    "safetensors": "modelfile io",
    "scipy": "planning",
    "zmq": "io bench",
    "paho": "io",
    "psutil": "io",
    "typer": "cli",
    "rich": "views cli demo",
}
"""Who may import a library that shapes the code around it."""

FILE_LINES_MAX = 300
TEST_LINES_MAX = 600
"""A file of tests is a list of sentences: nobody reads it from top to bottom."""
FUNCTION_LINES_MAX = 40

SIZE_EXCEPTIONS: dict[str, tuple[int, str]] = {
    "edgeflow/messages.py": (760, "all words in one file, so that the union is closed"),
    "edgeflow/events.py": (450, "all words in one file, so that the union is closed"),
    "edgeflow/cli/node.py::start": (60, "one option a setting, and nothing to think about"),
    "edgeflow/cli/deploy.py::deploy": (60, "most of it is options"),
    "edgeflow/cli/plan.py::plan": (50, "most of it is options"),
    "edgeflow/client/flow.py::deploy": (55, "most of it is what may be wished"),
}
"""Path, or path::function, to (lines at most, why). It only ever shrinks without a reason."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """`io.links` for edgeflow/io/links.py; `io` for its __init__; `__init__` for the root's."""
    parts = list(path.relative_to(ROOT / "edgeflow").with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


MODULES = {name_of(path): path for path in sorted((ROOT / "edgeflow").rglob("*.py"))}


def room_of(module: str) -> str | None:
    """The room whose entry is the longest prefix of the module's name."""
    found = {
        entry: room
        for room, each in ROOMS.items()
        for entry in each.modules.split()
        if module == entry or module.startswith(f"{entry}.")
    }
    return found[max(found, key=len)] if found else None


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below that runs: not what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def imports_of(path: Path, *, at_run_time: bool = False) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every import, also of those inside functions."""
    for node in running(tree(path)) if at_run_time else ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] != "edgeflow":
                yield node.module, node.lineno
                continue
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                known = whole.removeprefix("edgeflow.") in MODULES
                yield (whole if known else node.module), node.lineno


def inner_imports(module: str, *, at_run_time: bool = False) -> set[str]:
    """Modules of edgeflow that a module imports."""
    names = {name for name, _ in imports_of(MODULES[module], at_run_time=at_run_time)}
    inside = {name for name in names if name.split(".")[0] == "edgeflow"}
    return {name.removeprefix("edgeflow.") if "." in name else "__init__" for name in inside}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_room(module: str) -> None:
    assert room_of(module), (
        f"edgeflow.{module} has no level yet: add it to ROOMS in tests/test_layers.py, in the"
        " lowest room whose rule it keeps (ARCHITECTURE.md says what each is for)"
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_below_or_from_its_own_room(module: str) -> None:
    room = room_of(module)
    assert room, "no room: see the test above"
    for other in inner_imports(module):
        theirs = room_of(other)
        assert theirs, f"edgeflow.{module} imports edgeflow.{other}, which is in no room"
        assert theirs == room or ROOMS[theirs].level < ROOMS[room].level, (
            f"edgeflow.{module} ({room}, level {ROOMS[room].level}) may not import"
            f" edgeflow.{other} ({theirs}, level {ROOMS[theirs].level})"
        )


def test_no_import_goes_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "a circle: " + " -> ".join((*trail, module))
        if module not in done:
            for other in sorted(
                inner_imports(module, at_run_time=True) & MODULES.keys() - {module}
            ):
                visit(other, (*trail, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_the_thinking_part_is_pure(module: str) -> None:
    room = room_of(module)
    if room is None or not ROOMS[room].pure:
        return
    for name, line in imports_of(MODULES[module]):
        top = name.split(".")[0]
        excepted = (module.split(".")[0], top) in PURE_EXCEPTIONS
        fits = top == "edgeflow" or top in PURE_IMPORTS.split() or excepted
        assert fits, (
            f"{MODULES[module]}:{line}: a pure module may not import {top}; do it in edgeflow/io"
            " and hand the result over as an event, or add a reasoned line to PURE_EXCEPTIONS"
        )
    for node in ast.walk(tree(MODULES[module])):
        called = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        assert called not in ("open", "print", "input"), (
            f"edgeflow.{module}: {called}() in the core"
        )
        random = isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random")
        assert not random, f"{module}: np.random in the core"


@pytest.mark.parametrize("module", MODULES)
def test_a_library_stays_with_its_owners(module: str) -> None:
    for name, line in imports_of(MODULES[module]):
        owners = OWNERS.get(name.split(".")[0], "").split()
        fits = not owners or any(f"{module}.".startswith(f"{owner}.") for owner in owners)
        assert fits, f"{MODULES[module]}:{line}: only {', '.join(owners)} may import {name}"


def test_nothing_in_edgeflow_imports_the_leaves() -> None:
    for module, path in MODULES.items():
        for name, line in imports_of(path):
            leaf = name.startswith(("edgeflow.nodes", "edgeflow.brokers"))
            assert not leaf, f"edgeflow.{module}:{line} imports {name}: start it as a process"


def test_leaves_import_no_siblings_and_are_named_like_no_library() -> None:
    taken = sys.stdlib_module_names | packages_distributions().keys()
    for path in [*(ROOT / "nodes").glob("*.py"), *(ROOT / "brokers").glob("*.py")]:
        assert path.stem == "__init__" or path.stem not in taken, f"{path}: a library's name"
        for name, line in imports_of(path):
            sibling = name.startswith(("edgeflow.nodes", "edgeflow.brokers", "nodes", "brokers"))
            assert not sibling, f"{path}:{line}: imports its sibling {name}"


def source_files() -> list[Path]:
    """Every Python file that we wrote, and what we write beside them."""
    folders = ("edgeflow", "nodes", "brokers", "scripts", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def sizes() -> Iterator[tuple[str, int, int]]:
    """(path or path::function, lines, lines at most) of every file and function."""
    for path in source_files():
        place = path.relative_to(ROOT).as_posix()
        most = TEST_LINES_MAX if place.startswith("tests/") else FILE_LINES_MAX
        yield place, len(path.read_text(encoding="utf-8").splitlines()), most
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{place}::{node.name}", lines, FUNCTION_LINES_MAX


def test_a_campaign_of_seeds_is_of_one_version_of_all_code_that_decides() -> None:
    pure = {entry for room in ROOMS.values() if room.pure for entry in room.modules.split()}
    beside = {"ledger", "whatif"}  # read histories, and clusters on paper: they decide nothing
    folders = {entry for entry in pure if (ROOT / "edgeflow" / entry).is_dir()}
    assert set(CAMPAIGN) == folders - beside


def test_the_folders_form_no_circle_either() -> None:
    below: dict[str, set[str]] = {}
    for module in MODULES:
        for other in inner_imports(module):
            one, its = module.split(".")[0], other.split(".")[0]
            if one != its:
                below.setdefault(one, set()).add(its)

    def visit(folder: str, trail: tuple[str, ...]) -> None:
        assert folder not in trail, "a circle: " + " -> ".join((*trail, folder))
        for other in below.get(folder, ()):
            visit(other, (*trail, folder))

    for folder in below:
        visit(folder, ())


def test_files_and_functions_stay_small() -> None:
    big = [
        f"{place}: {lines} lines, at most {SIZE_EXCEPTIONS.get(place, (most, ''))[0]}"
        for place, lines, most in sizes()
        if lines > SIZE_EXCEPTIONS.get(place, (most, ""))[0]
    ]
    assert not big, "split them, or give a reason in SIZE_EXCEPTIONS:\n" + "\n".join(big)


def test_an_exception_that_nobody_needs_is_taken_out() -> None:
    needed = {place for place, lines, most in sizes() if lines > most}
    assert set(SIZE_EXCEPTIONS) <= needed, sorted(set(SIZE_EXCEPTIONS) - needed)


def test_every_module_says_on_top_what_it_is() -> None:
    silent = [str(path) for path in source_files() if not ast.get_docstring(tree(path))]
    assert not silent, silent


def test_the_wheel_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in MODULES.values()}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == found | {"edgeflow.nodes", "edgeflow.brokers"}, (
        "list every package under [tool.setuptools] packages in pyproject.toml"
    )
    bare = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not bare, f"no __init__.py in {bare}"
