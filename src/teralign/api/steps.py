"""The steps of an alignment in one list: those of whole volumes, then from the first `deform` on those of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from teralign.configuration import Config, load_config
from teralign.configuration.config import StepList, StepValues, merged
from teralign.errors import InputError
from teralign.registration import StepConfig

StepLike: TypeAlias = "str | tuple[str, Mapping[str, object]] | Mapping[str, Mapping[str, object]]"
"""A step: its name, its name and its parameters, or a mapping of its name to its parameters, as in YAML."""
ConfigLike: TypeAlias = "str | Path | Mapping[str, object]"
"""A configuration: the path of a YAML file, or a mapping of the same shape."""
_OF_BLOCKS = "deform"


@dataclass(frozen=True)
class ChosenSteps:
    """The steps of whole volumes, those of blocks, and the configuration that gave them."""

    whole: Sequence[StepConfig]
    blocks: Sequence[StepConfig]
    config: Config

    @classmethod
    def of(cls, steps: Sequence[StepLike] | None, config: ConfigLike | None) -> ChosenSteps:
        """Return the steps of a list, or without one those of a configuration.

        Raises InputError for an unknown step, parameter or value.
        """
        settings = load_config(config)
        if steps is None:
            return cls(settings.steps("global_align"), settings.steps("local_align"), settings)
        entries = _entries(steps)
        names = [name for name, _ in entries]
        first = names.index(_OF_BLOCKS) if _OF_BLOCKS in names else len(names)
        whole = _with(settings, "global_align", entries[:first])
        both = _with(whole, "local_align", entries[first:])
        return cls(both.steps("global_align"), both.steps("local_align"), both)

    def mapping(self) -> dict[str, object]:
        """Return a configuration with these steps and the values that were given to them, as the commands take it."""
        sections = (("global_align", self.whole), ("local_align", self.blocks))
        listed = {
            section: {"steps": [{step.name: step.model_dump(mode="json", exclude_unset=True)} for step in steps]}
            for section, steps in sections
        }
        size, overlap = list(self.config.block_size), self.config.block_overlap
        return {
            "global_align": listed["global_align"],
            "local_align": {**listed["local_align"], "block_size": size, "block_overlap": overlap},
        }


def _entries(steps: Sequence[StepLike]) -> list[tuple[str, StepValues]]:
    """Return the steps as names with their parameters. Raises InputError for what is no list of steps."""
    if isinstance(steps, str):
        listed = ", ".join(repr(name.strip()) for name in steps.split(","))
        raise InputError(f"steps must be a list of names, such as [{listed}], not the text {steps!r}.")
    if isinstance(steps, Mapping) or not isinstance(steps, Sequence):
        raise InputError(
            "steps must be a list of names, such as ['ransac', 'affine', 'deform']; a start is "
            "initial_transform=…, the voxel size spacing=(z, y, x) in µm."
        )
    return [_entry(step) for step in steps]


def _entry(step: object) -> tuple[str, StepValues]:
    match step:
        case str():
            return step, {}
        case (str() as name, Mapping() as values):
            return name, values
        case Mapping() if len(step) == 1:
            ((name, values),) = step.items()
            return str(name), values or {}
        case float() | int():
            raise InputError("a step must be a name, not a number; the voxel size is spacing=(z, y, x) in µm.")
    raise InputError(
        f"a step must be a name, or a name and its parameters, ('affine', {{'metric': 'MMI'}}), not {step!r}."
    )


def _with(settings: Config, section: str, entries: Sequence[tuple[str, StepValues]]) -> Config:
    """Return a configuration whose section has these steps, above the values that it has for them already."""
    checked = load_config({section: {"steps": [{name: dict(values)} for name, values in entries]}})
    before = settings.sections.get(section) or StepList(())
    steps = tuple(
        (name, merged(before.overrides.get(name, {}), values)) for name, values in checked.sections[section].steps
    )
    return Config(
        settings.source,
        settings.defaults,
        {**settings.sections, section: StepList(steps, before.overrides)},
        settings.block_size,
        settings.block_overlap,
    )
