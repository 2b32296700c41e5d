"""A scan as another program describes it, made into a set of tiles by opening the files of its tiles."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Triple, as_float_triple
from teralign.progress import counted
from teralign.tiles.model import Tile, TileChannel, TileSet, TileSource
from teralign.tiles.reader import open_source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScannedTile:
    """A tile of a scan: `position` (z, y, x) in the unit of its scan, of the centre of its first voxel.

    `sources` have absolute URIs, one a channel; without any the tile is absent. The other fields are as in `Tile`.
    """

    name: str
    position: FloatTriple
    sources: tuple[TileSource, ...]
    index: Triple | None = None
    order: int | None = None
    matrix: tuple[FloatTriple, FloatTriple, FloatTriple] | None = None


@dataclass(frozen=True)
class Scan:
    """The tiles that a file or folder of another program describes; `origin_of` names that in a sentence.

    `spacing` (z, y, x) µm is None where only the files of the tiles may say it. `channels` are names; where there
    are none, each source is a volume all of whose channels are the tile's. `shape` is that of absent tiles.
    """

    origin_of: str
    tiles: Sequence[ScannedTile]
    spacing: FloatTriple | None = None
    channels: Sequence[str] = ()
    shape: Triple | None = None
    unit: Literal["um", "voxels"] = "um"


@dataclass(frozen=True)
class _Opened:
    shape: Triple
    spacing: FloatTriple
    channels: int
    names: tuple[str, ...]


def build_tiles(
    scan: Scan, folder: Path, *, spacing: FloatTriple | None = None, skip_unreadable: bool = False
) -> TileSet:
    """Return the tiles of a scan, whose URIs become relative to `folder` where the files lie in it.

    `spacing` (z, y, x) µm goes before that of the scan, which goes before that of the files. With `skip_unreadable`
    tiles that cannot be read are marked and named in the log. Raises InputError for one that cannot be read, when no
    tile can be, when the voxel size is not known, and for tiles that differ in size of voxels or number of channels.
    """
    given = spacing or scan.spacing
    opened: dict[str, _Opened] = {}
    for found in scan.tiles:
        if found.sources and (one := _open(found, scan, given, skip_unreadable)) is not None:
            opened[found.name] = one
    if not opened:
        raise InputError(f"no tile of {scan.origin_of} can be read; check its files.")
    first = next(iter(opened.values()))
    size = given or first.spacing
    for name, other in opened.items():
        if not np.allclose(other.spacing, size, rtol=1e-3):
            raise InputError(f"the tile {name} has voxels of another size than the first tile; give --spacing.")
        if other.channels != first.channels:
            raise InputError(
                f"the tile {name} has {counted(other.channels, 'channel')}, the first tile has {first.channels}; "
                "import them apart."
            )
    names = tuple(scan.channels) or first.names
    usual = Counter(one.shape for one in opened.values()).most_common(1)[0][0]
    tiles = tuple(_tile(found, scan, size, folder, opened.get(found.name), usual, names) for found in scan.tiles)
    return TileSet(
        spacing=size,
        channels=tuple(TileChannel(name) for name in names),
        tiles=tiles,
        origin_of=scan.origin_of,
    )


def _open(found: ScannedTile, scan: Scan, spacing: FloatTriple | None, skip_unreadable: bool) -> _Opened | None:
    """Open the volumes of a tile; returns None, and logs it, for one that cannot be read and is skipped."""
    try:
        return _opened(found, scan, spacing)
    except (InputError, DataError) as error:
        if "--spacing" in str(error):  # asks for the voxel size, which all tiles lack
            raise
        if not skip_unreadable:
            raise InputError(
                f"the tile {found.name} cannot be read: {str(error).rstrip('.')}; repair it, or leave such tiles out "
                "with --skip-unreadable."
            ) from error
        log.warning("the tile %s cannot be read and is left out: %s", found.name, error)
        return None


def _opened(found: ScannedTile, scan: Scan, spacing: FloatTriple | None) -> _Opened:
    shapes: list[Triple] = []
    sizes: list[FloatTriple] = []
    channels = 0
    names: tuple[str, ...] = ()
    for source in found.sources:
        volume = open_source(source, Path(), spacing)
        z, y, x = volume.grid.shape
        start, stop = source.z_range or (0, z)
        if not 0 <= start < stop <= z:
            raise InputError(f"{source.uri} has {z} planes, not those from {start} to {stop}.")
        if source.channel >= volume.channels:
            raise InputError(f"{source.uri} has {counted(volume.channels, 'channel')}, no channel {source.channel}.")
        shapes.append((stop - start, y, x))
        sizes.append(volume.grid.spacing)
        channels, names = volume.channels, volume.channel_names
    different = sorted(set(shapes))
    if len(different) > 1:
        raise InputError(f"its channels have different shapes (z, y, x): {' and '.join(map(str, different))}.")
    several = len(scan.channels)
    return _Opened(shapes[0], sizes[0], several or channels, names)


def _tile(
    found: ScannedTile,
    scan: Scan,
    spacing: FloatTriple,
    folder: Path,
    opened: _Opened | None,
    usual: Triple,
    channels: Sequence[str],
) -> Tile:
    """Return a tile with `usual` as its shape where it could not be opened."""
    sources = tuple(replace(source, uri=_relative(source.uri, folder)) for source in found.sources)
    if sources and not scan.channels:
        sources = tuple(replace(sources[0], channel=channel) for channel in range(len(channels)))
    scale = spacing if scan.unit == "voxels" else (1.0, 1.0, 1.0)
    position = as_float_triple(p * s for p, s in zip(found.position, scale, strict=True))
    return Tile(
        name=found.name,
        position=position,
        shape=opened.shape if opened else (scan.shape or usual),
        state="present" if opened else "unreadable" if sources else "absent",
        sources=sources,
        index=found.index,
        order=found.order,
        stage=position,
        matrix=found.matrix,
    )


def _relative(uri: str, folder: Path) -> str:
    """Return a path relative to `folder` where it lies in it; other paths and addresses stay."""
    if "://" in uri or not Path(uri).is_relative_to(folder):
        return uri
    return Path(uri).relative_to(folder).as_posix()
