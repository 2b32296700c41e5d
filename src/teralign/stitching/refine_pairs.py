"""Overlaps of bent tiles, in blocks: how the moving tile is bent against the fixed one, by the deformable engine.

A pair of tiles at its solved positions is compared in the voxels of the fixed tile that the moving one covers. These
are cut into blocks of bounded size that reach into one another; a block's displacement is used only if local
correlation is better with it, so that no pair fits worse than before, and only if it is more than noise makes of
straight tiles. The blocks of a pair are blended on one coarse grid of nodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.blockwise import BlockRecord, BlockState, Workspace
from teralign.cluster import worker_threads
from teralign.files import writing
from teralign.grids import Floats, FloatTriple, Grid, Region, Triple, as_triple
from teralign.registration import DeformConfig, Image
from teralign.registration.deform_engine import DeformResult, find_deformation
from teralign.stitching.align_pairs import PAIRS_A_FOLDER
from teralign.stitching.straighten import StoredWobble
from teralign.tiles import Tile, TileReader
from teralign.transforms import FIELD_STRIDE

REFINE_STAGE = "refine"
"""The stage of the run."""

STRAIGHT = "the tiles are straight here"
"""The reason of a block whose displacements may be those of noise."""

REFINE_BYTES = 32
"""Memory a voxel of a block, images and the engine's levels included: 12 to 16 beside both images were measured."""

_BLOCK = 4_000_000  # voxels of a block, without what it shares with its neighbours
_SHARED = 16  # voxels on each side that a block shares with each neighbour: more than a window of the engine
_REACH = 8  # voxels beyond the block in which the moving tile is looked for
_LEAST_SIDE = 8  # voxels along y and x: two control points
_WINDOW = 8  # nodes along each axis over which displacements are compared with those of noise
_BY_NOISE = 0.5  # of the error of a voxel: the rms of displacements in a window of straight tiles reaches 0.29


@dataclass(frozen=True)
class OverlapBlock:
    """A block of the overlap `whole` of a pair: the voxels `seen` of the fixed tile, shared with others in part."""

    number: int
    part: int
    fixed: Tile
    moving: Tile
    whole: Region
    seen: Region

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return f"p{self.number // PAIRS_A_FOLDER:03d}_{self.number:06d}_{self.part:05d}"

    def nodes(self, spacing: FloatTriple) -> Region:
        """Return the nodes that the block gives, among those of its overlap."""
        grid = Grid(self.fixed.shape, spacing)
        seen = grid.crop(self.seen).corners()
        nodes = nodes_of(self.fixed, self.whole, spacing)
        return nodes.covering(seen[0], seen[-1]).intersect(nodes.region)

    def weights(self, spacing: FloatTriple) -> NDArray[np.float32]:
        """Return the weights (z, y, x) of its nodes, which fall towards its neighbours."""
        nodes, strides = self.nodes(spacing), strides_for(spacing)
        lines = []
        for axis in range(3):
            at = np.arange(nodes.start[axis], nodes.stop[axis]) * strides[axis] + self.whole.start[axis]
            line = np.ones(len(at))
            for inner, edge in (
                (at - self.seen.start[axis], self.whole.start[axis] - self.seen.start[axis]),
                (self.seen.stop[axis] - 1 - at, self.seen.stop[axis] - self.whole.stop[axis]),
            ):
                if edge:
                    line = np.minimum(line, np.clip((inner + 1) / (2 * _SHARED + 1), 0.01, 1))
            lines.append(line)
        weights: NDArray[np.float32] = np.einsum("i,j,k->ijk", *lines).astype(np.float32)
        return weights


@dataclass(frozen=True, kw_only=True)
class OverlapRecord(BlockRecord):
    """The outcome of a block: local correlation before and after, and the voxels compared; None without structure."""

    before: float | None = None
    after: float | None = None
    voxels: int = 0


def strides_for(spacing: FloatTriple) -> Triple:
    """Return the voxels (z, y, x) between nodes, which are about as far apart along all axes."""
    edge = FIELD_STRIDE * float(np.prod(spacing)) ** (1 / 3)
    return as_triple(max(1, round(edge / size)) for size in spacing)


def nodes_of(fixed: Tile, whole: Region, spacing: FloatTriple) -> Grid:
    """Return the grid of the nodes of an overlap, µm in the frame of the fixed tile."""
    return Grid(fixed.shape, spacing).crop(whole).nodes(strides_for(spacing))


def onto(fixed: Tile, moving: Tile) -> Floats:
    """Return the matrix (4, 4) from the frame of a tile, µm from its first voxel, to that of another."""
    back = np.linalg.inv(moving.linear)
    matrix = np.eye(4)
    matrix[:3, :3] = back @ fixed.linear
    matrix[:3, 3] = back @ np.subtract(fixed.position, moving.position)
    return matrix


