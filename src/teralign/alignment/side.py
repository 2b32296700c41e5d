"""One of the two images of an alignment, as the user names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teralign.addresses import absolute_uri
from teralign.grids import Box, FloatTriple
from teralign.volumes import Volume, open_volume


@dataclass(frozen=True)
class Side:
    """The fixed or the moving image: a volume, and the part of it to align.

    `spacing` (z, y, x) in µm overrides the metadata. `mask` is a volume of any sampling, or "auto". Its voxels with
    one of the `mask_labels` count (default: all voxels above 0). `roi`, the region of interest, is the low and the
    high corner (z, y, x) in µm of a box outside which nothing counts. `expansion` is the factor by which the sample
    was expanded: spacing, origin, mask and box are in µm of the expanded sample, and are divided by it.
    """

    uri: str
    spacing: FloatTriple | None = None
    channel: int = 0
    timepoint: int = 0
    mask: str | None = None
    mask_labels: Sequence[int] | None = None
    roi: Box | None = None
    expansion: float = 1.0

    @classmethod
    def of(cls, image: str | Path | Side) -> Side:
        """Return `image` itself, or the first channel and timepoint of the volume at a path or URI."""
        return image if isinstance(image, Side) else cls(str(image))

    def open(self, role: str) -> Volume:
        """Open the volume of the side that has this `role` in messages, "fixed" or "moving".

        A path is made absolute, since workers may run in other directories. Raises InputError when it cannot be
        opened.
        """
        uri, option = absolute_uri(self.uri), f"--{role}-spacing"
        return open_volume(uri, spacing=self.spacing, expansion=self.expansion, option=option)
