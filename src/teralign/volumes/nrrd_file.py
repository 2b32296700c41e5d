"""NRRD to write: one image of one channel, raw, with its place in µm.

http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from teralign.errors import InputError
from teralign.grids import reverse_axes
from teralign.volumes.description import PyramidLayout
from teralign.volumes.one_file import FlatVoxels

_TYPES = {f"{kind}{bits}": f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)}
_TYPES |= {"float32": "float", "float64": "double"}


def check_layout(uri: str | Path, layout: PyramidLayout) -> None:
    """Raise InputError for a layout that the format cannot hold."""
    if layout.dtype.name not in _TYPES:
        raise InputError(f"NRRD cannot hold {layout.dtype.name} values; write to a .zarr.")
    for what, count in (("channels", layout.channels), ("timepoints", layout.timepoints)):
        if count > 1:
            raise InputError(f"NRRD has no place for {count} {what}; take one of them, or write to a .zarr.")


def begin(file: IO[bytes], layout: PyramidLayout, name: str) -> FlatVoxels:
    """Write the header."""
    grid = layout.levels[0]
    axes, origin = np.diag(grid.spacing), np.array(grid.origin)
    if layout.directions.matrix is not None:
        direction = np.array(layout.directions.matrix)
        axes, origin = direction @ axes, direction @ origin
    directions = [_vector(step[::-1].tolist()) for step in axes.T[::-1]]
    lines = [
        "NRRD0004",
        f"type: {_TYPES[layout.dtype.name]}",
        "dimension: 3",
        "space dimension: 3",
        f"sizes: {' '.join(str(n) for n in reverse_axes(grid.shape))}",
        f"space directions: {' '.join(directions)}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        'space units: "um" "um" "um"',
        f"space origin: {_vector(origin[::-1].tolist())}",
    ]
    offset = file.write("\n".join([*lines, "", ""]).encode("ascii"))
    return FlatVoxels(offset, "zyx", grid.shape)


def _vector(values: Sequence[float]) -> str:
    return f"({','.join(repr(float(value)) if value else '0' for value in values)})"
