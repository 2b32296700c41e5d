"""A configuration read from a YAML file or a mapping, and checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from teralign.configuration.bigstream import NO_EFFECT, OTHER_STEPS, RENAMED
from teralign.configuration.config import Config, StepList, StepValues, check_step_name
from teralign.configuration.sections import DEFAULT_STEPS, SECTION_MODELS
from teralign.configuration.sentences import nearest, readable, sentence
from teralign.errors import InputError
from teralign.registration.config import STEP_MODELS, Section

log = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=Section)


def load_config(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration: the path of a YAML file, or a mapping of the same shape.

    Without one, everything has its default. Raises InputError, one sentence with file, section and key, for an
    unknown key or a value of the wrong type.
    """
    if source is None:
        return Config()
    if isinstance(source, Mapping):
        name, content = "the configuration", source
    else:
        name, content = str(source), _read_yaml(Path(source))
    reader = _Reader(name)
    known = {**STEP_MODELS, **SECTION_MODELS}
    defaults: dict[str, StepValues] = {}
    sections: dict[str, StepList] = {}
    blocks: dict[str, Any] = {}
    for key, value in content.items():
        if key in STEP_MODELS:
            defaults[key] = reader.step(key, value, key)
        elif key in SECTION_MODELS:
            sections[key], own = reader.section(key, value)
            blocks |= own
        elif key in OTHER_STEPS:
            reader.note(key, "there is no such step")
        else:
            raise InputError(f"{name}: there is no section {key!r}{nearest(str(key), known)}")
    return Config(name, defaults, sections, **blocks)


def _read_yaml(path: Path) -> StepValues:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the configuration {path} is not a text file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"the configuration {path} is not valid YAML{place}: {problem}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"the configuration {path} must be a mapping of sections, not {readable(content)}.")
    return content


class _Reader:
    """Checks the sections of one configuration, and logs each key without effect once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._noted: set[tuple[str, str]] = set()

    def section(self, name: str, value: object) -> tuple[StepList, StepValues]:
        """Return the steps and overrides of an align section, and the section's own keys that are given."""
        values = self._mapping(value, name)
        overrides = {
            key: self.step(key, content, f"{name}.{key}") for key, content in values.items() if key in STEP_MODELS
        }
        for key in values:
            if key in OTHER_STEPS:
                self.note(f"{name}.{key}", "there is no such step")
        own = {key: v for key, v in values.items() if key not in STEP_MODELS and key not in OTHER_STEPS}
        if "steps" in own and own["steps"] is None:
            default = ", ".join(DEFAULT_STEPS[name])
            log.warning("%s: %s.steps lists none: skipped; without the key: %s", self._source, name, default)
            own["steps"] = []
        model = SECTION_MODELS[name]
        own = self._effective(model, own, name)
        checked = self._validate(model, own, name, *STEP_MODELS)
        listed = checked.steps if checked.steps is not None else DEFAULT_STEPS[name]
        steps = StepList(tuple(self._listed(entry, f"{name}.steps") for entry in listed), overrides)
        return steps, {key: getattr(checked, key) for key in own if key != "steps"}

    def step(self, name: str, value: object, where: str) -> StepValues:
        """Return the given values of one step, checked, without the keys that have no effect."""
        model = STEP_MODELS[name]
        values = self._renamed(model, self._effective(model, self._mapping(value, where), where), where)
        for key, info in model.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, Section) and key in values:
                values[key] = self._effective(inner, self._mapping(values[key], f"{where}.{key}"), f"{where}.{key}")
        self._validate(model, values, where)
        return values

    def note(self, key: str, why: str) -> None:
        """Log, once a configuration, that a key has no effect."""
        short = key.removeprefix("global_align.").removeprefix("local_align.")
        if (short, why) not in self._noted:
            self._noted.add((short, why))
            log.info("%s: %s has no effect: %s", self._source, key, why)

    def _listed(self, entry: str | dict[str, dict[str, Any] | None], where: str) -> tuple[str, StepValues]:
        if isinstance(entry, str):
            check_step_name(entry, f"{self._source}: {where}")
            return entry, {}
        if len(entry) != 1:
            raise InputError(
                f"{self._source}: an entry of {where} must be the name of a step, or one name with its values "
                f"(`- affine: {{metric: MMI}}`), not {readable(entry)}."
            )
        (name, values), *_ = entry.items()
        check_step_name(name, f"{self._source}: {where}")
        return name, self.step(name, values, f"{where}.{name}")

    def _effective(self, model: type[Section], values: StepValues, where: str) -> dict[str, Any]:
        """Return `values` without the keys that have no effect, which the log names."""
        idle = NO_EFFECT.get(model, {})
        for key in values:
            if key in idle:
                self.note(f"{where}.{key}", idle[key])
        return {key: value for key, value in values.items() if key not in idle}

    def _renamed(self, model: type[Section], values: dict[str, Any], where: str) -> dict[str, Any]:
        """Return `values` with former keys by their present names, and their numbers converted."""
        for old, (new, convert) in RENAMED.get(model, {}).items():
            if old in values and new in values:
                raise InputError(f"{self._source}: {where} has both {old} and {new}, its present name; keep one.")
            if old in values:
                values[new] = _converted(values.pop(old), convert)
        return values

    def _mapping(self, value: object, where: str) -> StepValues:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InputError(f"{self._source}: {where} must be a mapping of keys to values, not {readable(value)}.")
        return value

    def _validate(self, model: type[_Model], values: StepValues, where: str, *known: str) -> _Model:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            known = (*NO_EFFECT.get(model, {}), *known)
            raise InputError(f"{self._source}: {sentence(error, model, where, known)}") from error


def _converted(value: object, convert: Callable[[float], float]) -> object:
    """Return a number, or each number of a list, converted; any other value as it is, for the model to refuse."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_converted(entry, convert) for entry in value]
    try:
        return convert(float(value)) if isinstance(value, (int, float, str)) else value
    except ValueError:
        return value
