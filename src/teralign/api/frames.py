"""Images without their voxels."""

from __future__ import annotations

from dataclasses import dataclass

from teralign.grids import Grid
from teralign.volumes import Direction


@dataclass(frozen=True)
class Frame:
    """The place of an image: grid, direction of the axes (None: straight), and URI (None: it is in memory)."""

    grid: Grid
    direction: Direction | None = None
    uri: str | None = None
