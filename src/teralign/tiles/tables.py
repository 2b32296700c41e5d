"""Tables of tiles: text files with a tile, or a channel of one, in each row: `file,z,y,x` with positions in µm.

Further columns may be there, in any order: `layer`, `row`, `col` (the place in the grid), `channel` (rows of one tile
that differ in it are its channels), `name`, `planes` (a pattern of names in the folder `file`), `start` and `stop`
(slices of the file that are the tile), `source_channel` (the channel of the file), `order` (of acquisition) and
`state`. Files are relative to the folder of the table.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from teralign.errors import InputError, understanding
from teralign.files import refuse_device, write_atomically
from teralign.grids import FloatTriple
from teralign.tiles.model import TileSet, TileSource
from teralign.tiles.scan import Scan, ScannedTile

_NEEDED = ("file", "z", "y", "x")
_COLUMNS = (
    *("file", "z", "y", "x", "layer", "row", "col", "channel", "name", "planes", "start", "stop"),
    *("source_channel", "order", "state"),
)
_SAME_PLACE = 4  # decimals of µm: rows of one place are channels of one tile


def is_table(path: Path) -> bool:
    """Return whether a file begins with the header of a table of tiles."""
    with path.open("rb") as file:
        start = file.readline(1 << 12).decode("utf-8-sig", errors="replace")
    return set(_NEEDED) <= {word.strip() for word in start.replace(";", ",").replace("\t", ",").split(",")}


def read_table(path: Path) -> Scan:
    """Return the scan of a table. Raises InputError for a table without the columns, and names a bad row."""
    refuse_device(path)
    with understanding(path, "text"):
        text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True))
    missing = [name for name in _NEEDED if name not in {word.strip() for word in header.split(delimiter)}]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]}; a table of tiles needs file, z, y and x, in µm.")
    if not rows:
        raise InputError(f"{path} has no row; a table of tiles has one for each tile.")
    groups: dict[object, list[tuple[int, Mapping[str, str]]]] = {}
    for number, raw in enumerate(rows, start=2):
        cells = ((key, value) for key, value in raw.items() if isinstance(value, str))
        row = {key.strip(): value.strip() for key, value in cells}
        groups.setdefault(_key(path, number, row), []).append((number, row))
    channels = _channels(path, [row for found in groups.values() for _, row in found])
    tiles = [_found(path, found, channels, k) for k, found in enumerate(groups.values())]
    return Scan(f"the table {path.name}", _named_apart(tiles), channels=channels)


def _channels(path: Path, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of the channels, in the order of their numbers; none where the rows name no channel."""
    named = {row["channel"] for row in rows if row.get("channel")}
    return sorted(named, key=lambda name: (int(name), name) if name.isdecimal() else (math.inf, name))


def _key(path: Path, number: int, row: Mapping[str, str]) -> object:
    """Return what rows of one tile share: its name, its place in the grid, or its position."""
    position = _position(path, number, row)
    if row.get("name"):
        return row["name"]
    if not row.get("channel"):
        return number
    if row.get("row") and row.get("col"):
        return row.get("layer") or "0", row["row"], row["col"]
    return tuple(round(value, _SAME_PLACE) for value in position)


def _found(
    path: Path, rows: Sequence[tuple[int, Mapping[str, str]]], channels: Sequence[str], order: int
) -> ScannedTile:
    number, first = rows[0]
    absent = first.get("state") == "absent" or not first["file"]
    sources: dict[str, TileSource] = {}
    for line, row in rows if not absent else ():
        channel = row.get("channel", "")
        if channel in sources:
            raise InputError(f"line {line} of {path} names a tile and channel that line {number} has already.")
        sources[channel] = _source(path, line, row, shared=len({r["file"] for _, r in rows}) == 1 < len(rows))
    lacking = next((name for name in channels if name not in sources), None)
    if not absent and lacking is not None:
        raise InputError(f"line {number} of {path} begins a tile that lacks the channel {lacking}; add its row.")
    index = None
    if first.get("row") and first.get("col"):
        index = tuple(_whole(path, number, first, name, 0) for name in ("layer", "row", "col"))
    return ScannedTile(
        name=first.get("name") or Path(first["file"]).name.split(".")[0] or f"tile_{order}",
        position=_position(path, number, first),
        sources=tuple(sources[name] for name in channels) if channels else tuple(sources.values()),
        index=index,  # type: ignore[arg-type]  # three
        order=_whole(path, number, first, "order", order),
    )


def _source(path: Path, number: int, row: Mapping[str, str], *, shared: bool) -> TileSource:
    """Return the source of a row; with `shared` the channel's number is that in the one file of all channels."""
    file = row["file"]
    uri = file if "://" in file else str(path.parent.absolute() / file)
    channel = _whole(path, number, row, "source_channel", -1)
    if channel < 0:
        channel = _whole(path, number, row, "channel", 0) if shared else 0
    stop = _whole(path, number, row, "stop", -1)
    z_range = (_whole(path, number, row, "start", 0), stop) if stop >= 0 else None
    return TileSource(uri, channel, row.get("planes", ""), z_range)


def _position(path: Path, number: int, row: Mapping[str, str]) -> FloatTriple:
    values = []
    for axis in "zyx":
        try:
            value = float(row.get(axis, ""))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"line {number} of {path} gives {row.get(axis, '')!r} for {axis}, no position in µm.")
        values.append(value)
    z, y, x = values
    return z, y, x


def _whole(path: Path, number: int, row: Mapping[str, str], column: str, default: int) -> int:
    text = row.get(column, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"line {number} of {path} gives {text!r} for {column}, which is no whole number.") from error


def _named_apart(tiles: Sequence[ScannedTile]) -> list[ScannedTile]:
    """Return the tiles with their files' folders, or numbers, in names that would be the same."""
    names = [tile.name for tile in tiles]
    if len(set(names)) == len(names):
        return list(tiles)
    return [replace(tile, name=f"{tile.name}_{k:04d}") for k, tile in enumerate(tiles)]


def write_table(path: Path, tiles: TileSet, folder: Path) -> None:
    """Write tiles as a table that `read_table` reads with the same positions, to the last bit.

    `folder` is that of tiles.json, from which relative URIs count. Raises InputError for tiles with a matrix.
    """
    turned = next((tile.name for tile in tiles.tiles if tile.matrix is not None), None)
    if turned is not None:
        raise InputError(f"a table has no place for the matrix of the tile {turned}; export BigStitcher's XML.")
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(_COLUMNS)
    for tile in tiles.tiles:
        layer, row, column = tile.index or ("", "", "")
        for number, channel in enumerate(tiles.channels):
            source = tile.sources[number] if tile.sources else TileSource("")
            uri = source.uri
            if uri and "://" not in uri:
                place = (folder / uri).absolute()
                inside = place.is_relative_to(path.parent.absolute())
                uri = place.relative_to(path.parent.absolute()).as_posix() if inside else str(place)
            start, stop = source.z_range or ("", "")
            where = (uri, *map(repr, tile.position), layer, row, column, channel.name, tile.name)
            order = "" if tile.order is None else tile.order
            out.writerow([*where, source.planes, start, stop, source.channel, order, tile.state])
    write_atomically(path, text.getvalue().encode())
