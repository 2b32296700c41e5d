"""The sections `global_align` and `local_align` of a configuration, beside the steps' own values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from teralign.registration.config import Count, Number, Section

SectionName: TypeAlias = Literal["global_align", "local_align"]


class AlignSection(Section):
    """The keys that both sections share: `steps` lists names, or one name with values of its own."""

    steps: tuple[str | dict[str, dict[str, Any] | None], ...] | None = None


class GlobalSection(AlignSection):
    """The keys of `global_align`."""


class LocalSection(AlignSection):
    """The keys of `local_align`; `block_size` is (z, y, x) voxels, `block_overlap` a share of it."""

    block_size: tuple[Count, Count, Count] = (128, 128, 128)
    block_overlap: Annotated[Number, Field(ge=0, le=0.5)] = 0.1


SECTION_MODELS: Mapping[str, type[AlignSection]] = {"global_align": GlobalSection, "local_align": LocalSection}
"""The sections by name."""

DEFAULT_STEPS: Mapping[str, tuple[str, ...]] = {"global_align": ("ransac", "affine"), "local_align": ("deform",)}
"""The steps of a section that lists none."""
