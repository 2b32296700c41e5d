"""What fusing placed tiles costs and leaves at the seams, with flat field and gains, beside a bare copy.

Both read tiles and write the finest level of an OME-Zarr in the same units, in this process. The copy takes the whole
voxels of the last tile that has them.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.tables import Row
from teralign.correction import read_flatfield
from teralign.grids import Grid, Region, as_triple
from teralign.stitching.fusion import TileFusion, default_ramps, fused_grid
from teralign.tasks.balance_tiles import balance
from teralign.tasks.flatfields import estimate_flatfield
from teralign.tiles import TileReader, TileSet, read_tiles, write_tiles
from teralign.volumes import create_volume

SCENE = "scene.tif"
"""The noise-free scene, where the case was made with it."""

FUSED = "fused.tif"


def fuse_case(case: Path, placed: TileSet) -> tuple[Row, Grid]:
    """Fuse the tiles of a case, in the folder `case`, to its `fused.tif`.

    Returns Mvoxel of output a CPU-second, and how often the CPU of a bare copy that is, and the grid.
    """
    write_tiles(case / "solved.json", _in_order(placed, case / "stage.csv"))
    estimate_flatfield(case / "solved.json", case / "flat.npz", overwrite=True)
    balance(case / "solved.json", case / "balanced.json", flatfield=case / "flat.npz", overwrite=True)
    tiles = read_tiles(case / "balanced.json")
    grid, reader = fused_grid(tiles), TileReader(tiles, case)
    dtype = reader.volume(tiles.present[0], 0).dtype
    light = read_flatfield(case / "flat.npz")
    source = TileFusion(reader, grid, dtype, default_ramps(tiles), light=light)

    def fuse(core: Region) -> NDArray[np.generic] | None:
        part = source.part(core)
        made = None if part is None else part.make(0)
        return None if made is None else next(iter(made))

    def copy(core: Region) -> NDArray[np.generic]:
        return _copied(core, reader, grid, dtype)

    fuse(Region((0, 0, 0), as_triple(np.minimum(grid.shape, 32))))  # compiles
    whole = np.zeros(grid.shape, dtype)
    bare = min(_seconds(copy, grid, dtype, None) for _ in range(2))
    ours = min(_seconds(fuse, grid, dtype, whole) for _ in range(2))
    tifffile.imwrite(case / FUSED, whole)
    return {"fused_mvoxel": grid.region.size / ours / 1e6, "fused_copies": ours / bare}, grid


def _in_order(tiles: TileSet, table: Path) -> TileSet:
    """Return the tiles with their times: the rows of the stage's table, from which bleaching is told."""
    with table.open(newline="") as file:
        order = {row["file"]: number for number, row in enumerate(csv.DictReader(file))}
    timed = (replace(tile, order=order.get(tile.sources[0].uri) if tile.sources else None) for tile in tiles.tiles)
    return replace(tiles, tiles=tuple(timed))


def _seconds(
    make: Callable[[Region], NDArray[np.generic] | None],
    grid: Grid,
    dtype: np.dtype[np.generic],
    whole: NDArray[np.generic] | None,
) -> float:
    """Return the CPU seconds of making and writing all units."""
    with tempfile.TemporaryDirectory(prefix="fused-") as folder:
        writer = create_volume(Path(folder, "fused.zarr"), grid=grid, dtype=dtype, levels=1)
        start = time.process_time()
        for core in grid.region.split(writer.write_shape):
            voxels = make(core)
            if voxels is None:
                continue
            writer.write(core, voxels)
            if whole is not None:
                whole[core.slices] = voxels
        return time.process_time() - start


def _copied(core: Region, reader: TileReader, grid: Grid, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    out = np.zeros(core.shape, dtype)
    for tile in reader.tiles.present:
        first = as_triple(np.rint(np.subtract(tile.position, grid.origin) / grid.spacing).astype(int))
        own = Region(first, as_triple(np.add(first, tile.shape))).intersect(core)
        if own.size:
            inside = own.shift([-n for n in first])
            out[own.shift([-n for n in core.start]).slices] = reader.read(tile, 0, inside)
    return out
