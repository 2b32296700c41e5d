"""Volumes made of arrays that are in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.filling.destinations import NewVolume
from teralign.volumes import PyramidLayout


def write_array(uri: str, layout: PyramidLayout, array: NDArray[np.generic], *, overwrite: bool = False) -> None:
    """Write an array (z, y, x) as a volume with its pyramid, whole or not at all, in this process.

    Raises InputError when it exists, unless `overwrite` is set, and DataError when the disk refuses.
    """
    destination = NewVolume(uri, overwrite)
    with destination.workspace(None) as workspace:
        workspace.prepare({"task": "write-array"}, overwrite=True)
        writer = destination.create(layout, workspace)
        stored = []
        for level, grid in enumerate(writer.levels):
            for region in grid.region.split(writer.write_shape):
                if level == 0:
                    stored += writer.write(region, array[region.slices])
                else:
                    stored += writer.build_level_region(level, region)
        destination.publish(writer, stored, workspace)
