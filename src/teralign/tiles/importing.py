"""Import tiles: find out what a file or folder is, by its content, and read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.tiles.model import TileSet
from teralign.tiles.scan import Scan, build_tiles
from teralign.tiles.tables import is_table, read_table

SCAN_FORMATS: Mapping[str, Callable[[Path], Scan]] = {"csv": read_table}
"""The readers of scans by the names of their formats."""

_READ = "a table of positions (file,z,y,x in µm), alone or in its folder"


def import_scan(
    source: Path,
    folder: Path,
    *,
    spacing: FloatTriple | None = None,
    skip_unreadable: bool = False,
) -> TileSet:
    """Return the tiles of a file or folder of another program, with URIs relative to `folder`, that of tiles.json.

    Raises InputError for a source that is no scan, and as `build_tiles`.
    """
    form, place = recognise(source)
    return build_tiles(SCAN_FORMATS[form](place), folder.absolute(), spacing=spacing, skip_unreadable=skip_unreadable)


def recognise(source: Path) -> tuple[str, Path]:
    """Return the format of a scan, a key of `SCAN_FORMATS`, and the file or folder to read.

    Raises InputError where there is none.
    """
    if not source.exists():
        raise InputError(f"there is no {source}; check the path.")
    if source.is_dir():
        tables = [path for path in sorted(source.glob("*.csv")) if is_table(path)]
        if len(tables) > 1:
            names = " and ".join(path.name for path in tables[:2])
            raise InputError(f"{source} holds the tables {names}; name the one to import.")
        if tables:
            return "csv", tables[0]
    elif source.suffix.lower() in (".csv", ".tsv", ".txt"):
        return "csv", source
    raise InputError(f"{source} is no scan that can be imported; that is {_READ}.")
