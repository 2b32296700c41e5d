"""Changes that make good input hostile: every value of a JSON document by others, and bytes and texts at random."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

VOXELS = 10**18
"""A size that no computer holds."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "../../../canary",
    "$(touch canary)",
    [],
    [None],
    [0, 0, 0],
    [-1, -1, -1],
    [1e-320, 1, 1],
    [VOXELS, VOXELS, VOXELS],
    ["a", {}, []],
    [[1, 2], [3]],
    {},
    {"a": {"b": []}},
)
"""What stands in place of a value; each is valid JSON."""

TOKENS = (b"NaN", b"Infinity", b"-1e999", b"1" * 5000, b'"\\ud800"', b"null", b"[" * 1000, b"\xff\xfe", b"\0")
"""What a text that should be JSON may hold besides."""

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def nested(depth: int) -> str:
    """A JSON text of this many lists in each other."""
    return "[" * depth + "]" * depth


def json_paths(content: Any) -> Iterator[tuple[str | int, ...]]:
    """The way to every value in a JSON document, by keys and numbers."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield (key,)
        yield from ((key, *path) for path in json_paths(value))


def replaced(content: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of a JSON document with another value at a path."""
    changed = copy.deepcopy(content)
    _around(changed, path)[path[-1]] = copy.deepcopy(value)
    return changed


def removed(content: Any, path: Sequence[str | int]) -> Any:
    """A copy of a JSON document without the value at a path."""
    changed = copy.deepcopy(content)
    del _around(changed, path)[path[-1]]
    return changed


def _around(content: Any, path: Sequence[str | int]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


def any_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON text with one to three of its values replaced, removed or doubled, or with a token that is no JSON."""
    if rng.random() < 0.1:
        return any_text(content, rng)
    changed = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        paths = list(json_paths(changed))
        if not paths:
            break
        path = rng.choice(paths)
        changed = removed(changed, path) if rng.random() < 0.15 else replaced(changed, path, _value(changed, rng))
    return json.dumps(changed).encode()


def _value(content: Any, rng: random.Random) -> Any:
    """A hostile value, a number, or another part of the document."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(VALUES)
    if kind < 0.8:
        return rng.choice([-1, 1, 1.0]) * rng.choice(_NUMBERS)
    return _around(content, (*rng.choice(list(json_paths(content))), 0))


def any_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes changed, most often among the first, or with a part cut off, doubled or left out."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(min(len(changed), rng.choice((64, 512, 1 << 30)))) if changed else 0
        rng.choice(_EDITS)(changed, place, rng)
    return bytes(changed)


def any_text(content: bytes, rng: random.Random) -> bytes:
    """A text with words replaced by others of its own or by tokens, or changed as bytes."""
    if rng.random() < 0.3:
        return any_bytes(content, rng)
    words = content.split(b" ") if rng.random() < 0.5 else content.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        if words:
            words[rng.randrange(len(words))] = rng.choice((rng.choice(words), rng.choice(TOKENS), b""))
    return b" ".join(words) if b"\n" not in b"".join(words[:1]) else b"".join(words)


def _flip(content: bytearray, place: int, rng: random.Random) -> None:
    if content:
        content[place] ^= 1 << rng.randrange(8)


def _number(content: bytearray, place: int, rng: random.Random) -> None:
    form = rng.choice("BHIQ")
    order = rng.choice("<>")
    size = struct.calcsize(form)
    content[place : place + size] = struct.pack(order + form, rng.choice(_NUMBERS) & (256**size - 1))


def _float(content: bytearray, place: int, rng: random.Random) -> None:
    value = rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38))
    content[place : place + 4] = struct.pack(rng.choice("<>") + "f", value)


def _cut(content: bytearray, place: int, rng: random.Random) -> None:
    del content[place:]


def _leave_out(content: bytearray, place: int, rng: random.Random) -> None:
    del content[place : place + rng.randint(1, 32)]


def _double(content: bytearray, place: int, rng: random.Random) -> None:
    part = content[place : place + rng.randint(1, 64)]
    content[place:place] = part * rng.choice((1, 2, 100))


_EDITS: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _float,
    _cut,
    _leave_out,
    _double,
)
