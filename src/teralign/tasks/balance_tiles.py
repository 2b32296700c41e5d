"""`balance-tiles`: the brightness of tiles against one another, from their overlaps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.correction import Balance, FlatField, MatchedOverlap, balance_tiles, match_overlap, read_flatfield
from teralign.errors import DataError, InputError
from teralign.grids import Region
from teralign.tasks.flatfields import check_fits, refuse_corrected
from teralign.tasks.inputs import check_new_file
from teralign.tiles import Tile, TileReader, TileSet, read_tiles, write_tiles

log = logging.getLogger(__name__)

_SLICES = 6  # of an overlap that are read
_LEAST_VOXELS = 256


@dataclass(frozen=True)
class BalancedTiles:
    """The file written, the overlaps used, and for each channel what was found.

    `least_gain` and `largest_gain` are those of tiles; `loss_percent` the light lost from one tile to the next in the
    order of acquisition, `lit_loss_percent` that of what an earlier tile has lit; `spread_before_percent` and
    `spread_after_percent` the median disagreement of overlaps.
    """

    output: str
    overlaps: tuple[int, ...]
    tiles_without: int
    least_gain: tuple[float, ...]
    largest_gain: tuple[float, ...]
    loss_percent: tuple[float, ...]
    lit_loss_percent: tuple[float, ...]
    spread_before_percent: tuple[float, ...]
    spread_after_percent: tuple[float, ...]


def balance(
    tiles: str | Path,
    output: str | Path,
    *,
    flatfield: str | Path | None = None,
    dark: float = 0.0,
    with_offset: bool = False,
    skip_unreadable: bool = False,
    overwrite: bool = False,
) -> BalancedTiles:
    """Write the tiles of a `tiles.json` with the gain and offset that make their overlaps agree.

    Values are compared in the even light of `flatfield`, or less `dark` counts. Gains that the tiles have are found
    anew. Raises InputError for bad input, DataError for tiles that cannot be read, unless `skip_unreadable`.
    """
    path = check_new_file(Path(output), overwrite=overwrite, what="output")
    found = read_tiles(tiles)
    folder = Path(tiles).absolute().parent
    field = None
    if flatfield is not None:
        field = read_flatfield(flatfield)
        refuse_corrected(found, folder)
        check_fits(field, found)
    if folder != path.absolute().parent and any(
        _is_relative(source.uri) for t in found.tiles for source in t.sources
    ):
        raise InputError(f"{output} names tiles by their place beside {tiles}; write it into the same folder.")
    views = _Views(TileReader(found, folder), field, dark, skip_unreadable)
    number = {tile.name: n for n, tile in enumerate(found.tiles)}
    balances: list[Balance] = []
    counts: list[int] = []
    seen: set[str] = set()
    pairs = found.overlapping(_LEAST_VOXELS)
    for channel in range(len(found.channels)):
        matches = []
        for a, b, match in views.matches(pairs, channel):
            matches.append(MatchedOverlap(number[a.name], number[b.name], *match))
            seen |= {a.name, b.name}
        orders = [tile.order for tile in found.tiles]
        balances.append(balance_tiles(matches, len(found.tiles), orders, with_offset=with_offset))
        counts.append(len(matches))
    write_tiles(path, _balanced(found, balances))
    log.info("wrote %s", path)
    return BalancedTiles(
        output=str(output),
        overlaps=tuple(counts),
        tiles_without=len(found.present) - len(seen),
        least_gain=tuple(float(b.gain.min()) for b in balances),
        largest_gain=tuple(float(b.gain.max()) for b in balances),
        loss_percent=tuple(100 * b.loss for b in balances),
        lit_loss_percent=tuple(100 * b.lit_loss for b in balances),
        spread_before_percent=tuple(b.spread_before for b in balances),
        spread_after_percent=tuple(b.spread_after for b in balances),
    )


def _balanced(tiles: TileSet, balances: Sequence[Balance]) -> TileSet:
    made = [
        replace(
            tile,
            gain=tuple(float(b.gain[n]) for b in balances),
            offset=tuple(float(b.offset[n]) for b in balances),
        )
        for n, tile in enumerate(tiles.tiles)
    ]
    return replace(tiles, tiles=tuple(made))


def _is_relative(uri: str) -> bool:
    return "://" not in uri and not Path(uri).is_absolute()


@dataclass(frozen=True)
class _Views:
    """Reads what two tiles see of the same place, in even light."""

    reader: TileReader
    field: FlatField | None
    dark: float
    skip: bool

    def matches(
        self, pairs: Sequence[tuple[Tile, Tile]], channel: int
    ) -> Iterator[tuple[Tile, Tile, tuple[NDArray[np.float64], NDArray[np.float64], float]]]:
        """Yield the pairs whose overlap has content, with its matched values and their weight."""
        for a, b in pairs:
            try:
                views = [self._read(tile, channel, regions) for tile, regions in self._shared(a, b)]
            except DataError as error:
                if not self.skip:
                    raise
                log.warning("left out: %s", error)
                continue
            match = match_overlap(*views)
            if match is not None:
                yield a, b, match

    def _shared(self, a: Tile, b: Tile) -> list[tuple[Tile, list[Region]]]:
        """Return the same slices of the overlap in both tiles, to the nearest voxel."""
        shift = [
            round((q - p) / size)
            for p, q, size in zip(a.position, b.position, self.reader.tiles.spacing, strict=True)
        ]
        start = [max(0, s) for s in shift]
        stop = [min(n, m + s) for n, m, s in zip(a.shape, b.shape, shift, strict=True)]
        count = min(_SLICES, stop[0] - start[0])
        slices = [start[0] + (2 * k + 1) * (stop[0] - start[0]) // (2 * count) for k in range(count)]
        own = [Region((z, start[1], start[2]), (z + 1, stop[1], stop[2])) for z in slices]
        back = (-shift[0], -shift[1], -shift[2])
        return [(a, own), (b, [region.shift(back) for region in own])]

    def _read(self, tile: Tile, channel: int, regions: Sequence[Region]) -> NDArray[np.float32]:
        """Return slices of a tile (z, y, x) in even light."""
        made = []
        for region in regions:
            raw = np.asarray(self.reader.read(tile, channel, region))
            if self.field is None:
                made.append(raw.astype(np.float32) - np.float32(self.dark))
            else:
                made.append(self.field.correct(raw, channel, region))
        return np.concatenate(made)
