"""The messages of all errors, collected from the code: each `raise` of an error of Teralign with its sentence."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teralign import errors

SOURCE = Path(errors.__file__).parent
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
    "blockwise": "Blocks",
    "cli": "Commands",
    "cluster": "Clusters",
    "configuration": "Configurations",
    "evaluation": "Evaluation",
    "filling": "Outputs",
    "files": "Files",
    "grids": "Grids and boxes",
    "lock": "Files",
    "ome": "OME-Zarr metadata",
    "pipeline": "The pipeline",
    "plans": "Plans",
    "registration": "Steps",
    "report": "Reports",
    "tasks": "Commands",
    "transforms": "Transforms and points",
    "trust": "Verdict and limits",
    "uploads": "Buckets and web servers",
    "viewing": "Viewing",
    "volumes": "Volumes",
}
"""The heading for the messages of each package."""


@dataclass(frozen=True)
class Message:
    """A sentence with … for the values in it, its class of error, and the package that raises it."""

    sentence: str
    error: str
    room: str


def page() -> str:
    """Return the page of all messages by package."""
    groups = defaultdict(set)
    for message in found():
        groups[ROOMS[message.room]].add((message.sentence, CODES[message.error]))
    lines = ["# All messages", ""]
    lines += [
        "This page is made from the code when the site is built. Each message says what is wrong, where, and what to"
    ]
    lines += [
        "do; … stands for a value. [Troubleshooting](../troubleshooting.md) has causes and remedies. Search for some"
    ]
    lines += ["words of your message.", ""]
    for title, entries in sorted(groups.items()):
        lines += [f"## {title}", "", "| message | exit code |", "|---|---|"]
        lines += [f"| {_cell(sentence)} | {code} |" for sentence, code in sorted(entries)]
        lines.append("")
    return "\n".join(lines)


def found() -> Iterator[Message]:
    """Yield each message that the code raises with a sentence of its own."""
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and (name := _name(node.func)) in CODES:
                sentence = _text(node.args[0])
                if len(sentence.replace("…", "").split()) > 2:
                    yield Message(sentence, name, room)


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else ""


def _text(node: ast.expr) -> str:
    """Return the text of a string or an f-string, with … for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    for mark in "[]*_`":
        parts = parts.replace(mark, f"\\{mark}")
    return parts
