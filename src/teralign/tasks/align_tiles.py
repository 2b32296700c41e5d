"""`align-tiles`: the shift of each pair of overlapping tiles."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import teralign
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import Capacity, Compute
from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple
from teralign.plans import SAMPLED, START_SECONDS, WORKER_BYTES, Plan
from teralign.progress import counted
from teralign.results import to_json
from teralign.stitching.align_pairs import STAGE, PairAligner, PairBlock, PairRecord, at_stage, pair_blocks
from teralign.stitching.channels import (
    CHANNEL_STAGE,
    ChannelAligner,
    ChannelBlock,
    ChannelRecord,
    channel_blocks,
    shifts_of_channels,
)
from teralign.stitching.measure import WORKING_BYTES
from teralign.stitching.pairs import ChannelShift, PairSet, TilePair, write_pairs
from teralign.tasks.inputs import refuse_existing
from teralign.tiles import TileSet, read_tiles

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 0.1e-6  # CPU time of a voxel of a crop, read and measured
_PIECES_TIMES = 3  # as long with pieces, which are measured again


@dataclass(frozen=True)
class AlignedTiles:
    """The file written; its pairs, those with evidence, the reasons of the others, and tiles that cannot be read.

    `ncc_before` and `ncc` are medians over the pairs with evidence, None without any. `resumed` counts the pairs
    that an earlier run had measured. `channel_shifts` are those that were asked for and found.
    """

    output: str
    pairs: int
    evidence: int
    reasons: dict[str, int]
    unreadable: tuple[str, ...]
    ncc_before: float | None
    ncc: float | None
    resumed: int
    channel_shifts: tuple[ChannelShift, ...] = ()


class AlignTilesOptions(TypedDict, total=False):
    """Options of `align_tiles`.

    `channel` decides for all; `search` (z, y, x) µm is by how much the distance of two tiles may differ from what the
    stage says, by default 24 voxels, and never more than half a tile. Up to `pieces` along each axis of an overlap
    are measured too, where that is more than 1; by them solve-tiles turns and stretches tiles. With
    `channel_shifts`, the shift of each other channel is measured within tiles, which solve-tiles stores. With
    `skip_unreadable`, tiles that cannot be read are named, and the pairs with them have no evidence.
    """

    channel: int
    search: FloatTriple | None
    pieces: int
    channel_shifts: bool
    skip_unreadable: bool
    overwrite: bool


def align_tiles(
    tiles: str | Path, output: str | Path, *, compute: Compute = Compute(), **options: Unpack[AlignTilesOptions]
) -> AlignedTiles:
    """Measure the shift of all pairs of tiles that overlap, and write them to `output`, a `pairs.json`.

    Raises InputError for bad input before any work, DataError for a tile that cannot be read.
    """
    scan, aligner, blocks, channels = _opened(tiles, output, **options)
    _plan(str(output), aligner, blocks, channels, compute.capacity())
    key = {
        "task": "align-tiles",
        "version": teralign.__version__,
        "tiles": hashlib.sha256(to_json(at_stage(scan)).encode()).hexdigest(),
        "channel": aligner.channel,
        "search": aligner.search,
        "pieces": aligner.pieces,
        "channel_shifts": bool(channels),
        "skip_unreadable": aligner.skip_unreadable,
    }
    with Workspace.of(Path(output), compute.work_dir) as workspace:
        workspace.prepare(key)
        with compute.connect() as client:
            summary = run_blocks(aligner, blocks, client=client, workspace=workspace, stage=STAGE)
            if channels:
                within = ChannelAligner(aligner.reader, aligner.channel, aligner.skip_unreadable)
                run_blocks(within, channels, client=client, workspace=workspace, stage=CHANNEL_STAGE)
        records = list(workspace.records(STAGE, PairRecord))
        found = tuple(record.pair for record in records if record.pair is not None)
        if len(found) != len(blocks):
            raise DataError(f"{workspace.path} lacks the records of some pairs; remove it and run again.")
        search = aligner.search
        z, y, x = (n * size for n, size in zip(search, scan.spacing, strict=True))
        shifts = shifts_of_channels(workspace.records(CHANNEL_STAGE, ChannelRecord), scan.spacing) if channels else ()
        write_pairs(output, PairSet(aligner.channel, (z, y, x), found, shifts))
        workspace.remove()
    unreadable = tuple(sorted({name for record in records for name in record.unreadable}))
    for name in unreadable:
        log.warning("the tile %s cannot be read, and its pairs have no evidence", name)
    for channel in sorted({block.channel for block in channels} - {shift.channel for shift in shifts}):
        log.warning("no tile shows how channel %s lies against channel %s", channel, aligner.channel)
    log.info("%s has %s", output, counted(len(found), "pair"))
    return _result(str(output), found, unreadable, shifts, summary.resumed)


def plan_align_tiles(
    tiles: str | Path, output: str | Path, *, compute: Compute = Compute(), **options: Unpack[AlignTilesOptions]
) -> Plan:
    """Return the plan of `align_tiles` with the same arguments; writes nothing."""
    _, aligner, blocks, channels = _opened(tiles, output, **options)
    return _plan(str(output), aligner, blocks, channels, compute.capacity())


def _opened(
    tiles: str | Path,
    output: str | Path,
    *,
    channel: int = 0,
    search: FloatTriple | None = None,
    pieces: int = 1,
    channel_shifts: bool = False,
    skip_unreadable: bool = False,
    overwrite: bool = False,
) -> tuple[TileSet, PairAligner, tuple[PairBlock, ...], tuple[ChannelBlock, ...]]:
    """Return the tiles, what aligns a pair, all pairs, and tiles of other channels, after all checks of the input."""
    refuse_existing(Path(output), overwrite=overwrite, what="output")
    scan = read_tiles(tiles)
    if not 0 <= channel < len(scan.channels):
        names = ", ".join(f"{n} ({c.name})" for n, c in enumerate(scan.channels))
        raise InputError(f"{tiles} has no channel {channel}; choose one of {names} with --channel.")
    blocks = pair_blocks(scan)
    if not blocks:
        raise InputError(f"no two tiles of {tiles} overlap; check their positions and the voxel size.")
    folder = Path(tiles).absolute().parent
    aligner = PairAligner.of(scan, folder, channel, search, skip_unreadable=skip_unreadable, pieces=pieces)
    return scan, aligner, blocks, channel_blocks(scan, channel) if channel_shifts else ()


def _plan(
    output: str,
    aligner: PairAligner,
    blocks: tuple[PairBlock, ...],
    channels: tuple[ChannelBlock, ...],
    capacity: Capacity,
) -> Plan:
    """Return the plan; InputError when a pair is too large for a worker."""
    step = max(1, len(blocks) // SAMPLED)
    sampled = blocks[::step]
    sizes = [sum(region.size for region in aligner.regions(block)) for block in sampled]
    within = [ChannelAligner(aligner.reader, aligner.channel).working_bytes(block) for block in channels]
    voxels = sum(sizes) * len(blocks) // len(sampled) + sum(within) // WORKING_BYTES
    largest = sampled[sizes.index(max(sizes))]
    seconds = _VOXEL_SECONDS * (1 if aligner.pieces < 2 else _PIECES_TIMES)
    plan = Plan(
        output=output,
        blocks={STAGE: len(blocks)} | ({CHANNEL_STAGE: len(channels)} if channels else {}),
        read_bytes=2 * voxels,
        write_bytes=0,
        worker_memory_bytes=WORKER_BYTES + max([aligner.working_bytes(largest), *within]),
        estimated_seconds=round(START_SECONDS + capacity.seconds(voxels * seconds, len(blocks))),
        largest_block=f"{largest.fixed.name} and {largest.moving.name}",
    )
    return plan.checked(capacity)


def _result(
    output: str,
    pairs: tuple[TilePair, ...],
    unreadable: tuple[str, ...],
    shifts: tuple[ChannelShift, ...],
    resumed: int,
) -> AlignedTiles:
    good = [pair for pair in pairs if pair.evidence]
    reasons = Counter(pair.reason for pair in pairs if not pair.evidence)
    return AlignedTiles(
        output=output,
        pairs=len(pairs),
        evidence=len(good),
        reasons=dict(sorted(reasons.items())),
        unreadable=unreadable,
        channel_shifts=shifts,
        ncc_before=_median([pair.ncc_before for pair in good]),
        ncc=_median([pair.ncc for pair in good]),
        resumed=resumed,
    )


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
