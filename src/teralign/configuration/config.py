"""A checked configuration, which merges the values of a step: list entry over section over top level over default."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from teralign.configuration.arguments import check_arguments, note_idle
from teralign.configuration.sections import DEFAULT_STEPS, SectionName
from teralign.configuration.sentences import nearest
from teralign.errors import InputError
from teralign.grids import Triple
from teralign.registration.config import STEP_MODELS, MetricConfig, StepConfig

log = logging.getLogger(__name__)

StepValues: TypeAlias = Mapping[str, Any]
"""The keys and values of a section, as YAML gives them."""


@dataclass(frozen=True)
class StepList:
    """The steps of a section, each with its values above the top level, and the section's values by step.

    `dropped` are the steps of bigstream that the section asks for and Teralign lacks.
    """

    steps: tuple[tuple[str, StepValues], ...]
    overrides: Mapping[str, StepValues] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """A checked configuration; make one with `load_config`.

    `block_size` is (z, y, x) voxels, `block_overlap` a share of it.
    """

    source: str = "the built-in defaults"
    defaults: Mapping[str, StepValues] = field(default_factory=dict)
    sections: Mapping[str, StepList] = field(default_factory=dict)
    block_size: Triple = (128, 128, 128)
    block_overlap: float = 0.1

    def steps(self, section: SectionName, names: Sequence[str] | None = None) -> list[StepConfig]:
        """Return the steps of a section with their parameters, in order.

        `names` (from --steps) replaces the section's own list; then every step takes the section's values. An empty
        list means that the alignment is skipped. Raises InputError for an unknown step.
        """
        chosen = self.sections.get(section) or StepList(tuple((name, {}) for name in DEFAULT_STEPS[section]))
        if names is not None:
            listed = [(name.strip(), chosen.overrides.get(name.strip(), {})) for name in names]
        else:
            listed = list(chosen.steps)
        where = "--steps" if names is not None else f"{self.source}: {section}.steps"
        steps = [self._step(name, values, where) for name, values in listed]
        if dropped := self.dropped_steps(section, names):
            runs = f"runs {', '.join(step.name for step in steps)}" if steps else "is skipped"
            log.warning("%s: Teralign has no step %s: %s %s", self.source, " or ".join(dropped), section, runs)
        return steps

    def dropped_steps(self, section: SectionName, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the steps of bigstream that a section asks for and Teralign lacks; none where `names` are given."""
        chosen = self.sections.get(section)
        return () if chosen is None or names is not None else chosen.dropped

    def _step(self, name: str, own: StepValues, where: str) -> StepConfig:
        check_step_name(name, where)
        step = STEP_MODELS[name].model_validate(merged(self.defaults.get(name, {}), own))
        if isinstance(step, MetricConfig):
            check_arguments(step, self.source)
            note_idle(step, self.source)
        return step


def check_step_name(name: str, where: str) -> None:
    """Raise InputError, with the nearest name, if no step has this name; `where` is the list that holds it."""
    if name not in STEP_MODELS:
        raise InputError(f"{where}: there is no step {name!r}{nearest(name, STEP_MODELS)}")


def merged(base: StepValues, over: StepValues) -> StepValues:
    """Return `base` with the values of `over`; mappings in both are merged in turn."""
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
