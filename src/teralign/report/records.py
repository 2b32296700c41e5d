"""The records that the steps of an alignment leave: what ran on what, and the commands that repeat it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from teralign.errors import InputError
from teralign.trust import Assessment, Verdict

_COMMANDS = ("teralign", "global-align", "local-align")
_BY_NAME = {"--fixed": "fixed", "--moving": "moving"}


@dataclass(frozen=True)
class StepRecord:
    """The record of `global-align` or `local-align`: parameters as they acted, versions, inputs, and how it went.

    `command` repeats it, with the user's own names; `output` is the name of its transform, `config` the text of its
    configuration file, if it has one.
    `assessment` is the verdict that it came to, None where it has none.
    """

    command: str
    output: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any]
    versions: Mapping[str, str]
    config: str
    seconds: float | None
    assessment: Assessment | None


def read_record(path: Path, option: str) -> StepRecord:
    """Return the record in a .json of global-align or local-align. Raises InputError for any other file."""
    try:
        content = json.loads(path.read_text("utf-8"))
        run = content["run"]
        config = run.get("config")
        return StepRecord(
            command=_repeated(run["command"], content),
            output=Path(content["output"]).name,
            parameters=run["parameters"],
            inputs=run["inputs"],
            versions=run["versions"],
            config=config if isinstance(config, str) else "" if config is None else json.dumps(config, indent=1),
            seconds=_seconds(content),
            assessment=parse_assessment(content.get("assessment")),
        )
    except OSError as error:
        raise InputError(f"{option} {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{option} {path} is not the JSON that global-align or local-align writes.") from error


def parse_assessment(content: object) -> Assessment | None:
    """Return the assessment in the JSON of a record, None where there is none of a form that is known here."""
    if content is None:
        return None
    try:
        found: Assessment = TypeAdapter(Assessment).validate_python(content)
    except ValidationError:
        return None
    return None if found.verdict is Verdict.UNKNOWN and not found.examined else found


def _seconds(content: Mapping[str, Any]) -> float | None:
    """Return the time of all steps, None where it is not recorded."""
    if "seconds" in content:
        return float(content["seconds"])
    times = [step.get("seconds") for step in content.get("steps", ())]
    return sum(times) if times and None not in times else None


def _repeated(command: Sequence[str], content: Mapping[str, Any]) -> str:
    """Return a command line for a shell, with the user's own names in place of those of a work directory.

    Empty for an alignment that was called from Python.
    """
    program, *rest = map(str, command)
    called = Path(program)
    name = called.parent.name if called.name == "__main__.py" else called.name
    if name not in _COMMANDS:
        return ""
    words = [name, *rest]
    inputs, starts = content["run"]["inputs"], iter(content["run"]["inputs"].get("initial_transforms", ()))
    named: list[str] = []
    for place, word in enumerate(words):
        option = words[place - 1] if place else ""
        if option in _BY_NAME:
            word = str(inputs[_BY_NAME[option]]["uri"])
        elif option == "--initial-transform":
            word = str(next(starts, word))
        elif option in ("--output", "--aligned") and content.get(option[2:]):
            word = str(content[option[2:]])
        named.append(word)
    return shlex.join(named)
