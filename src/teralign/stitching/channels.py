"""The shift of a channel against another one, measured within tiles: both show the tissue of one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from teralign.blockwise import BlockRecord, BlockState
from teralign.errors import DataError
from teralign.grids import FloatTriple, Region, Triple, as_float_triple, as_triple
from teralign.stitching.measure import WORKING_BYTES, measure_shift
from teralign.stitching.pairs import ChannelShift
from teralign.tiles import Tile, TileReader, TileSet

CHANNEL_STAGE = "channels"
"""The stage of the run."""

_TILES = 40  # in which a channel is measured: more do not make its shift surer
_SHOWN = (64, 256, 256)  # voxels of a tile that are compared, in its middle
_NEAR = 12  # voxels: channels are further apart in no microscope


@dataclass(frozen=True)
class ChannelBlock:
    """A tile in which a channel is compared with the deciding one."""

    number: int
    tile: Tile
    channel: int

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return f"c{self.channel:03d}_{self.number:06d}"


@dataclass(frozen=True, kw_only=True)
class ChannelRecord(BlockRecord):
    """The shift (z, y, x) voxels of a channel in a tile and its errors, None without evidence or along an axis."""

    channel: int = 0
    shift: FloatTriple | None = None
    errors: tuple[float | None, float | None, float | None] = (None, None, None)


def channel_blocks(tiles: TileSet, deciding: int) -> tuple[ChannelBlock, ...]:
    """Return the tiles in which each channel but the deciding one is measured, spread evenly over the scan."""
    step = -(-len(tiles.present) // _TILES)
    others = [channel for channel in range(len(tiles.channels)) if channel != deciding]
    return tuple(ChannelBlock(n, tile, channel) for channel in others for n, tile in enumerate(tiles.present[::step]))


@dataclass(frozen=True)
class ChannelAligner:
    """Measures a channel of a tile against the channel `deciding`. Picklable.

    With `skip_unreadable`, a tile that cannot be read has no shift; otherwise it raises DataError.
    """

    reader: TileReader
    deciding: int
    skip_unreadable: bool = False

    def working_bytes(self, block: ChannelBlock) -> int:
        """Return the memory that a channel of a tile takes, images of two bytes a voxel included."""
        return 2 * shown_region(block.tile.shape).size * (2 + WORKING_BYTES)

    def __call__(self, block: ChannelBlock) -> ChannelRecord:
        """Return the record of a channel in a tile."""
        region = shown_region(block.tile.shape)
        try:
            fixed = np.ascontiguousarray(self.reader.read(block.tile, self.deciding, region))
            moving = np.ascontiguousarray(self.reader.read(block.tile, block.channel, region))
        except DataError:
            if not self.skip_unreadable:
                raise
            return ChannelRecord(state=BlockState.EMPTY, channel=block.channel)
        search = as_triple(min(_NEAR, n // 4) for n in region.shape)
        found = measure_shift(fixed, moving, (0.0, 0.0, 0.0), search, same_view=True)
        if not found.evidence:
            return ChannelRecord(channel=block.channel)
        z, y, x = (error if math.isfinite(error) else None for error in found.error)
        return ChannelRecord(channel=block.channel, shift=found.shift, errors=(z, y, x))


def shown_region(shape: Triple) -> Region:
    """Return the middle of a tile that is compared: at most 64 planes of 256 × 256 voxels."""
    size = [min(n, most) for n, most in zip(shape, _SHOWN, strict=True)]
    start = as_triple((n - s) // 2 for n, s in zip(shape, size, strict=True))
    return Region(start, as_triple(a + s for a, s in zip(start, size, strict=True)))


def shifts_of_channels(records: Iterable[ChannelRecord], spacing: FloatTriple) -> tuple[ChannelShift, ...]:
    """Return the shift of each channel that a tile says: the weighted median over its tiles, axis by axis.

    A tile that is wrong does not move it. Along an axis that no tile measures it is 0 and has no error.
    """
    found: dict[int, list[ChannelRecord]] = {}
    for record in records:
        if record.shift is not None:
            found.setdefault(record.channel, []).append(record)
    shifts = []
    for channel, good in sorted(found.items()):
        axes = [_median([(r.shift or (0.0,) * 3)[a] for r in good], [r.errors[a] for r in good]) for a in range(3)]
        z, y, x = (None if error is None else error * size for (_, error), size in zip(axes, spacing, strict=True))
        shift = as_float_triple(value * size for (value, _), size in zip(axes, spacing, strict=True))
        shifts.append(ChannelShift(channel, shift, (z, y, x), len(good)))
    return tuple(shifts)


def _median(values: list[float], errors: list[float | None]) -> tuple[float, float | None]:
    """Return the weighted median of the values that have an error, and its standard error."""
    known = sorted((value, 1 / error**2) for value, error in zip(values, errors, strict=True) if error is not None)
    if not known:
        return 0.0, None
    value, weight = np.array(known).T
    rank = np.cumsum(weight) - weight / 2
    middle = float(np.interp(rank[-1] / 2 + rank[0] / 2, rank, value))
    scatter = 1.4826 * float(np.median(np.abs(value - middle)))
    return middle, 1.2533 * max(scatter / math.sqrt(len(value)), 1 / math.sqrt(float(weight.sum())))
