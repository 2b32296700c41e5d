"""XML projects of TeraStitcher, as imported and as placed: ABS_V, ABS_H and ABS_D are y, x and z in whole voxels.

What is written has the position in µm besides, in the attribute POSITION (z y x), since TeraStitcher knows whole
voxels only. It is used where it agrees with ABS_V, ABS_H and ABS_D, so that what TeraStitcher changed counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from teralign.errors import InputError, understanding
from teralign.files import write_atomically
from teralign.grids import FloatTriple, as_float_triple
from teralign.tiles.model import Tile, TileSet, TileSource
from teralign.tiles.name_patterns import pattern_for
from teralign.tiles.scan import Scan, ScannedTile

_RANGE = re.compile(r"\[\s*(\d+)\s*,\s*(\d+)\s*\)")
_PLANES, _STACKS = "TiledXY|2Dseries", "TiledXY|3Dseries"
_OTHER = "export BigStitcher's XML"


def read_terastitcher(path: Path) -> Scan:
    """Return the scan of a project. Raises InputError for one that cannot be understood."""
    with understanding(path, "XML"):
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error
        sizes = {axis: float(value) for axis, value in root.find("voxel_dims").attrib.items()}  # type: ignore[union-attr]
        spacing = as_float_triple(abs(sizes[axis]) for axis in "DVH")
        folder = _folder(path, root)
        planes = root.get("volume_format", _PLANES) == _PLANES
        slices = int(root.find("dimensions").get("stack_slices", 0))  # type: ignore[union-attr]
        found = [_tile(stack.attrib, folder, spacing, planes, slices) for stack in root.iterfind("STACKS/Stack")]
    if not found:
        raise InputError(f"{path} lists no stack; import its tiles with TeraStitcher again.")
    return Scan(f"TeraStitcher's {path.name}", found, spacing)


def _folder(path: Path, root: ElementTree.Element) -> Path:
    """Return the folder of the stacks, that of the project if the one that it names is not there."""
    named = Path(root.find("stacks_dir").get("value", "."))  # type: ignore[union-attr]
    folder = path.parent / named
    return (folder if folder.is_dir() else path.parent).absolute()


def _tile(stack: Mapping[str, str], folder: Path, spacing: FloatTriple, planes: bool, slices: int) -> ScannedTile:
    row, column = int(stack["ROW"]), int(stack["COL"])
    name = f"R{row:03d}_C{column:03d}"
    whole = tuple(int(stack[key]) for key in ("ABS_D", "ABS_V", "ABS_H"))
    position = as_float_triple(n * s for n, s in zip(whole, spacing, strict=True))
    exact = tuple(float(word) for word in stack.get("POSITION", "").split())
    if len(exact) == 3 and tuple(round(p / s) for p, s in zip(exact, spacing, strict=True)) == whole:
        position = as_float_triple(exact)
    ranges = [(int(a), int(b)) for a, b in _RANGE.findall(stack.get("Z_RANGES", ""))]
    absent = not stack.get("DIR_NAME") or not ranges
    if len(ranges) > 1:
        raise InputError(
            f"the stack of row {row} and column {column} has gaps in z; fill them, or empty its DIR_NAME."
        )
    sources = () if absent else (_source(folder / stack["DIR_NAME"], stack, planes, ranges[0], slices),)
    return ScannedTile(stack.get("NAME", name), position, sources, index=(0, row, column))


def _source(
    folder: Path, stack: Mapping[str, str], planes: bool, z_range: tuple[int, int], slices: int
) -> TileSource:
    """Return the planes, or the one file, of a stack's folder that its expression names; a missing folder stays."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    expression = re.compile(stack.get("IMG_REGEX") or ".*")
    wanted = [name for name in names if expression.fullmatch(name)]
    part = None if z_range == (0, slices) else z_range
    if len(wanted) == 1 and not planes:
        return TileSource(str(folder / wanted[0]), z_range=part)
    if not wanted:
        return TileSource(str(folder), planes="*", z_range=part)
    return TileSource(str(folder), planes=pattern_for(wanted, names, folder), z_range=part)


