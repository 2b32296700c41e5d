"""Bright columns that lie 8 voxels further along y and 6 along x in the moving volume, the map, and points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from teralign.grids import Grid
from teralign.transforms import Affine
from teralign.volumes import create_volume

SHAPE = (40, 60, 60)
GRID = Grid(SHAPE, (1.0, 0.5, 0.5), (0.0, 100.0, 200.0))


def discs(shift: tuple[int, int]) -> np.ndarray:
    """Columns on a dark background (z, y, x), moved by voxels along y and x."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    plane = sum(
        np.hypot(y - cy - shift[0], x - cx - shift[1]) < 5 for cy, cx in ((15, 15), (15, 40), (40, 20), (42, 42))
    )
    return np.broadcast_to(plane * 900 + 100, SHAPE).astype(np.uint16)


def write_columns(folder: Path) -> Path:
    """The files in a folder."""
    for name, shift in (("fixed", (0, 0)), ("moving", (8, 6))):
        writer = create_volume(folder / f"{name}.zarr", grid=GRID, dtype=np.uint16, levels=2)
        writer.write(GRID.region, np.ascontiguousarray(discs(shift)))
        writer.build_level_region(1, writer.levels[1].region)
    Affine.from_parts(np.eye(3), (0, 4, 3)).save(folder / "affine.mat")
    for name, (x, y) in (("points", (207.5, 107.5)), ("moved", (210.5, 111.5))):  # in the first column
        rows = "".join(f"{x},{y},{z}\n" for z in np.arange(17, 23, 0.5))
        (folder / f"{name}.csv").write_text("x,y,z\n" + rows)
    return folder
