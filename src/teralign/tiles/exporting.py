"""Export tiles: write them in a format of another program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from teralign.errors import InputError
from teralign.tiles.bigstitcher_export import write_bigstitcher
from teralign.tiles.model import TileSet
from teralign.tiles.tables import write_table
from teralign.tiles.terastitcher import write_terastitcher

WRITERS: Mapping[str, Callable[[Path, TileSet, Path], None]] = {
    "csv": write_table,
    "terastitcher": write_terastitcher,
    "bigstitcher": write_bigstitcher,
}
"""The writers by the names of their formats; each takes the output, the tiles and the folder of tiles.json."""


def export_scan(tiles: TileSet, folder: Path, output: Path, form: str | None = None) -> str:
    """Write tiles, whose relative URIs count from `folder`, to `output`, and return the format.

    Raises InputError where neither `form` nor the ending of the name is that of a format.
    """
    chosen = form or _by_name(output)
    if (chosen == "csv" and output.suffix.lower() != ".csv") or (chosen != "csv" and output.suffix.lower() != ".xml"):
        raise InputError(f"{output} is no name for {chosen}; end it in {'.csv' if chosen == 'csv' else '.xml'}.")
    WRITERS[chosen](output, tiles, folder)
    return chosen


def _by_name(output: Path) -> str:
    if output.suffix.lower() == ".csv":
        return "csv"
    raise InputError(f"{output} does not say in which format to write; end it in .csv, or give --format.")
