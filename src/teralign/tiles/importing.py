"""Import tiles: find out what a file or folder is, by its content, and read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from teralign.errors import InputError, understanding
from teralign.grids import FloatTriple, as_float_triple
from teralign.tiles.bigstitcher import is_bigstitcher, read_bigstitcher
from teralign.tiles.colm import EXPERIMENT, read_colm
from teralign.tiles.fiji import in_stack, is_fiji, read_fiji
from teralign.tiles.layouts import AS_IS, Layout
from teralign.tiles.model import TileSet
from teralign.tiles.ome_zarr_tiles import images_of, read_zarr_tiles
from teralign.tiles.scan import Scan, ScannedTile, build_tiles
from teralign.tiles.tables import is_table, read_table
from teralign.tiles.terastitcher import read_terastitcher

SCAN_FORMATS: Mapping[str, Callable[[Path], Scan]] = {
    "csv": read_table,
    "colm": read_colm,
    "terastitcher": read_terastitcher,
    "bigstitcher": read_bigstitcher,
    "fiji": read_fiji,
    "ome-zarr": read_zarr_tiles,
}
"""The readers of scans by the names of their formats."""

_READ = (
    "a table of positions (file,z,y,x in µm), a COLM experiment, an XML of TeraStitcher or BigStitcher, Fiji's "
    "TileConfiguration.txt, or a folder with OME-Zarr images that have translations"
)


def import_scan(
    source: Path,
    folder: Path,
    *,
    stack: Path | None = None,
    spacing: FloatTriple | None = None,
    layout: Layout = AS_IS,
    skip_unreadable: bool = False,
) -> TileSet:
    """Return the tiles of a file or folder of another program, with URIs relative to `folder`, that of tiles.json.

    With `stack` the tiles are its slices, in the order of the numbers in the names that the source gives them. The
    positions are laid out as `layout` says. Raises InputError for a source that is no scan, and as `build_tiles`.
    """
    form, place = recognise(source)
    scan = SCAN_FORMATS[form](place)
    if stack is not None:
        scan = in_stack(scan, stack)
    if layout != AS_IS:
        scan = replace(scan, tiles=_laid_out(scan.tiles, layout))
    return build_tiles(scan, folder.absolute(), spacing=spacing, skip_unreadable=skip_unreadable)


def _laid_out(tiles: Sequence[ScannedTile], layout: Layout) -> list[ScannedTile]:
    positions = layout.place(np.array([tile.position for tile in tiles]))
    numbers = layout.number([tile.index for tile in tiles])
    return [
        replace(tile, position=as_float_triple(position), index=number)
        for tile, position, number in zip(tiles, positions, numbers, strict=True)
    ]


def recognise(source: Path) -> tuple[str, Path]:
    """Return the format of a scan, a key of `SCAN_FORMATS`, and the file or folder to read.

    Raises InputError where there is none.
    """
    if not source.exists():
        raise InputError(f"there is no {source}; check the path.")
    form = _of_folder(source) if source.is_dir() else _of_file(source)
    if form is None:
        raise InputError(f"{source} is no scan that can be imported; that is {_READ}.")
    return form


def _of_folder(folder: Path) -> tuple[str, Path] | None:
    if (folder / EXPERIMENT).is_file():
        return "colm", folder
    tables = [path for path in sorted(folder.glob("*.csv")) if is_table(path)]
    if len(tables) > 1:
        names = " and ".join(path.name for path in tables[:2])
        raise InputError(f"{folder} holds the tables {names}; name the one to import.")
    if tables:
        return "csv", tables[0]
    return ("ome-zarr", folder) if len(images_of(folder)) > 1 else None


def _of_file(file: Path) -> tuple[str, Path] | None:
    suffix = file.suffix.lower()
    if suffix == ".xml":
        with understanding(file, "XML"):
            try:
                root = ElementTree.fromstring(file.read_bytes())
            except ElementTree.ParseError as error:
                raise ValueError(str(error)) from error
        if root.tag == "TeraStitcher":
            return "terastitcher", file
        return ("bigstitcher", file) if is_bigstitcher(root) else None
    if suffix in (".csv", ".tsv", ".txt"):
        return ("fiji" if is_fiji(file) else "csv"), file
    return None
