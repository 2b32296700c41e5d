"""`balance-tiles`: the brightness of tiles against one another, from their overlaps."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import teralign
from teralign.blockwise import BlockRecord, BlockState, Workspace, run_blocks
from teralign.cluster import Capacity, Compute
from teralign.correction import Balance, FlatField, MatchedOverlap, balance_tiles, match_overlap, read_flatfield
from teralign.errors import DataError, InputError
from teralign.grids import Floats, Region, as_triple
from teralign.plans import CHECKED, SAMPLED, START_SECONDS, WORKER_BYTES, Plan
from teralign.results import to_json
from teralign.stitching.refine_pairs import onto
from teralign.tasks.flatfields import check_fits, refuse_corrected
from teralign.tasks.inputs import refuse_existing
from teralign.tiles import Tile, TileReader, TileSet, read_tiles, write_tiles

log = logging.getLogger(__name__)

_STAGE = "overlaps"
_SLICES = 6  # of an overlap that are read
_PART = 512  # voxels along y and x of a slice that are read at once
_LEAST_VOXELS = 256
_MOST_LIT = 0.5  # of its light that a place may lose at once: more is another fault
_BESIDE = 0.5  # of a tile, by which another lies beside it
_FOLDER = 1000  # blocks whose records share a folder
_ON_A_VOXEL = 1e-6  # voxels by which a place may miss it
_MATCH_SECONDS = 0.1e-6  # CPU time of a voxel read and compared
_VOXEL_BYTES = 24  # memory of a voxel as read, in even light, and at the places of another tile


@dataclass(frozen=True)
class BalancedTiles:
    """The file written, the overlaps used, and for each channel what was found.

    `least_gain` and `largest_gain` are those of tiles; `loss_percent` the light lost from one tile to the next in the
    order of acquisition, `lit_loss_percent` that of what an earlier tile has lit; `spread_before_percent` and
    `spread_after_percent` the median disagreement of overlaps. `resumed` counts the overlaps of an earlier run.
    """

    output: str
    overlaps: tuple[int, ...]
    tiles_without: int
    unreadable: tuple[str, ...]
    least_gain: tuple[float, ...]
    largest_gain: tuple[float, ...]
    loss_percent: tuple[float, ...]
    lit_loss_percent: tuple[float, ...]
    spread_before_percent: tuple[float, ...]
    spread_after_percent: tuple[float, ...]
    resumed: int


class BalanceOptions(TypedDict, total=False):
    """Options of `balance`.

    Values are compared in the even light of `flatfield`, or less `dark` counts. With `with_offset` each tile gets an
    offset as well, with `skip_unreadable` tiles that cannot be read are named, and left out.
    """

    flatfield: str | Path | None
    dark: float
    with_offset: bool
    skip_unreadable: bool
    overwrite: bool


def balance(
    tiles: str | Path, output: str | Path, *, compute: Compute = Compute(), **options: Unpack[BalanceOptions]
) -> BalancedTiles:
    """Write the tiles of a `tiles.json` with the gain and offset that make their overlaps agree.

    Gains that the tiles have are found anew. Raises InputError for bad input, and DataError for a tile that cannot be
    read, unless `skip_unreadable`.
    """
    work = _Balancing.of(Path(tiles), Path(output), **options)
    work.plan(compute.capacity())
    with Workspace.of(work.output, compute.work_dir) as workspace:
        workspace.prepare(work.key)
        with compute.connect() as client:
            summary = run_blocks(work.matcher, work.blocks, client=client, workspace=workspace, stage=_STAGE)
        records = {record.block: record for record in workspace.records(_STAGE, _OverlapRecord)}
        if len(records) != len(work.blocks):
            raise DataError(f"{workspace.path} lacks the records of some overlaps; remove it and run again.")
        found = work.balanced(records)
        write_tiles(work.output, _with_balance(work.tiles, found.balances))
        workspace.remove()
    for name in found.unreadable:
        log.warning("the tile %s cannot be read, and its overlaps are left out", name)
    log.info("wrote %s", work.output)
    return BalancedTiles(
        output=str(output),
        overlaps=found.overlaps,
        tiles_without=found.tiles_without,
        unreadable=found.unreadable,
        least_gain=tuple(float(b.gain.min()) for b in found.balances),
        largest_gain=tuple(float(b.gain.max()) for b in found.balances),
        loss_percent=tuple(100 * b.loss for b in found.balances),
        lit_loss_percent=tuple(100 * b.lit_loss for b in found.balances),
        spread_before_percent=tuple(b.spread_before for b in found.balances),
        spread_after_percent=tuple(b.spread_after for b in found.balances),
        resumed=summary.resumed,
    )


def plan_balance(
    tiles: str | Path, output: str | Path, *, compute: Compute = Compute(), **options: Unpack[BalanceOptions]
) -> Plan:
    """Return the plan of `balance` with the same arguments; writes nothing."""
    return _Balancing.of(Path(tiles), Path(output), **options).plan(compute.capacity())


@dataclass(frozen=True)
class _OverlapBlock:
    """The overlap of two tiles in a channel."""

    number: int
    channel: int
    first: Tile
    second: Tile

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return f"p{self.number // _FOLDER:03d}_{self.number:06d}_c{self.channel}"

    def side(self, spacing: Floats) -> tuple[int, int]:
        """Return where the second tile lies from the first along y and x: −1, 0 or 1."""
        apart = np.subtract(self.second.position, self.first.position) / spacing / self.first.shape
        y, x = (int(np.sign(part)) if abs(part) > _BESIDE else 0 for part in apart[1:])
        return y, x


@dataclass(frozen=True, kw_only=True)
class _OverlapRecord(BlockRecord):
    """The matched values of an overlap and their weight, none without content; the tile that cannot be read."""

    levels: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    weight: float = 0.0
    unreadable: str = ""


@dataclass(frozen=True)
class _Found:
    """The outcome of all overlaps: a balance, and their number, for each channel."""

    balances: Sequence[Balance]
    overlaps: tuple[int, ...]
    tiles_without: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class _Balancing:
    """The tiles, their overlaps in all channels, and how these are matched."""

    tiles: TileSet
    blocks: Sequence[_OverlapBlock]
    matcher: _Matcher
    with_offset: bool
    output: Path
    key: dict[str, object]

    @classmethod
    def of(
        cls,
        tiles: Path,
        output: Path,
        *,
        flatfield: str | Path | None = None,
        dark: float = 0.0,
        with_offset: bool = False,
        skip_unreadable: bool = False,
        overwrite: bool = False,
    ) -> _Balancing:
        """Return the work, after all checks of the input."""
        refuse_existing(output, overwrite=overwrite, what="output")
        found = read_tiles(tiles)
        folder = tiles.absolute().parent
        field = None
        if flatfield is not None:
            field = read_flatfield(flatfield)
            refuse_corrected(found, folder)
            check_fits(field, found)
        sources = [source for tile in found.tiles for source in tile.sources]
        if folder != output.absolute().parent and any(_is_relative(source.uri) for source in sources):
            raise InputError(f"{output} names tiles by their place beside {tiles}; write it into the same folder.")
        pairs = found.overlapping(_LEAST_VOXELS)
        blocks = [
            _OverlapBlock(number, channel, *pair)
            for channel in range(len(found.channels))
            for number, pair in enumerate(pairs)
        ]
        # Sent to the workers with every block: all tiles would be too many.
        reader = TileReader(replace(found, tiles=found.tiles[:1], solution=None), folder)
        key: dict[str, object] = {
            "task": "balance-tiles",
            "version": teralign.__version__,
            "tiles": hashlib.sha256(to_json(_with_balance(found, [])).encode()).hexdigest(),
            "flatfield": None if field is None else field.digest(),
            "dark": dark,
            "skip_unreadable": skip_unreadable,
        }
        return cls(found, blocks, _Matcher(reader, field, dark, skip_unreadable), with_offset, output, key)

    def plan(self, capacity: Capacity) -> Plan:
        """Return the plan; InputError when an overlap is too large for a worker."""
        if not self.blocks:
            return Plan(str(self.output), {_STAGE: 0}, 0, 0, WORKER_BYTES, round(START_SECONDS)).checked(capacity)
        sampled = self.blocks[:: max(1, len(self.blocks) // SAMPLED)]
        voxels = sum(self.matcher.voxels(block) for block in sampled) * len(self.blocks) // len(sampled)
        some = sampled[:: max(1, len(sampled) // CHECKED)]
        sizes = [self.matcher.part_voxels(block) for block in some]
        largest = some[sizes.index(max(sizes))]
        return Plan(
            output=str(self.output),
            blocks={_STAGE: len(self.blocks)},
            read_bytes=4 * voxels,
            write_bytes=0,
            worker_memory_bytes=WORKER_BYTES + max(sizes) * _VOXEL_BYTES,
            estimated_seconds=round(START_SECONDS + capacity.seconds(2 * voxels * _MATCH_SECONDS, len(self.blocks))),
            largest_block=f"{largest.first.name} and {largest.second.name}",
        ).checked(capacity)

    def balanced(self, records: dict[str, _OverlapRecord]) -> _Found:
        """Return the gains that the overlaps tell."""
        number = {tile.name: n for n, tile in enumerate(self.tiles.tiles)}
        orders = [tile.order for tile in self.tiles.tiles]
        spacing = np.array(self.tiles.spacing)
        matches: list[list[MatchedOverlap]] = [[] for _ in self.tiles.channels]
        seen: set[str] = set()
        for block in self.blocks:
            told = records[block.name]
            if told.levels:
                ends = number[block.first.name], number[block.second.name]
                values = np.array(told.levels), np.array(told.others)
                matches[block.channel].append(MatchedOverlap(*ends, *values, told.weight, block.side(spacing)))
                seen |= {block.first.name, block.second.name}
        return _Found(
            [balance_tiles(each, len(self.tiles.tiles), orders, with_offset=self.with_offset) for each in matches],
            tuple(len(each) for each in matches),
            len(self.tiles.present) - len(seen),
            tuple(sorted({record.unreadable for record in records.values() if record.unreadable})),
        )


def _with_balance(tiles: TileSet, balances: Sequence[Balance]) -> TileSet:
    """Return the tiles with the balance of each channel, with none where there are no `balances`."""
    made = [
        replace(
            tile,
            gain=tuple(float(b.gain[n]) for b in balances),
            offset=tuple(float(b.offset[n]) for b in balances),
        )
        for n, tile in enumerate(tiles.tiles)
    ]
    lit = tuple(min(max(b.lit_loss, 0.0), _MOST_LIT) for b in balances)
    return replace(tiles, tiles=tuple(made), lit_loss=lit if any(lit) else ())


def _is_relative(uri: str) -> bool:
    return "://" not in uri and not Path(uri).is_absolute()


@dataclass(frozen=True)
class _Matcher:
    """Matches what two tiles see of the same place, in even light. Picklable."""

    reader: TileReader
    field: FlatField | None
    dark: float
    skip: bool

    def __call__(self, block: _OverlapBlock) -> _OverlapRecord:
        """Return the record of an overlap."""
        try:
            match = match_overlap(self._views(block))
        except _UnreadableTileError as error:
            return _OverlapRecord(state=BlockState.EMPTY, unreadable=error.name)
        if match is None:
            return _OverlapRecord(state=BlockState.EMPTY)
        levels, others, weight = match
        return _OverlapRecord(levels=tuple(levels.tolist()), others=tuple(others.tolist()), weight=weight)

    def voxels(self, block: _OverlapBlock) -> int:
        """Return the voxels of the first tile that are read."""
        return sum(part.size for part in self._parts(block))

    def part_voxels(self, block: _OverlapBlock) -> int:
        """Return the voxels of both tiles for the largest part that is read at once."""
        return max((part.size + self._seen(block, part)[0].size for part in self._parts(block)), default=0)

    def _views(self, block: _OverlapBlock) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield the same voxels of both tiles, part by part."""
        for part in self._parts(block):
            region, places = self._seen(block, part)
            if not region.size:
                continue
            first, second = self._read(block, block.first, part), self._read(block, block.second, region)
            if places is not None:
                second = ndimage.map_coordinates(second, places, order=1, mode="constant", cval=np.nan)
            yield first, second

    def _parts(self, block: _OverlapBlock) -> Iterator[Region]:
        """Yield the parts of the slices of the first tile that are compared."""
        shape = block.first.shape
        far = onto(block.second, block.first)
        ends = np.array(list(itertools.product(*[(0, n - 1) for n in block.second.shape]))) * self._spacing
        seen = (ends @ far[:3, :3].T + far[:3, 3]) / self._spacing
        low, high = np.ceil(seen.min(axis=0) - _ON_A_VOXEL), np.floor(seen.max(axis=0) + _ON_A_VOXEL)
        box = Region(as_triple(low), as_triple(high + 1)).intersect(Region.whole(shape))
        count = min(_SLICES, box.shape[0]) if box.size else 0
        for k in range(count):
            z = box.start[0] + (2 * k + 1) * box.shape[0] // (2 * count)
            slice_ = Region((z, *box.start[1:]), (z + 1, *box.stop[1:]))
            for part in Region.whole(slice_.shape).split((1, _PART, _PART)):
                yield part.shift(slice_.start)

    def _seen(self, block: _OverlapBlock, part: Region) -> tuple[Region, NDArray[np.float64] | None]:
        """Return the voxels of the second tile that show a part of the first, and the places (3, …) among them.

        No places without a matrix: the voxels are then those that lie nearest.
        """
        map_ = onto(block.first, block.second)
        start = map_[:3, 3] / self._spacing
        if block.first.matrix is None and block.second.matrix is None:
            return part.shift(as_triple(np.round(start))), None
        linear = map_[:3, :3] * self._spacing / self._spacing[:, None]
        lines = [np.arange(a, b) for a, b in zip(part.start, part.stop, strict=True)]
        places = np.tensordot(linear, np.stack(np.meshgrid(*lines, indexing="ij")), 1) + start[:, None, None, None]
        low, high = (np.floor(end(places, axis=(1, 2, 3))) for end in (np.min, np.max))
        region = Region(as_triple(low), as_triple(high + 2)).intersect(Region.whole(block.second.shape))
        return region, places - np.array(region.start)[:, None, None, None]

    def _read(self, block: _OverlapBlock, tile: Tile, region: Region) -> NDArray[np.float32]:
        """Return a region of a tile (z, y, x) in even light."""
        try:
            raw = np.asarray(self.reader.read(tile, block.channel, region))
        except DataError as error:
            if not self.skip:
                raise
            raise _UnreadableTileError(tile.name) from error
        if self.field is None:
            return raw.astype(np.float32) - np.float32(self.dark)
        return self.field.correct(raw, block.channel, region)

    @property
    def _spacing(self) -> Floats:
        return np.array(self.reader.tiles.spacing)


class _UnreadableTileError(Exception):
    """A tile that cannot be read where such tiles are left out."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
