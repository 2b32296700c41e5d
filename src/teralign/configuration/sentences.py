"""Sentences about what is wrong in a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from teralign.registration.config import Section

_WANTED = {
    "tuple_type": "a list",
    "missing": "a list of the right length",
    "too_long": "a list of the right length",
    "too_short": "a list of the right length",
}
"""Requirements that pydantic words for Python, as a writer of YAML knows them."""


def sentence(error: ValidationError, model: type[Section], where: str, known: Sequence[str]) -> str:
    """Return the first problem of a section, unknown keys before all else, as the end of a sentence.

    `where` is the section's place in the configuration; `known` are keys to suggest besides those of `model`.
    """
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    problem = problems[0]
    keys = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        *outer, key = keys
        path = ".".join([where, *outer])
        return f"{path} has no key {key!r}{nearest(key, [*_fields(model, outer), *known])}"
    # pydantic reports each alternative of a union, under names of its own: name them together.
    same_key = [p for p in problems if p["loc"][0] == problem["loc"][0]]
    wanted = list(dict.fromkeys(_requirement(p) for p in same_key))
    if len(wanted) > 1:
        # The shortest path is that of the key's whole value.
        value = min(same_key, key=lambda p: len(p["loc"]))["input"]
        return f"{where}.{keys[0]} should be {' or '.join(wanted)}, not {readable(value)}."
    inner = "".join(f".{key}" for key in keys[1:2] if key in _fields(model, keys[:1]))
    within = problem["loc"][1:-1] if problem["type"] == "missing" else problem["loc"][1:]
    index = "".join(f"[{part}]" for part in within if isinstance(part, int))
    return f"{where}.{keys[0]}{inner}{index} should be {wanted[0]}, not {readable(problem['input'])}."


def _fields(model: type[Section], path: Sequence[str]) -> Iterable[str]:
    """Return the keys of the section at `path` below `model`; none where that is not a section."""
    for key in path:
        annotation = model.model_fields[key].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            return ()
        model = annotation
    return model.model_fields


def _requirement(problem: ErrorDetails) -> str:
    """Return what a value should be, as the end of "should be"."""
    message = _WANTED.get(problem["type"], problem["msg"])
    return message.removeprefix("Value error, ").removeprefix("Input ").removeprefix("should be ")


def nearest(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Return the end of a sentence that suggests the known word nearest to `word`, or lists all."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}."


def resembles(word: str, known: Sequence[str]) -> str | None:
    """Return the known word of which `word` is likely a misspelling, None if there is none."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    return found[0] if found else None


def readable(value: object) -> str:
    """Return a value as text of at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
