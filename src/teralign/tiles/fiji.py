"""TileConfiguration.txt of Fiji's stitching: `file; ; (x, y)` or `(x, y, z)` in pixels, one tile a line."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from teralign.errors import InputError
from teralign.grids import FloatTriple
from teralign.tiles.model import TileSource
from teralign.tiles.scan import Scan, ScannedTile

_LINE = re.compile(r"([^;]+);([^;]*);\s*\(([^)]*)\)\s*")
_DIMENSIONS = re.compile(r"dim\s*=\s*([23])\s*")
_START = 1 << 12


def is_fiji(path: Path) -> bool:
    """Return whether a file begins as a configuration of tiles: `dim = 2` before the first tile."""
    with path.open("rb") as file:
        start = file.read(_START).decode("utf-8-sig", errors="replace")
    lines = (line for line in start.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return any(_DIMENSIONS.fullmatch(line.strip()) for _, line in zip(range(2), lines, strict=False))


def read_fiji(path: Path) -> Scan:
    """Return the scan of a configuration of tiles. Raises InputError, with its line, for one that cannot be read."""
    tiles: list[ScannedTile] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", "multiseries")) or _DIMENSIONS.fullmatch(line):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[2].strip():
            raise InputError(f"line {number} of {path} is no tile of one image: write file; ; (x, y) or (x, y, z).")
        file = match[1].strip()
        position = _position(path, number, match[3])
        source = TileSource(str(path.parent.absolute() / file))
        tiles.append(ScannedTile(Path(file).stem, position, (source,)))
    if not tiles:
        raise InputError(f"{path} has no tile; write file; ; (x, y) for each.")
    return Scan(f"Fiji's {path.name}", tiles, unit="voxels")


def in_stack(scan: Scan, stack: Path) -> Scan:
    """Return a scan whose tiles are slices of one stack, in the order of the numbers in the names of their files."""
    numbers = [[int(digits) for digits in re.findall(r"\d+", tile.name)] for tile in scan.tiles]
    order = {k: rank for rank, k in enumerate(sorted(range(len(numbers)), key=numbers.__getitem__))}
    uri = str(stack.absolute())
    tiles = [
        replace(tile, sources=(TileSource(uri, z_range=(order[k], order[k] + 1)),), order=order[k])
        for k, tile in enumerate(scan.tiles)
    ]
    return replace(scan, tiles=tiles)


def _position(path: Path, number: int, text: str) -> FloatTriple:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or not all(map(math.isfinite, values)):
        raise InputError(f"line {number} of {path} gives ({text}), which is no position x, y or x, y, z in pixels.")
    x, y, z = (*values, 0.0)[:3]
    return z, y, x
