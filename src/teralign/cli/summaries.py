"""The end of a command for a person: verdict, error, files and the next command, where JSON would be hard to read.

A summary is made from the document that would be printed as JSON, so that it names no value that JSON lacks. Values
are shown by their keys: those that end in `_um` are µm, in `_bytes` bytes, and `seconds` a duration.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from teralign.progress import readable_time
from teralign.results import Json

_FILES = ("output", "aligned", "report", "overlay", "metrics", "volume", "container", "outdir")
"""Keys whose values are files or folders that the command wrote."""

_HIDDEN = {"format", "teralign", "dry_run", "verdict", "assessment", "gates", "advice", "skipped", "grid", *_FILES}
_WIDTH = 24


def summary(command: str, document: Mapping[str, Json], given: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines that a person reads after `command` ended with this document.

    `given` are the options of the images that the command was called with, which the next one needs as well.
    """
    lines = [*_trust(document), *_facts(document)]
    lines += [_row(key, str(document[key])) for key in _FILES if isinstance(document.get(key), str)]
    if document.get("dry_run"):
        lines.append("Nothing was written: this is a plan.")
    elif following := _next(command, document, given or {}):
        lines += ["Next:", f"  {following}"]
    return lines


def _trust(document: Mapping[str, Json]) -> Iterator[str]:
    """Yield the verdict with its sentence, failed gates and advice; nothing of a command that judges nothing."""
    verdict = document.get("verdict")
    if not isinstance(verdict, str):
        return
    assessment = _object(document.get("assessment"))
    sentence = str(assessment.get("sentence") or "").removeprefix(f"{verdict.capitalize()}: ")
    yield f"{verdict.upper()}: {sentence}" if sentence else verdict.upper()
    for gate in _objects(_object(document.get("gates")).get("failed")):
        yield f"  failed: {gate.get('sentence')}"
    for advice in _objects(assessment.get("advice")):
        yield f"  try: {advice.get('sentence')}"


def _facts(document: Mapping[str, Json]) -> Iterator[str]:
    """Yield a line for each value that is known, in the order of the document."""
    for key, value in document.items():
        if key in _HIDDEN or value is None or value in ([], {}):
            continue
        if isinstance(value, list) and _objects(value):
            yield _row(key, ", ".join(_named(item) for item in _objects(value)))
        else:
            yield _row(key, _shown(key, value))


def _row(key: str, text: str) -> str:
    label = key.removesuffix("_um").removesuffix("_bytes").replace("_", " ")
    return f"{label:<{_WIDTH}}{text}"


def _shown(key: str, value: Json) -> str:
    """Return a value as people write it."""
    if isinstance(value, Mapping):
        units = {name: "" if name == "factor" else key for name in value}
        return ", ".join(f"{name.replace('_', ' ')} {_shown(units[name], item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown("", item) for item in value) + (" µm" if key.endswith("_um") else "")
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key.endswith("seconds"):
        return readable_time(value)
    if key.endswith("_bytes"):
        return _bytes(value)
    number = str(value) if isinstance(value, int) else f"{value:.4g}"
    return f"{number} µm" if key.endswith("_um") else number


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _named(item: Mapping[str, Json]) -> str:
    """Return an object of a list in a few words: its name, and its state if it has one."""
    name = item.get("name") or item.get("id") or item.get("output") or "one"
    state = item.get("state")
    return f"{name} ({state})" if state else str(name)


def _next(command: str, document: Mapping[str, Json], given: Mapping[str, str]) -> str | None:
    """Return the command that usually comes next, with the files of this one, or None: a bad result leads nowhere."""
    fixed, moving, output = (document.get(key) for key in ("fixed", "moving", "output"))
    if document.get("verdict") == "bad" or not (fixed and moving and output):
        return None
    options: dict[str, Json]
    match command:
        case "global-align":
            name, options = "local-align", {"--initial-transform": output, "--output": "transform.zarr"}
        case "local-align":
            name, options = "report-alignment", {"--transform": output, **_records(document), "--output": "report"}
        case _:
            return None
    values: dict[str, Json] = {"--fixed": fixed, "--moving": moving, **_taken(name, given), **options}
    return " ".join([name, *(f"{flag} {shlex.quote(str(value))}" for flag, value in values.items())])


def _records(document: Mapping[str, Json]) -> dict[str, Json]:
    """Return the options of a report for the records of the alignments that led to this map, where they exist."""
    found = {"--blocks": document.get("report")}
    started = document.get("started_from")
    if isinstance(started, list) and len(started) == 1:
        record = Path(str(started[0])).with_suffix(".json")
        found = {"--global-report": str(record) if record.exists() else None, **found}
    return {flag: value for flag, value in found.items() if value is not None}


def _taken(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return those of the options that the command `name` has, too."""
    if not given:
        return {}
    from teralign.cli.main import load_command

    known = {flag for parameter in load_command(name).params for flag in parameter.opts}
    return {flag: value for flag, value in given.items() if flag in known}


def _object(value: Json | None) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Json | None) -> list[Mapping[str, Json]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
