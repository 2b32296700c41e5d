"""The voxels of tiles, read by region from the files that `tiles.json` names."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Region
from teralign.tiles.model import Tile, TileSet, TileSource
from teralign.volumes import Volume, open_tile
from teralign.volumes.description import Voxels

_MOST_OPEN = 64
"""Volumes kept open: a process may have a thousand files open, and a scan has ten thousand tiles."""


@dataclass
class TileReader:
    """Reads voxels of `tiles`, whose relative URIs count from `folder`, that of tiles.json.

    Picklable: files are opened at the first read, in any process, and the last 64 stay open. Reads from several
    threads are safe.
    """

    tiles: TileSet
    folder: Path
    _open: dict[TileSource, Volume] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[TileReader], tuple[TileSet, Path]]:
        return TileReader, (self.tiles, self.folder)

    def read(self, tile: Tile, channel: int, region: Region) -> Voxels:
        """Return the (z, y, x) voxels of a region of a tile in one channel, as stored.

        Raises DataError, which names the tile and its file, when they cannot be read.
        """
        source = self._source(tile, channel)
        start = source.z_range[0] if source.z_range else 0
        try:
            return self.volume(tile, channel).read(region.shift((start, 0, 0)), channel=source.channel)
        except (DataError, ValueError) as error:
            raise DataError(f"the tile {tile.name} cannot be read: {str(error).rstrip('.')}.") from error

    def volume(self, tile: Tile, channel: int) -> Volume:
        """Return the open volume of which a tile's channel is a part. Raises DataError as `read`."""
        source = self._source(tile, channel)
        with self._lock:
            volume = self._open.pop(source, None)
            if volume is None:
                try:
                    volume = open_source(source, self.folder, self.tiles.spacing)
                except InputError as error:
                    raise DataError(f"the tile {tile.name} cannot be read: {str(error).rstrip('.')}.") from error
            self._open[source] = volume  # the last used comes last
            if len(self._open) > _MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            return volume

    def check(self, tile: Tile) -> None:
        """Open all channels of a tile. Raises DataError where one is not there, or has too few voxels or channels."""
        for channel, source in enumerate(tile.sources):
            volume = self.volume(tile, channel)
            z, y, x = volume.grid.shape
            start, stop = source.z_range or (0, z)
            found = (min(stop, z) - max(0, start), y, x)
            if found != tile.shape or source.channel >= volume.channels:
                raise DataError(
                    f"the tile {tile.name} should have the shape {tile.shape} (z, y, x) in channel {source.channel}, "
                    f"but {volume.uri} has {found} and {volume.channels} channels; import the tiles again."
                )

    def _source(self, tile: Tile, channel: int) -> TileSource:
        if channel >= len(tile.sources):
            raise DataError(f"the tile {tile.name} is {tile.state}, so that it has no voxels in channel {channel}.")
        return tile.sources[channel]


def open_source(source: TileSource, folder: Path, spacing: FloatTriple | None) -> Volume:
    """Return the volume of a source, whose relative URI counts from `folder`. Raises InputError as `open_tile`."""
    uri = source.uri if "://" in source.uri else str(folder / source.uri)
    return open_tile(uri, spacing=spacing, planes=source.planes)
