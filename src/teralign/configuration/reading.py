"""A configuration read from a YAML file or a mapping, and checked."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from teralign.configuration.bigstream import IDLE_SECTIONS, NO_EFFECT, OTHER_STEPS, RENAMED
from teralign.configuration.config import Config, StepList, StepValues, check_step_name, merged
from teralign.configuration.passes import (
    CONSTRAINT_KEYS,
    OVERLAP_KEYS,
    SIZE_KEYS,
    Blocks,
    BsplineConstraints,
    Pass,
    largest_blocks,
)
from teralign.configuration.sections import DEFAULT_STEPS, SECTION_MODELS, LocalSection, StepEntry
from teralign.configuration.sentences import nearest, readable, resembles, sentence
from teralign.configuration.yaml_file import YamlFile
from teralign.errors import InputError
from teralign.registration.config import STEP_MODELS, DeformConfig, Section

log = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=Section)
_KNOWN = (*STEP_MODELS, *SECTION_MODELS)


def load_config(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration: the path of a YAML file, or a mapping of the same shape.

    Without one, everything has its default. Raises InputError, one sentence with file, section and key, for an
    unknown key or a value of the wrong type.
    """
    if source is None:
        return Config()
    if isinstance(source, Mapping):
        name, file = "the configuration", YamlFile(source, frozenset())
    else:
        name, file = str(source), YamlFile.read(Path(source))
    reader = _Reader(name)
    defaults = {key: reader.step(key, value, key) for key, value in file.content.items() if key in STEP_MODELS}
    sections = {key: reader.section(key, value) for key, value in file.content.items() if key in SECTION_MODELS}
    others = [key for key in file.content if key in OTHER_STEPS]
    for key in file.content:
        if key in IDLE_SECTIONS:
            reader.note(key, IDLE_SECTIONS[key])
        elif key not in (*_KNOWN, *OTHER_STEPS):
            _check_holder(str(key), file, name)
            reader.note(str(key), "no step has this name; its values count where an anchor takes them")
    if others and not defaults and not sections:
        sections = {
            key: StepList(_default_steps(key), dropped=tuple(others)) for key in ("global_align", "local_align")
        }
    elif others:
        for key in others:
            reader.note(key, "there is no such step")
    blocks = reader.blocks(file.content.get("local_align"))
    return Config(name, defaults, _with_prealignment(sections, name), blocks.size, blocks.overlap)


def _check_holder(key: str, file: YamlFile, source: str) -> None:
    """Raise InputError for an unknown section, unless it only holds anchors: it has no steps and no misspelt name."""
    known = resembles(key, _KNOWN)
    # affine_2 or ransac-args: named after a step on purpose.
    varied = known is not None and re.match(rf"{known}[_\-\d]", key)
    value = file.content.get(key)
    lists = isinstance(value, Mapping) and "steps" in value
    if key not in file.anchored or lists or (known is not None and not varied):
        raise InputError(f"{source}: there is no section {key!r}{nearest(key, _KNOWN)}")


def _default_steps(section: str) -> tuple[tuple[str, StepValues], ...]:
    return tuple((name, {}) for name in DEFAULT_STEPS[section])


def _with_prealignment(sections: Mapping[str, StepList], source: str) -> dict[str, StepList]:
    """Return the sections with the steps of `global_prealign` before those of `global_align`, if it has any."""
    rest = {name: steps for name, steps in sections.items() if name != "global_prealign"}
    first = sections.get("global_prealign")
    if first is None:
        return rest
    main = rest.get("global_align") or StepList(_default_steps("global_align"))
    if not first.steps or not main.steps:
        why = "it lists no steps" if not first.steps else "global_align is skipped"
        log.info("%s: global_prealign has no effect: %s", source, why)
        return rest
    steps = (*first.steps, *main.steps)
    names = ", ".join(name for name, _ in steps)
    log.info("%s: the steps of global_prealign run first in global_align: %s", source, names)
    return {**rest, "global_align": StepList(steps, main.overrides, (*first.dropped, *main.dropped))}


