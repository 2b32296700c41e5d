"""The sections of a configuration that list steps, beside the steps' own values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from teralign.registration.config import Count, Number, Section

SectionName: TypeAlias = Literal["global_align", "local_align"]
StepEntry: TypeAlias = str | dict[str, Any]
"""The name of a step, or one name with values of its own."""
Overlap: TypeAlias = Annotated[Number, Field(ge=0, le=0.5)]


class AlignSection(Section):
    """The key that all sections share."""

    steps: tuple[StepEntry, ...] | None = None


class GlobalSection(AlignSection):
    """The keys of `global_align`."""


class PrealignSection(AlignSection):
    """The keys of `global_prealign`, a section of bigstream: its steps run first in `global_align`."""


class LocalSection(AlignSection):
    """The keys of `local_align`; `block_size` is (z, y, x) voxels, `block_overlap` a share of it."""

    block_size: tuple[Count, Count, Count] = (128, 128, 128)
    block_overlap: Overlap = 0.1


SECTION_MODELS: Mapping[str, type[AlignSection]] = {
    "global_align": GlobalSection,
    "local_align": LocalSection,
    "global_prealign": PrealignSection,
}
"""The sections by name."""

DEFAULT_STEPS: Mapping[str, tuple[str, ...]] = {
    "global_align": ("ransac", "affine"),
    "local_align": ("deform",),
    "global_prealign": (),
}
"""The steps of a section that lists none."""
