"""Good scans of tiles, as other programs describe them and as our own documents, that the campaigns make hostile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from hostile.seed import Seed
from teralign.correction import FlatField, write_flatfield
from teralign.stitching.pairs import PairSet, TilePair, write_pairs
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, write_tiles
from teralign.tiles.bigstitcher_export import write_bigstitcher
from teralign.tiles.tables import write_table
from teralign.tiles.terastitcher import write_terastitcher

_SPACING, _SHAPE = (2.0, 0.5, 0.5), (4, 16, 16)
_COLM = """\
[North Scan Region]
Num Horizontal = "2"
Num Vertical = "1"
Stack Step (mm) = "0.0035"
[Experiment Settings]
Num in stack (Top Left Corner) = "4"
X Resolution = "16"
Num Enabled Channels = "1"
[North Scan Region Stats]
Actual Horizontal Overlap (%) = "25.0"
Actual Vertical Overlap (%) = "12.5"
[Objectives]
North = "10x"
"""


def _scan(folder: Path) -> TileSet:
    """Write two tiles, stacks of TIFF, and return them."""
    tiles = []
    for k in (0, 1):
        stack = np.random.default_rng(k).integers(100, 900, _SHAPE).astype(np.uint16)
        tifffile.imwrite(folder / f"t{k}.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
        position = (0.0, 0.0, 6.0 * k)
        tiles.append(
            Tile(f"t{k}", position, _SHAPE, sources=(TileSource(f"t{k}.tif"),), index=(0, 0, k), stage=position)
        )
    return TileSet(_SPACING, (TileChannel("0"),), tuple(tiles))


def _fiji(folder: Path, tiles: TileSet) -> None:
    lines = [f"{tile.name}.tif; ; ({tile.position[2] / 0.5}, 0.0, 0.0)" for tile in tiles.tiles]
    (folder / "scan.txt").write_text("dim = 3\n" + "\n".join(lines) + "\n")


def _colm(folder: Path) -> None:
    (folder / "Experiment.ini").write_text(_COLM)
    (folder / "Scanned Cells.txt").write_text("1,1\n")
    for place in (0, 1):
        planes = folder / "VW0" / f"LOC{place:03d}"
        planes.mkdir(parents=True)
        for z in range(_SHAPE[0]):
            tifffile.imwrite(planes / f"LOC{place:03d}_CHN00_PLN{z:04d}.tiff", np.full(_SHAPE[1:], z, np.uint16))


def _documents(folder: Path) -> None:
    tiles = _scan(folder)
    write_tiles(folder / "tiles.json", tiles)
    pair = TilePair(
        "t0", "t1", (0.0, 0.5, 0.5), (0.4, 0.1, 0.1), (1.0, 1.0, 1.0), 0.9, 0.2, 0.1, 256, (9.0, 9.0), True
    )
    write_pairs(folder / "pairs.json", PairSet(0, _SPACING, (pair,)))
    flat = FlatField(
        np.ones((1, 1, *_SHAPE[1:]), np.float32), np.zeros((1, *_SHAPE[1:]), np.float32), np.zeros(1), ("0",)
    )
    write_flatfield(folder / "flat.npz", flat)


def _imported(name: str, file: str, write: Callable[[Path, TileSet], object]) -> Seed:
    def whole(folder: Path) -> None:
        write(folder, _scan(folder))

    return Seed(name, whole, [("import-tiles", file, "o.json", "--spacing", "0.5,0.5,2", "--overwrite")], (file,))


TILE_SEEDS = (
    _imported(
        "tiles-bigstitcher", "scan.xml", lambda folder, tiles: write_bigstitcher(folder / "scan.xml", tiles, folder)
    ),
    _imported(
        "tiles-terastitcher", "scan.xml", lambda folder, tiles: write_terastitcher(folder / "scan.xml", tiles, folder)
    ),
    _imported("tiles-table", "scan.csv", lambda folder, tiles: write_table(folder / "scan.csv", tiles, folder)),
    _imported("tiles-fiji", "scan.txt", _fiji),
    Seed("tiles-colm", _colm, [("import-tiles", ".", "o.json", "--overwrite")], ("*.ini", "*.txt")),
    Seed(
        "tiles-documents",
        _documents,
        [
            ("solve-tiles", "tiles.json", "pairs.json", "o.json", "--overwrite"),
            ("fuse-tiles", "tiles.json", "o.zarr", "--flatfield", "flat.npz", "--dry-run"),
            ("export-tiles", "tiles.json", "o.csv", "--overwrite"),
        ],
        ("*.json", "*.npz"),
        (0, 2, 3, 4, 6),
    ),
)
