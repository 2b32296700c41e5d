"""Images without their voxels."""

from __future__ import annotations

from dataclasses import dataclass

from teralign.alignment import Side
from teralign.grids import Grid
from teralign.volumes import Direction


@dataclass(frozen=True)
class Frame:
    """The place of an image: its grid, the direction of its axes (None: straight), and its volume (None: in memory).

    Examples:
        >>> ta.align(fixed, moving, spacing=(2.0, 1.0, 1.0), steps=[]).fixed.grid.shape
        (32, 48, 48)
    """

    grid: Grid
    direction: Direction | None = None
    side: Side | None = None

    @property
    def uri(self) -> str | None:
        """The URI of the volume, None for an image in memory."""
        return None if self.side is None else self.side.uri
