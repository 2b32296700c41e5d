"""Checks of a command's input, before any long work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from teralign.errors import InputError


def refuse_existing(path: Path, *, overwrite: bool, what: str = "--output") -> None:
    """Raise InputError when `path` exists, unless it is to be overwritten."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another {what}, or add --overwrite.")


def check_new_file(path: Path, *, overwrite: bool, what: str = "--output") -> Path:
    """Raise InputError when `path` exists, unless it is to be overwritten, or its folder cannot be written."""
    refuse_existing(path, overwrite=overwrite, what=what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.parent / f".{path.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be written there: {error.strerror}.") from error
    return path


def passed(transforms: Sequence[str]) -> str:
    """Return the words of a log for initial transforms, which pass through where no step follows."""
    return "the start " + " ∘ ".join(transforms) if transforms else "the identity"