def overlap_blocks(number: int, fixed: Tile, moving: Tile, spacing: FloatTriple) -> tuple[OverlapBlock, ...]:
    """Return the blocks of a pair, none where the tiles share too little."""
    whole = overlap_region(fixed, moving, spacing)
    if whole is None:
        return ()
    parts = Region.whole(whole.shape).split(_part_shape(whole.shape))
    shared = (_SHARED,) * 3
    return tuple(
        OverlapBlock(number, k, fixed, moving, whole, part.shift(whole.start).grow(shared).intersect(whole))
        for k, part in enumerate(parts)
    )


def overlap_region(fixed: Tile, moving: Tile, spacing: FloatTriple) -> Region | None:
    """Return the voxels of a tile that another covers, None where they are too few."""
    last = np.array(list(itertools.product(*[(0, n - 1) for n in moving.shape]))) * spacing
    back = onto(moving, fixed)
    seen = Grid(fixed.shape, spacing).to_index(last @ back[:3, :3].T + back[:3, 3])
    box = Region(as_triple(np.ceil(seen.min(axis=0) - 1e-6)), as_triple(np.floor(seen.max(axis=0) + 1e-6) + 1))
    whole = box.intersect(Region.whole(fixed.shape))
    return whole if whole.shape[0] >= 1 and min(whole.shape[1:]) >= _LEAST_SIDE else None


def _part_shape(shape: Triple) -> Triple:
    """Return the shape of parts, cut along the longest axes until they are small enough."""
    counts = np.ones(3, int)
    while np.prod(-(-np.array(shape) // counts)) > _BLOCK:
        counts[np.argmax(np.array(shape) / counts)] += 1
    return as_triple(-(-np.array(shape) // counts))


@dataclass(frozen=True)
class OverlapRefiner:
    """Finds the displacement of a block, and stores it at its nodes in `workspace`. Picklable.

    Slices that `wobble` are put back before.
    """

    reader: TileReader
    channel: int
    config: DeformConfig
    workspace: Workspace
    wobble: StoredWobble | None = None

    def __call__(self, block: OverlapBlock) -> OverlapRecord:
        """Return the record of a block; its payload (z, y, x, 3) µm float32 is missing where nothing was better."""
        spacing = self.reader.tiles.spacing
        nodes = nodes_of(block.fixed, block.whole, spacing).crop(block.nodes(spacing))
        initial = onto(block.fixed, block.moving)
        fixed = self._image(block.fixed, block.seen)
        result = find_deformation(
            fixed,
            self._image(block.moving, moving_region(block, spacing)),
            self.config,
            initial=initial,
            field_grid=nodes,
            threads=worker_threads(),
        )
        record = OverlapRecord(
            before=_number(result.metric_before), after=_number(result.metric_after), voxels=block.seen.size
        )
        reason = result.reason or ("" if _beyond_chance(result) else STRAIGHT)
        if reason:
            return replace(record, state=BlockState.KEPT, reason=reason)
        with writing(self.workspace.payload(REFINE_STAGE, block.name, ".npy")) as file:
            np.save(file, result.field)
        return record

    def _image(self, tile: Tile, region: Region) -> Image:
        read = partial(self.reader.read, tile, self.channel)
        voxels = read(region) if self.wobble is None else self.wobble.read(tile, region, read)
        return Image(np.ascontiguousarray(voxels), Grid(tile.shape, self.reader.tiles.spacing).crop(region)).finite()


def moving_region(block: OverlapBlock, spacing: FloatTriple) -> Region:
    """Return the voxels of the moving tile in which a block is looked for."""
    corners = Grid(block.fixed.shape, spacing).crop(block.seen).corners()
    matrix = onto(block.fixed, block.moving)
    seen = corners @ matrix[:3, :3].T + matrix[:3, 3]
    grid = Grid(block.moving.shape, spacing)
    return grid.covering(seen.min(axis=0), seen.max(axis=0), _REACH).intersect(grid.region)


def blended(
    blocks: Sequence[OverlapBlock], fields: Iterator[NDArray[np.float32] | None], spacing: FloatTriple
) -> NDArray[np.float32]:
    """Return the displacement (z, y, x, 3) µm at all nodes of a pair; a block without a field is zero."""
    shape = nodes_of(blocks[0].fixed, blocks[0].whole, spacing).shape
    total, weight = np.zeros((*shape, 3), np.float32), np.zeros((*shape, 1), np.float32)
    for block, field in zip(blocks, fields, strict=True):
        at, share = block.nodes(spacing).slices, block.weights(spacing)[..., None]
        weight[at] += share
        if field is not None:
            total[at] += share * field
    return np.divide(total, weight, out=total, where=weight > 0)


def _beyond_chance(result: DeformResult) -> bool:
    """Return whether displacements are somewhere larger than noise makes them."""
    squares = np.square(result.field, dtype=np.float64).sum(axis=-1)
    largest = np.sqrt(ndimage.uniform_filter(squares, _WINDOW, mode="reflect").max())
    return bool(largest > _BY_NOISE * result.voxel_error)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