def write_terastitcher(path: Path, tiles: TileSet, folder: Path) -> None:
    """Write tiles of one layer and their first channel as a placed project.

    Raises InputError for tiles without a place in a grid, of several layers, or with a matrix of their own.
    """
    for tile in tiles.tiles:
        if tile.index is None or tile.index[0] != 0:
            raise InputError(f"TeraStitcher needs a row and a column in one layer; the tile {tile.name} lacks them.")
        if tile.matrix is not None:
            raise InputError(f"TeraStitcher has no place for the matrix of the tile {tile.name}; {_OTHER}.")
    kinds = {bool(tile.sources[0].planes) for tile in tiles.tiles if tile.sources}
    if len(kinds) > 1:
        raise InputError(f"TeraStitcher needs tiles that are all folders of planes, or all files; {_OTHER}.")
    places = {(tile.index[1], tile.index[2]): tile for tile in tiles.tiles if tile.index}
    rows, columns = (max(place[axis] for place in places) + 1 for axis in (0, 1))
    z, y, x = tiles.spacing
    root = ElementTree.Element("TeraStitcher", volume_format=_PLANES if kinds == {True} else _STACKS)
    ElementTree.SubElement(root, "stacks_dir", value=str(folder.absolute()))
    ElementTree.SubElement(root, "ref_sys", ref1="1", ref2="2", ref3="3")
    ElementTree.SubElement(root, "voxel_dims", V=repr(y), H=repr(x), D=repr(z))
    ElementTree.SubElement(root, "origin", V="0", H="0", D="0")
    ElementTree.SubElement(root, "mechanical_displacements", V=repr(_step(places, 1)), H=repr(_step(places, 2)))
    slices = max(tile.shape[0] for tile in tiles.tiles)
    counts = {"stack_rows": rows, "stack_columns": columns, "stack_slices": slices}
    ElementTree.SubElement(root, "dimensions", {key: str(value) for key, value in counts.items()})
    stacks = ElementTree.SubElement(root, "STACKS")
    for tile in tiles.tiles:
        stack = ElementTree.SubElement(stacks, "Stack", _attributes(tile, tiles.spacing, folder))
        for side in ("NORTH", "EAST", "SOUTH", "WEST"):
            ElementTree.SubElement(stack, f"{side}_displacements")
    ElementTree.indent(root, "    ")
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE TeraStitcher SYSTEM "TeraStitcher.DTD">\n'
    write_atomically(path, (head + ElementTree.tostring(root, encoding="unicode") + "\n").encode())


def _step(places: Mapping[tuple[int, int], Tile], axis: int) -> float:
    """Return the distance in µm between the first two tiles along an axis: 1 for y (rows), 2 for x (columns)."""
    for (row, column), tile in places.items():
        following = places.get((row + 1, column) if axis == 1 else (row, column + 1))
        if following is not None:
            return abs(following.position[axis] - tile.position[axis])
    return 0.0


def _attributes(tile: Tile, spacing: FloatTriple, folder: Path) -> dict[str, str]:
    assert tile.index is not None
    source = tile.sources[0] if tile.state == "present" else None
    place, expression = "", ""
    if source is not None:
        whole = Path(source.uri) if source.planes else Path(source.uri).parent
        place = Path(os.path.relpath(folder / whole, folder)).as_posix()
        name = Path(source.uri).name
        expression = _expression(source.planes) if source.planes else re.escape(name)
    start, stop = (source.z_range if source else None) or (0, tile.shape[0])
    ends = zip(("ABS_D", "ABS_V", "ABS_H"), tile.position, spacing, strict=True)
    return {
        "N_CHANS": "1",
        "N_BYTESxCHAN": "2",
        "ROW": str(tile.index[1]),
        "COL": str(tile.index[2]),
        **{key: str(round(p / s)) for key, p, s in ends},
        "STITCHABLE": "no" if source is None or "no_evidence" in tile.flags else "yes",
        "DIR_NAME": place,
        "Z_RANGES": f"[{start},{stop})" if source else "",
        "IMG_REGEX": expression,
        "NAME": tile.name,
        "POSITION": " ".join(map(repr, tile.position)),
    }


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern of names whose only special character is the star."""
    return ".*".join(re.escape(part) for part in pattern.split("*"))
