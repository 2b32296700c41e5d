"""The shape of the code is as docs/architecture.md says: rooms, no circles, sizes of modules and signatures."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import teralign

SOURCE = Path(teralign.__file__).parent
TABLE = Path(__file__).parents[1] / "docs" / "architecture.md"

MAX_LINES = 500
MAX_PARAMETERS = 12
MAX_ANY = 100


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax trees of all modules, by name."""
    return {name_of(path): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def name_of(path: Path) -> str:
    parts = ["teralign", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a module imports, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in trees() else node.module


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "teralign"


def table() -> list[tuple[list[str], str]]:
    """The rows of the table of rooms: names, and what they may import."""
    rows = re.findall(r"^\| (`[^|]*) \|[^|]*\| ([^|]*) \|$", TABLE.read_text(), re.M)
    return [(re.findall(r"`(\w+)`", names), allowed) for names, allowed in rows]


@cache
def allowed() -> dict[str, set[str]]:
    """The rooms that each room may import."""
    rows = table()
    common = {name for names, _ in rows[:3] for name in names} | {"teralign"}
    every = {name for names, _ in rows for name in names} | common
    found = {}
    for names, text in rows:
        if text.startswith("everything"):
            own = every - set(re.findall(r"`(\w+)`", text))
        else:
            own = common | set(re.findall(r"\w+", text)) & every
        found.update({name: own | {name} for name in names})
    return found


def test_every_room_is_in_the_table():
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} == set(allowed())


@pytest.mark.parametrize("module", [name for name in trees() if name not in ("teralign", "teralign.__main__")])
def test_a_module_imports_what_its_room_may(module):
    rooms = {room_of(name) for name in imports(trees()[module]) if name.split(".")[0] == "teralign"}
    assert rooms <= allowed()[room_of(module)]


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {other for other in imports(tree) if other in trees()} for name, tree in trees().items()}
    graph["teralign"] = set()  # it imports the room api for type checkers only, and on first use
    while leaves := {name for name, others in graph.items() if not others & graph.keys()}:
        graph = {name: others for name, others in graph.items() if name not in leaves}
    assert sorted(graph) == []


def test_no_module_is_long():
    """Kernels apart: functions that numba compiles belong together."""
    lengths = {
        path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES and not name.endswith("kernels.py")} == {}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions by name."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{node.name}", node


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).startswith("click.command") for decorator in function.decorator_list)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    return len([a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")])


def test_no_function_has_many_parameters():
    """Commands of click apart, whose parameters are options."""
    many = {
        name: parameters(function)
        for name, function in functions()
        if parameters(function) > MAX_PARAMETERS and not is_command(function)
    }
    assert many == {}


def test_any_is_rare():
    count = sum(
        isinstance(node, ast.Name) and node.id == "Any" for tree in trees().values() for node in ast.walk(tree)
    )
    assert count < MAX_ANY


RESULT = re.compile(r"dict\[str, (Any|object)\]")


@pytest.mark.parametrize("module", [name for name in trees() if name.startswith("teralign.tasks.")])
def test_a_task_answers_with_a_value_of_its_own(module):
    """Public functions of a task give frozen dataclasses, not dictionaries."""
    loose = [
        node.name
        for node in trees()[module].body
        if isinstance(node, ast.FunctionDef) and node.returns and RESULT.search(ast.unparse(node.returns))
        if not node.name.startswith("_")
    ]
    assert loose == []


# Names that each module has for itself: loggers, lists of exports, type variables, and an untyped library.
OWN_NAMES = {"log", "__all__", "sitk"}


def defined_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The classes, constants and aliases of a module: names and, of all but classes, values."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, ""
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = ast.unparse(node.value)
            if not value.startswith("TypeVar("):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
                yield from ((name, value) for name in names)


def test_a_public_name_is_defined_once_and_a_private_constant_with_one_value():
    """Two modules may have a private constant of one name for different things, but not the same constant twice."""
    places = defaultdict(list)
    for module, tree in trees().items():
        for name, value in defined_names(tree):
            if name not in OWN_NAMES:
                places[name, value if name.startswith("_") else ""].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
