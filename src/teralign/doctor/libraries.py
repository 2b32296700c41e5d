"""Python and the libraries, held against the versions that Teralign's own metadata ask for."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import teralign
from teralign.doctor.observation import Observation, Standing

_OLDEST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(
    r"^([\w.-]+)(?:\[[^]]*\])?\s*(?:>=\s*([\w.]+))?[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?"
)
_PURPOSES = {
    "hdf5": "reads HDF5 and Imaris files",
    "nifti": "reads NIfTI files",
}
_FOR_DEVELOPERS = {"test", "validators", "docs"}


def library_checks() -> Iterator[Observation]:
    """Yield the checks of Python, the required libraries, the extras, and the place for compiled code."""
    yield _python()
    required, extras = _requirements()
    yield _required(required)
    for extra, wanted in extras.items():
        yield _extra(extra, wanted)
    yield _compiled_code()


def _python() -> Observation:
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Observation("Python", Standing.MISSING, found, advice="install Python 3.11 or newer.")
    return Observation("Python", Standing.OK, found)


def _requirements() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the lowest version of each required library, and of each library of each extra for users."""
    required: dict[str, str] = {}
    extras: dict[str, dict[str, str]] = defaultdict(dict)
    try:
        lines = metadata.requires("teralign") or []
    except metadata.PackageNotFoundError:  # run from a folder of sources
        return {}, {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None or match[1] == "teralign":
            continue
        name, lowest, extra = match[1], match[2] or "0", match[3]
        if extra is None:
            required[name] = lowest
        elif extra not in _FOR_DEVELOPERS:
            extras[extra][name] = lowest
    return required, dict(extras)


def _lacking(wanted: dict[str, str]) -> list[str]:
    """Return the libraries that are not installed or too old, in words."""
    lacking = []
    for name, lowest in wanted.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking.append(name)
            continue
        if _numbers(version) < _numbers(lowest):
            lacking.append(f"{name} {version}, older than {lowest}")
    return lacking


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _required(required: dict[str, str]) -> Observation:
    name = f"Teralign {teralign.__version__}"
    lacking = _lacking(required)
    if lacking:
        advice = "run pip install --upgrade teralign (or make env in a checkout)."
        return Observation(name, Standing.MISSING, f"lacks {'; '.join(lacking)}", advice=advice)
    return Observation(name, Standing.OK, f"all {len(required)} libraries, at {Path(teralign.__file__).parent}")


def _extra(extra: str, wanted: dict[str, str]) -> Observation:
    purpose = _PURPOSES.get(extra, "")
    lacking = _lacking(wanted)
    if lacking:
        advice = f"run pip install 'teralign[{extra}]' if you need it."
        return Observation(f"extra {extra}", Standing.ABSENT, f"lacks {', '.join(lacking)}", purpose, advice)
    return Observation(f"extra {extra}", Standing.OK, ", ".join(wanted), purpose)


def _compiled_code() -> Observation:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(chosen)] if chosen else [Path(teralign.__file__).parent, Path.home() / ".cache"]
    for folder in folders:
        existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), Path("/"))
        if os.access(existing, os.W_OK):
            return Observation("compiled code", Standing.OK, f"kept in {folder}")
    advice = "set NUMBA_CACHE_DIR to a folder that can be written; else each command compiles for up to a minute."
    return Observation("compiled code", Standing.NOTE, f"{folders[-1]} cannot be written", advice=advice)