class _Reader:
    """Checks the sections of one configuration, and logs each key without effect once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._noted: set[tuple[str, str]] = set()

    def section(self, name: str, value: object) -> StepList:
        """Return the steps and overrides of an align section."""
        values = self._mapping(value, name)
        overrides = {
            key: self.step(key, content, f"{name}.{key}") for key, content in values.items() if key in STEP_MODELS
        }
        own = self._own(name, values)
        if own.get("steps", ()) in (None, ""):
            default = ", ".join(DEFAULT_STEPS[name])
            if default:
                log.warning("%s: %s.steps lists none: skipped; without the key: %s", self._source, name, default)
            own["steps"] = []
        self._check_entries(own.get("steps"), f"{name}.steps")
        listed, where = self._validate(SECTION_MODELS[name], own, name, *STEP_MODELS).steps, f"{name}.steps"
        passes = self._passes(values) if name == "local_align" else []
        if passes:
            if listed:
                self.note(where, f"{_PASSES} replaces it")
            listed, where = tuple(entry for one in passes for entry in one.alignment_steps or ()), "alignment_steps"
        unlisted = [key for key in values if key in OTHER_STEPS]
        if listed is None:
            return StepList(self._layered(DEFAULT_STEPS[name], overrides, where), overrides, tuple(unlisted))
        for key in unlisted:
            self.note(f"{name}.{key}", "there is no such step")
        dropped = tuple(dict.fromkeys(_name(entry) for entry in listed if _name(entry) in OTHER_STEPS))
        steps = StepList(self._layered(_replaced(listed), overrides, where), overrides, dropped)
        if len(passes) > 1:
            self._note_passes(steps, len(passes), self.blocks(value))
        return steps

    def blocks(self, value: object) -> Blocks:
        """Return the blocks of a local_align section, or those of its largest pass."""
        values = self._mapping(value, "local_align")
        shared = self._pass({key: values[key] for key in _SHARED if key in values}, "local_align")
        own = {key: values[key] for key in ("block_size", "block_overlap") if key in values}
        for key, others in (("block_size", SIZE_KEYS), ("block_overlap", OVERLAP_KEYS)):
            both = [other for other in others if key in own and values.get(other) is not None]
            if both:
                raise InputError(
                    f"{self._source}: local_align has both {key} and {both[0]}, bigstream's name; keep one."
                )
        usual = self._validate(LocalSection, own, "local_align")
        found = largest_blocks(self._passes(values), shared, Blocks(usual.block_size, usual.block_overlap))
        checked = {"block_size": found.size, "block_overlap": found.overlap}
        self._validate(LocalSection, checked, "local_align")
        return found

    def step(self, name: str, value: object, where: str) -> StepValues:
        """Return the given values of one step, checked, without the keys that have no effect."""
        model = STEP_MODELS[name]
        values = self._renamed(model, self._effective(model, self._mapping(value, where), where), where)
        if model is DeformConfig:
            values = self._constrained(values, where)
        for key, info in model.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, Section) and key in values:
                values[key] = self._effective(inner, self._mapping(values[key], f"{where}.{key}"), f"{where}.{key}")
        self._validate(model, values, where)
        return values

    def _own(self, name: str, values: StepValues) -> dict[str, Any]:
        """Return the keys of a section beside those of steps, of blocks of passes, and of no effect."""
        others = (*STEP_MODELS, *OTHER_STEPS, *((*_SHARED, _PASSES) if name == "local_align" else ()))
        own = {key: value for key, value in values.items() if key not in others}
        return self._effective(SECTION_MODELS[name], own, name)

    def _layered(
        self, listed: Sequence[StepEntry], overrides: Mapping[str, StepValues], where: str
    ) -> tuple[tuple[str, StepValues], ...]:
        """Return the entries of a list by name, each with the section's values under its own."""
        entries = [self._listed(entry, where) for entry in listed]
        return tuple((name, merged(overrides.get(name, {}), own)) for name, own in entries)

    def _passes(self, values: StepValues) -> list[Pass]:
        """Return the passes of a local_align section; none where there are no such."""
        given = values.get(_PASSES) or ()
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise InputError(
                f"{self._source}: local_align.{_PASSES} must be a list of passes, not {readable(given)}; without it, "
                "steps lists what runs."
            )
        return [
            self._pass(self._mapping(one, f"local_align.{_PASSES}[{i}]"), f"local_align.{_PASSES}[{i}]")
            for i, one in enumerate(given)
        ]

    def _pass(self, values: StepValues, where: str) -> Pass:
        self._check_entries(values.get("alignment_steps"), f"{where}.alignment_steps")
        return self._validate(Pass, self._effective(Pass, values, where), where)

    def _note_passes(self, steps: StepList, passes: int, blocks: Blocks) -> None:
        log.warning(
            "%s: the %d passes of local_align run as one list of steps, each from the result of those before: %s; "
            "blocks of %s voxels (z, y, x) that overlap by %g",
            self._source,
            passes,
            ", ".join(name for name, _ in steps.steps),
            "×".join(map(str, blocks.size)),
            blocks.overlap,
        )

    def _constrained(self, values: dict[str, Any], where: str) -> dict[str, Any]:
        """Return the values of `deform` with bigstream's limit on the slope of displacements as `min_jacobian`."""
        for key in CONSTRAINT_KEYS:
            if key not in values:
                continue
            given = self._mapping(values.pop(key), f"{where}.{key}")
            checked = self._effective(BsplineConstraints, given, f"{where}.{key}")
            slope = self._validate(BsplineConstraints, checked, f"{where}.{key}").slope
            if slope is None:
                self.note(f"{where}.{key}", "it has no value; min_jacobian keeps fields from folding")
                continue
            if slope >= 1:
                raise InputError(
                    f"{self._source}: {where}.{key}.k must be less than 1 in sum over the axes, not {slope:g}; write "
                    "min_jacobian, 1 minus this sum, instead."
                )
            if "min_jacobian" in values:
                raise InputError(f"{self._source}: {where} has both {key} and min_jacobian; keep min_jacobian.")
            values["min_jacobian"] = round(1 - slope, 6)
            log.info("%s: %s.%s stands for min_jacobian %g", self._source, where, key, values["min_jacobian"])
        return values

    def note(self, key: str, why: str) -> None:
        """Log, once a configuration, that a key has no effect."""
        short = key.removeprefix("global_align.").removeprefix("local_align.")
        if (short, why) not in self._noted:
            self._noted.add((short, why))
            log.info("%s: %s has no effect: %s", self._source, key, why)

    def _check_entries(self, listed: object, where: str) -> None:
        """Raise InputError for an entry of a list of steps that is neither a name nor one name with values."""
        for entry in listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ():
            if not isinstance(entry, str) and not (isinstance(entry, Mapping) and len(entry) == 1):
                raise InputError(
                    f"{self._source}: an entry of {where} must be the name of a step, or one name with its values "
                    f"(`- affine: {{metric: MMI}}`), not {readable(entry)}."
                )

    def _listed(self, entry: StepEntry, where: str) -> tuple[str, StepValues]:
        if isinstance(entry, str):
            check_step_name(entry, f"{self._source}: {where}")
            return entry, {}
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


_PASSES = "alignment_passes"
_SHARED = tuple(key for key in (*Pass.model_fields, *NO_EFFECT[Pass]) if key not in {"alignment_steps", "name"})


def _name(entry: StepEntry) -> str:
    return entry if isinstance(entry, str) else next(iter(entry), "")


def _replaced(listed: Sequence[StepEntry]) -> list[StepEntry]:
    """Return a list of steps with those that Teralign lacks replaced by its own, unless the list has these."""
    names = {_name(entry) for entry in listed}
    result: list[StepEntry] = []
    for entry in listed:
        instead = OTHER_STEPS.get(_name(entry))
        if instead is None:
            result.append(entry)
        elif instead not in names:
            result.append(instead)
            names.add(instead)
    return result


def _converted(value: object, convert: Callable[[float], float]) -> object:
    """Return a number, or each number of a list, converted; any other value as it is, for the model to refuse."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_converted(entry, convert) for entry in value]
    try:
        return convert(float(value)) if isinstance(value, (int, float, str)) else value
    except ValueError:
        return value
