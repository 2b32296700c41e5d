"""One of the two images of an alignment, as the user names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.grids import FloatTriple


@dataclass(frozen=True)
class Side:
    """The fixed or the moving image: a volume, and the part of it to align.

    `spacing` (z, y, x) in µm overrides the metadata. `mask` is a volume of any sampling, or "auto". Its voxels with
    one of the `mask_labels` count (default: all voxels above 0).
    """

    uri: str
    spacing: FloatTriple | None = None
    channel: int = 0
    timepoint: int = 0
    mask: str | None = None
    mask_labels: Sequence[int] | None = None

    @classmethod
    def of(cls, image: str | Path | Side) -> Side:
        """Return `image` itself, or the first channel and timepoint of the volume at a path or URI."""
        return image if isinstance(image, Side) else cls(str(image))
