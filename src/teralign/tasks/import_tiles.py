"""`import-tiles` and `export-tiles`: the tiles of a scan from, and to, the formats of other programs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teralign.errors import InputError
from teralign.grids import FloatTriple, Triple
from teralign.progress import counted
from teralign.tiles import read_tiles, write_tiles
from teralign.tiles.exporting import export_scan
from teralign.tiles.importing import import_scan
from teralign.tiles.layouts import Layout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedTiles:
    """The file written, what it was imported from, and its tiles by their states.

    `spacing` (z, y, x) is in µm, `shape` (z, y, x) that of the first tile, `pairs` the number of overlapping pairs.
    """

    output: str
    origin_of: str
    tiles: int
    states: Mapping[str, int]
    channels: tuple[str, ...]
    spacing: FloatTriple
    shape: Triple
    pairs: int


@dataclass(frozen=True)
class ExportedTiles:
    """The file written, its format, and the number of tiles in it."""

    output: str
    form: str
    tiles: int


def import_tiles(
    source: str | Path,
    output: str | Path,
    *,
    stack: str | Path | None = None,
    spacing: FloatTriple | None = None,
    mirror: str = "",
    swap_xy: bool = False,
    skip_unreadable: bool = False,
    overwrite: bool = False,
) -> ImportedTiles:
    """Write `tiles.json` of a file or folder that another program wrote.

    With `stack` the tiles are the slices of this volume, in the order of the numbers in their names. `spacing`
    (z, y, x) in µm goes before what the files say. The positions, not the images, are exchanged along x and y with
    `swap_xy`, and then mirrored along the axes in `mirror`, such as "x" or "xy". Raises InputError for a source that
    is no scan, a tile that cannot be read, unless `skip_unreadable`, and an output that exists.
    """
    path = Path(output)
    _refuse(path, overwrite)
    tiles = import_scan(
        Path(source),
        path.parent,
        stack=None if stack is None else Path(stack),
        spacing=spacing,
        layout=Layout(mirror, swap_xy),
        skip_unreadable=skip_unreadable,
    )
    write_tiles(path, tiles)
    states = Counter(tile.state for tile in tiles.tiles)
    log.info("%s has %s", path, counted(len(tiles.tiles), "tile"))
    return ImportedTiles(
        output=str(output),
        origin_of=tiles.origin_of,
        tiles=len(tiles.tiles),
        states=dict(sorted(states.items())),
        channels=tuple(channel.name for channel in tiles.channels),
        spacing=tiles.spacing,
        shape=tiles.tiles[0].shape,
        pairs=len(tiles.overlapping()),
    )


def export_tiles(
    tiles: str | Path, output: str | Path, *, form: str | None = None, overwrite: bool = False
) -> ExportedTiles:
    """Write the tiles of a `tiles.json` in a format of another program, by default that of the output's ending.

    Raises InputError for a format that cannot hold them, and an output that exists.
    """
    path = Path(output)
    _refuse(path, overwrite)
    found = read_tiles(tiles)
    form = export_scan(found, Path(tiles).parent, path, form)
    return ExportedTiles(str(output), form, len(found.tiles))


def _refuse(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or add --overwrite.")
