"""The sentences of all errors, collected from the code: Python, the workflow, and the programs of bin/."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teralign import errors

SOURCE = Path(errors.__file__).parent
ROOT = Path(__file__).parents[2]
CODES = {
    name: kind.exit_code
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TeralignError) and kind is not errors.TeralignError
}
"""The exit code of each class of error."""

ROOMS = {
    "addresses": "Buckets and web servers",
    "alignment": "Alignments",
    "api": "Python",
    "bin": "The pipeline",
    "blockwise": "Blocks",
    "cli": "Commands",
    "cluster": "Clusters",
    "correction": "Tiles",
    "configuration": "Configurations",
    "errors": "Files",
    "evaluation": "Evaluation",
    "filling": "Outputs",
    "files": "Files",
    "grids": "Grids and boxes",
    "lock": "Files",
    "ome": "OME-Zarr metadata",
    "pipeline": "The pipeline",
    "plans": "Plans",
    "registration": "Configurations",
    "report": "Reports",
    "stitching": "Tiles",
    "tasks": "Commands",
    "tiles": "Tiles",
    "transforms": "Transforms and points",
    "trust": "Verdict and limits",
    "uploads": "Buckets and web servers",
    "viewing": "Viewing",
    "volumes": "Volumes",
    "workflow": "The pipeline",
}
"""The heading for the messages of each package, of the workflow and of bin/."""

_REFUSALS = {"refuse", "fail"}
"""Methods that raise, or return, an InputError whose sentence ends with their first argument."""

_PARSERS = ("cli/values.py", "registration/config.py")
"""Modules whose ValueErrors are shown with the name of the option or key before them."""

_LEAST_WORDS = 3


@dataclass(frozen=True)
class Message:
    """A sentence with … for the values in it, the exit code that it comes with, and the package that raises it."""

    sentence: str
    code: int
    room: str


def found() -> Iterator[Message]:
    """Yield each message that the code has with a sentence of its own, some of them several times."""
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        room = place.split("/")[0].removesuffix(".py")
        for sentence, code in _raised(ast.parse(path.read_text(encoding="utf-8")), parses=place in _PARSERS):
            if len(sentence.replace("…", "").split()) >= _LEAST_WORDS:
                yield Message(sentence, code, room)
    yield from _of_the_workflow()


def _raised(tree: ast.Module, *, parses: bool) -> Iterator[tuple[str, int]]:
    """Yield sentence and exit code of each error that a module makes; `parses`: of ValueErrors too."""
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    codes = {name: [code] for name, code in CODES.items()} | _chosen(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = _name(node.func)
        argument = node.args[0]
        if name in codes:
            for code in codes[name]:
                yield from ((sentence, code) for sentence in _sentences(argument, functions))
        elif name in _REFUSALS or (parses and name == "ValueError"):
            yield from ((f"…: {sentence}", CODES["InputError"]) for sentence in _sentences(argument, functions))


def _chosen(tree: ast.Module) -> dict[str, list[int]]:
    """Return the exit codes of variables that hold one of several classes of errors."""
    return {
        _name(node.targets[0]): [CODES[_name(part)] for part in (node.value.body, node.value.orelse)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.IfExp)
        and {_name(node.value.body), _name(node.value.orelse)} <= set(CODES)
    }


def _sentences(node: ast.expr, functions: dict[str, ast.FunctionDef]) -> Iterator[str]:
    """Yield the text of a sentence; where a function of the module makes it, each that it returns."""
    maker = functions.get(_name(node.func)) if isinstance(node, ast.Call) else None
    if maker is None:
        yield _text(node)
        return
    for part in ast.walk(maker):
        if isinstance(part, ast.Return) and part.value is not None:
            yield _text(part.value)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.expr) -> str:
    """Return the text of a string or an f-string, with … for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


def _of_the_workflow() -> Iterator[Message]:
    """Yield the messages of the workflow and of the programs in bin/, which end with exit code 1."""
    for path in sorted([ROOT / "main.nf", *ROOT.glob("subworkflows/*.nf"), *ROOT.glob("modules/*.nf")]):
        for call in re.findall(r"^\s*(?:log\.)?error\((.*)\)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield from (Message(text, 1, "workflow") for text in _quoted(call))
    for path in sorted(ROOT.glob("bin/*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            said = re.search(r"\bfail (?=\")(.*)$|echo \"Error: (.*)$", line)
            if said:
                yield from (Message(text, 1, "bin") for text in _quoted(said[1] or f'"{said[2]}'))


def _quoted(code: str) -> Iterator[str]:
    """Yield each text in double quotes with a sentence in it, with … for its values."""
    depth_free = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}|\$[a-z_]\w*", "…", code)
    for text in re.findall(r'"((?:[^"\\]|\\.)*)"', depth_free):
        if len(text.replace("…", "").split()) >= _LEAST_WORDS:
            yield text.replace("\\n", " ")
