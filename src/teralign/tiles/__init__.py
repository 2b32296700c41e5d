"""Tiles of a microscope: positions and files in `tiles.json`, voxels, and the formats of other programs."""

from teralign.tiles.documents import read_tiles, write_tiles
from teralign.tiles.model import Solution, Tile, TileChannel, TileSet, TileSource
from teralign.tiles.reader import TileReader

__all__ = [
    "Solution",
    "Tile",
    "TileChannel",
    "TileReader",
    "TileSet",
    "TileSource",
    "read_tiles",
    "write_tiles",
]
