"""`refine-tiles`: how bent tiles are against one another, in their overlaps."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

import teralign
from teralign.blockwise import Workspace, run_blocks
from teralign.cluster import Capacity, Compute
from teralign.errors import DataError, InputError
from teralign.files import writing
from teralign.plans import SAMPLED, START_SECONDS, WORKER_BYTES, Plan
from teralign.progress import counted
from teralign.registration import DeformConfig
from teralign.stitching.pairs import read_pairs
from teralign.stitching.refine_pairs import (
    REFINE_BYTES,
    REFINE_STAGE,
    OverlapBlock,
    OverlapRecord,
    OverlapRefiner,
    blended,
    moving_region,
    overlap_blocks,
    strides_for,
)
from teralign.stitching.refinement import (
    FIELDS,
    WOBBLE,
    RefinedPair,
    Refinement,
    TileWobble,
    places_digest,
    stored_wobble,
    write_refinement,
)
from teralign.stitching.wobble import (
    WOBBLE_STAGE,
    SlicesBlock,
    SlicesMeasurer,
    shifts_of_pair,
    slices_blocks,
    solve_wobble,
)
from teralign.tasks.inputs import refuse_existing
from teralign.tiles import TileReader, TileSet, read_tiles

log = logging.getLogger(__name__)

_VOXEL_SECONDS = 2.4e-6  # CPU time of a voxel of a block, read and compared


@dataclass(frozen=True)
class RefinedTiles:
    """The folder written; the pairs compared, those whose tiles are bent, and the reasons of the others.

    The correlations are medians of the mean local correlation of the bent pairs, and `median_voxels` is that of their
    displacements, None without any; `largest_voxels` is the largest. `wobbling` counts tiles whose slices are put
    back, `resumed` blocks of an earlier run.
    """

    output: str
    pairs: int
    bent: int
    reasons: dict[str, int]
    correlation_before: float | None
    correlation: float | None
    median_voxels: float | None
    largest_voxels: float
    wobbling: int
    resumed: int


class RefineTilesOptions(TypedDict, total=False):
    """Options of `refine_tiles`.

    `smoothness` (µm) is the length below which bends are not followed, by default as short as the images tell. With
    `wobble`, slices of a tile that are shifted against one another along y and x are found first.
    """

    wobble: bool
    smoothness: float | None
    overwrite: bool


def refine_tiles(
    solved: str | Path,
    pairs: str | Path,
    output: str | Path,
    *,
    compute: Compute = Compute(),
    **options: Unpack[RefineTilesOptions],
) -> RefinedTiles:
    """Measure how bent the tiles of all pairs with evidence are, and write that into the folder `output`.

    Raises InputError for bad input before any work, DataError for a tile that cannot be read.
    """
    work = _opened(Path(solved), Path(pairs), Path(output), **options)
    _plan(work, compute.capacity())
    key = {
        "task": "refine-tiles",
        "version": teralign.__version__,
        "places": places_digest(work.tiles),
        "pairs": [(block.fixed.name, block.moving.name) for block in work.blocks if block.part == 0],
        "channel": work.channel,
        "config": work.config.model_dump(),
        "wobble": bool(work.slices),
    }
    with Workspace.of(work.output, compute.work_dir) as workspace:
        workspace.prepare(key)
        built = workspace.output / "refinement"
        (built / FIELDS).mkdir(parents=True, exist_ok=True)
        with compute.connect() as client:
            wobble: tuple[TileWobble, ...] = ()
            if work.slices:
                measurer = SlicesMeasurer(work.reader, work.channel, workspace)
                run_blocks(measurer, work.slices, client=client, workspace=workspace, stage=WOBBLE_STAGE)
                wobble = _wobble(work, workspace, built)
            stored = stored_wobble(built, wobble)
            refiner = OverlapRefiner(work.reader, work.channel, work.config, workspace, stored)
            summary = run_blocks(refiner, work.blocks, client=client, workspace=workspace, stage=REFINE_STAGE)
        records = {record.block: record for record in workspace.records(REFINE_STAGE, OverlapRecord)}
        found = []
        for _, group in groupby(work.blocks, key=lambda block: block.number):
            found.append(_refined(list(group), records, workspace, built, work.tiles))
        write_refinement(built, Refinement(work.channel, places_digest(work.tiles), tuple(found), wobble))
        workspace.finish(built, work.output, overwrite=bool(options.get("overwrite")))
    result = _result(str(output), found, wobble, summary.resumed)
    log.info("%s of %s bent", counted(result.bent, "pair"), result.pairs)
    return result


def plan_refine_tiles(
    solved: str | Path,
    pairs: str | Path,
    output: str | Path,
    *,
    compute: Compute = Compute(),
    **options: Unpack[RefineTilesOptions],
) -> Plan:
    """Return the plan of `refine_tiles` with the same arguments; writes nothing."""
    return _plan(_opened(Path(solved), Path(pairs), Path(output), **options), compute.capacity())


@dataclass(frozen=True)
class _Work:
    """The tiles, the blocks of all pairs in order, and how they are compared."""

    tiles: TileSet
    reader: TileReader
    blocks: Sequence[OverlapBlock]
    slices: Sequence[SlicesBlock]
    channel: int
    config: DeformConfig
    output: Path


def _opened(
    solved: Path,
    pairs: Path,
    output: Path,
    *,
    wobble: bool = False,
    smoothness: float | None = None,
    overwrite: bool = False,
) -> _Work:
    """Return the work, after all checks of the input."""
    refuse_existing(output, overwrite=overwrite, what="output")
    tiles, measured = read_tiles(solved), read_pairs(pairs)
    if tiles.solution is None:
        raise InputError(f"{solved} has positions as the stage says; give the document that solve-tiles wrote.")
    if not 0 <= measured.channel < len(tiles.channels):
        raise InputError(f"{pairs} is of channel {measured.channel}, which {solved} lacks; give its own pairs.")
    good = [pair for pair in measured.pairs if pair.evidence]
    ends = [(tiles.by_name(pair.fixed), tiles.by_name(pair.moving)) for pair in good]
    ends = [(fixed, moving) for fixed, moving in ends if fixed.state == moving.state == "present"]
    numbered = [(number, *pair, tiles.spacing) for number, pair in enumerate(ends)]
    blocks = [block for pair in numbered for block in overlap_blocks(*pair)]
    slices = [block for pair in numbered for block in slices_blocks(*pair)] if wobble else []
    if not blocks:
        raise InputError(
            f"no pair of {pairs} has evidence and an overlap that is large enough; there is nothing to refine."
        )
    # Sent to the workers with every block: all tiles would be too many.
    reader = TileReader(replace(tiles, tiles=tiles.tiles[:1], solution=None), solved.absolute().parent)
    config = DeformConfig(smoothness=smoothness).with_window_for(math.prod(tiles.spacing) ** (1 / 3))
    return _Work(tiles, reader, blocks, slices, measured.channel, config, output)


def _wobble(work: _Work, workspace: Workspace, built: Path) -> tuple[TileWobble, ...]:
    """Return the tiles whose slices are shifted, and store these shifts."""
    names = {name for block in work.slices for name in (block.fixed.name, block.moving.name)}
    tiles = [tile for tile in work.tiles.tiles if tile.name in names]
    counts = [tile.shape[0] for tile in tiles]
    starts = {tile.name: sum(counts[:k]) for k, tile in enumerate(tiles)}
    pairs = []
    for _, group in groupby(work.slices, key=lambda block: block.number):
        blocks = [b for b in group if workspace.payload(WOBBLE_STAGE, b.name, ".npy").exists()]
        told = (np.load(workspace.payload(WOBBLE_STAGE, block.name, ".npy")) for block in blocks)
        if blocks and (shifts := shifts_of_pair(blocks, told, starts)) is not None:
            pairs.append(shifts)
    wobble: NDArray[np.float32] = solve_wobble(pairs, sum(counts)).astype(np.float32)
    with writing(built / WOBBLE) as file:
        np.save(file, wobble)
    found = []
    for tile in tiles:
        own = wobble[starts[tile.name] :][: tile.shape[0]]
        y, x = np.sqrt(np.mean(np.square(own, dtype=np.float64), axis=0))
        if own.any():
            found.append(TileWobble(tile.name, starts[tile.name], (float(y), float(x)), float(np.abs(own).max())))
    return tuple(found)


def _refined(
    blocks: Sequence[OverlapBlock],
    records: dict[str, OverlapRecord],
    workspace: Workspace,
    built: Path,
    tiles: TileSet,
) -> RefinedPair:
    """Return what the blocks of a pair say, and store its field where it is bent."""
    told = [records[block.name] for block in blocks if block.name in records]
    if len(told) != len(blocks):
        raise DataError(f"{workspace.path} lacks the records of some blocks; remove it and run again.")
    first, spacing = blocks[0], tiles.spacing
    bent = [record.reason is None for record in told]
    name, lengths = "", np.zeros(1)
    if any(bent):

        def load(block: OverlapBlock) -> NDArray[np.float32]:
            field: NDArray[np.float32] = np.load(workspace.payload(REFINE_STAGE, block.name, ".npy"))
            return field

        fields = (load(block) if used else None for block, used in zip(blocks, bent, strict=True))
        values = blended(blocks, fields, spacing)
        lengths = np.linalg.norm(values / np.array(spacing, np.float32), axis=-1)
        name = f"{first.number:06d}.npy"
        with writing(built / FIELDS / name) as file:
            np.save(file, values)
    reasons = [record.reason for record in told if record.reason]
    return RefinedPair(
        fixed=first.fixed.name,
        moving=first.moving.name,
        reason="" if name else max(reasons, key=reasons.count),
        correlation_before=_mean([(r.before, r.voxels) for r in told]),
        correlation=_mean([(r.after if used else r.before, r.voxels) for r, used in zip(told, bent, strict=True)]),
        median_voxels=float(np.median(lengths)),
        largest_voxels=float(lengths.max()),
        field=name,
        start=first.whole.start,
        strides=strides_for(spacing),
    )


def _plan(work: _Work, capacity: Capacity) -> Plan:
    """Return the plan; InputError when a block is too large for a worker."""
    step = max(1, len(work.blocks) // SAMPLED)
    sampled = work.blocks[::step]
    sizes = [block.seen.size + moving_region(block, work.tiles.spacing).size for block in sampled]
    voxels = sum(sizes) * len(work.blocks) // len(sampled)
    largest = sampled[sizes.index(max(sizes))]
    nodes = voxels // 2 // math.prod(strides_for(work.tiles.spacing))
    plan = Plan(
        output=str(work.output),
        blocks=({WOBBLE_STAGE: len(work.slices)} if work.slices else {}) | {REFINE_STAGE: len(work.blocks)},
        read_bytes=2 * voxels,
        write_bytes=12 * nodes,
        worker_memory_bytes=WORKER_BYTES + max(sizes) // 2 * REFINE_BYTES,
        estimated_seconds=round(START_SECONDS + capacity.seconds(voxels / 2 * _VOXEL_SECONDS, len(work.blocks))),
        largest_block=f"{largest.fixed.name} and {largest.moving.name}",
    )
    return plan.checked(capacity)


def _result(output: str, pairs: Sequence[RefinedPair], wobble: Sequence[TileWobble], resumed: int) -> RefinedTiles:
    bent = [pair for pair in pairs if pair.field]
    return RefinedTiles(
        output=output,
        pairs=len(pairs),
        bent=len(bent),
        reasons=dict(sorted(Counter(pair.reason for pair in pairs if not pair.field).items())),
        correlation_before=_median(pair.correlation_before for pair in bent),
        correlation=_median(pair.correlation for pair in bent),
        median_voxels=_median(pair.median_voxels for pair in bent),
        largest_voxels=max((pair.largest_voxels for pair in bent), default=0.0),
        wobbling=len(wobble),
        resumed=resumed,
    )


def _mean(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of the values that are known, weighed by their voxels."""
    known = [(value, voxels) for value, voxels in values if value is not None]
    return sum(v * n for v, n in known) / sum(n for _, n in known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
