"""The origin of a result: command line, versions, inputs by the user's own names, and effective parameters.

A pipeline runs commands on links in a work directory, whose names mean nothing once the directory is gone. It passes
the user's own names in the environment variable `TERALIGN_INPUT_NAMES`, a JSON object: its keys are paths as the
command gets them, or folders above them, and its values the names to record instead.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from teralign import __version__

log = logging.getLogger(__name__)

INPUT_NAMES_VARIABLE = "TERALIGN_INPUT_NAMES"

_LIBRARIES = ("numpy", "scipy", "SimpleITK", "numba", "dask", "distributed", "tensorstore", "zarr")


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"teralign": __version__, "python": platform.python_version(), **libraries}


@dataclass(frozen=True)
class Run:
    """The origin of a result; `config` is the text of the YAML file, or the mapping given instead."""

    inputs: Mapping[str, object]
    parameters: Mapping[str, object]
    config: object = None
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))
    versions: Mapping[str, str] = field(default_factory=_versions)


def config_content(config: str | Path | Mapping[str, object] | None) -> object:
    """Return the text of a configuration file; a mapping, or None, as it is."""
    return Path(config).read_text(encoding="utf-8") if isinstance(config, str | Path) else config


def in_own_names(text: str) -> str:
    """Return a text with the user's own name in place of each path of an input."""
    for given, own in _names().items():
        if "://" not in given:
            path = re.escape(str(Path(given).absolute()))
            text = own.rstrip("/").join(re.split(rf"{path}(?![\w.-])", text))
    return text


def own_name(uri: str | Path) -> str:
    """Return the user's own name of an input or output, or `uri` if the environment gives no such name."""
    names = _names()
    text = str(uri)
    if text in names:
        return names[text]
    if "://" in text:
        return text
    path = Path(text).absolute()
    known = {Path(given).absolute(): own for given, own in names.items() if "://" not in given}
    for folder in (path, *path.parents):
        if folder in known:
            rest = path.relative_to(folder).as_posix()
            return known[folder] if rest == "." else f"{known[folder].rstrip('/')}/{rest}"
    return text


def _names() -> dict[str, str]:
    """Return the names of the environment; none, and a line in the log, if they cannot be read."""
    text = os.environ.get(INPUT_NAMES_VARIABLE, "")
    if not text:
        return {}
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        log.warning("%s is not a JSON object of names; paths are recorded as given", INPUT_NAMES_VARIABLE)
        return {}
    return names
