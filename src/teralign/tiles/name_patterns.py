"""Patterns of names for the files of a folder that belong together."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Collection, Sequence

from teralign.errors import InputError


def pattern_for(wanted: Sequence[str], names: Collection[str], folder: object) -> str:
    """Return a pattern with a star that fits all of `wanted`, and no other of `names`, the files in `folder`.

    Raises InputError where there is none.
    """
    before = _shared(wanted)
    after = _shared([name[len(before) :][::-1] for name in wanted])[::-1]
    ending = wanted[0][wanted[0].rfind(".") :] if "." in wanted[0] else ""
    for pattern in (f"*{ending}", f"{_literal(before.rstrip('0123456789'))}*{_literal(after)}"):
        if set(fnmatch.filter(names, pattern)) == set(wanted):
            return pattern
    raise InputError(f"{folder} holds files between those of the tile, such as {min(wanted)}; put them elsewhere.")


def _shared(names: Sequence[str]) -> str:
    """Return the characters that all names begin with."""
    equal = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in equal)


def _literal(text: str) -> str:
    """Return a pattern that fits this text alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
