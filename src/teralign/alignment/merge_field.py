"""Screening of the blocks' fields, and their merging into one field.

A block's correction is the difference between its field and the field of the coarser stage (0 in the coarsest stage).

Screening: the mean correction of a block (0 where it kept its start) is compared with the median of its neighbours'
mean corrections. The block is an outlier and is not used if it differs by more than `OUTLIER_SHARE` of its extent and
by more than `OUTLIER_SPREADS` times the spread of its neighbours (their median distance from that median).

Filling: a block without a field of its own (failed, empty, outside, outlier) gets the coarser field plus the mean
corrections of the nearest blocks that have a field, weighted by the inverse square of their distance (Shepard 1968,
"A two-dimensional interpolation function for irregularly-spaced data"). Where no block has a field, the coarser field
alone remains.

Outside a region of interest the field returns to the start, 0: a node has the field of the nearest node of the
region, less of it the farther it lies from there. The distance of the return is a multiple of the greatest
displacement, so that the return squeezes space by a small, known share. Blocks outside the region add nothing.

Merging: each chunk of the output is the sum of the blocks that touch it, in their order, with weights that add up to
1. Each chunk has a single writer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from teralign.alignment.align_block import node_region
from teralign.alignment.records import MergedChunk
from teralign.alignment.stages import BlockLayout
from teralign.blockwise import Block, Workspace, WriteUnit
from teralign.files import write_arrays, writing
from teralign.grids import Floats, Region, Triple, as_triple
from teralign.transforms import (
    DisplacementField,
    FieldWriter,
    Stack,
    StoredField,
    as_field,
    folding,
)

OUTLIER_SHARE = 0.15  # an affine slope over the blocks passes; decisions: outliers-by-median
OUTLIER_SPREADS = 6.0  # where the neighbours themselves differ, a block may differ more
NEIGHBOURS = 8  # blocks that fill a block: about those around it
RETURN = 8.0  # greatest displacements; the steepest slope of the return is 1.5 / RETURN, so space keeps 80 %


@dataclass(frozen=True)
class UsableBlocks:
    """The blocks that have a field: their indices in the plan (n, 3), and mean corrections (n, 3; z, y, x) in µm."""

    index: NDArray[np.int64]
    correction: Floats

    def save(self, path: Path) -> None:
        """Store the blocks for the workers."""
        with writing(path) as file:
            write_arrays(file, {"index": self.index, "correction": self.correction})

    @classmethod
    def load(cls, path: Path) -> UsableBlocks:
        """Return what `save` stored; each process reads it once and merges many chunks."""
        return _load(path, path.stat().st_mtime_ns)

    def has(self, index: Triple) -> bool:
        """Return whether the block at `index` has a field."""
        inside = all(i < n for i, n in zip(index, self._present.shape, strict=True))
        return inside and bool(self._present[index])

    def nearest(self, index: Triple) -> NDArray[np.intp]:
        """Return the rows of the few blocks nearest to `index`; none where there is no block."""
        count = min(NEIGHBOURS, len(self.index))
        return np.atleast_1d(self._tree.query(index, k=count)[1]) if count else np.empty(0, np.intp)

    @functools.cached_property
    def _present(self) -> NDArray[np.bool_]:
        """The lattice of blocks up to the last one along each axis, True where a block has a field; a byte each."""
        index = self.index.astype(np.int64)
        lattice = np.zeros(index.max(axis=0, initial=-1) + 1, dtype=bool)
        lattice[tuple(index.T)] = True
        return lattice

    @functools.cached_property
    def _tree(self) -> Any:  # noqa: ANN401 - scipy has no types
        return cKDTree(self.index)


@functools.lru_cache(maxsize=1)
def _load(path: Path, _changed: int) -> UsableBlocks:
    with np.load(path) as file:
        return UsableBlocks(file["index"], file["correction"])


def find_outliers(blocks: UsableBlocks, extent: Sequence[float]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the blocks that are outliers; `extent` (z, y, x) is a block's size in µm.

    A block with fewer than three neighbours is never an outlier.
    """
    outlier = np.zeros(len(blocks.index), dtype=bool)
    if len(outlier) < 4:
        return outlier
    limit = OUTLIER_SHARE * min(extent)
    tree = cKDTree(blocks.index)
    for i, place in enumerate(blocks.index):
        neighbours = tree.query_ball_point(place, r=1.8)  # blocks that share a face, an edge (√2) or a corner (√3)
        others = blocks.correction[[j for j in neighbours if j != i]]
        if len(others) < 3:
            continue
        middle = np.median(others, axis=0)
        spread = float(np.median(np.linalg.norm(others - middle, axis=1)))
        outlier[i] = np.linalg.norm(blocks.correction[i] - middle) > max(limit, OUTLIER_SPREADS * spread)
    return outlier


@dataclass(frozen=True)
class FieldMerger:
    """Merges any chunk of the output field. Picklable.

    `box` are the fixed voxels of the region of interest, and `fade` is the distance from it in µm at which the field
    has returned to the start. `aligned` is the stage of the blocks' fields, `usable` the file of the `UsableBlocks`,
    and `coarse` the merged field of the stage before.
    """

    layout: BlockLayout
    box: Region
    fade: float
    aligned: str
    usable: Path
    coarse: StoredField | None
    workspace: Workspace
    writer: FieldWriter

    def __call__(self, chunk: WriteUnit) -> MergedChunk:
        """Sum, store and check one chunk of nodes, and return its record."""
        region = chunk.core.grow((1, 1, 1)).intersect(self.layout.nodes.region)
        field = DisplacementField(self.merge(region), self.layout.nodes, region)
        self.writer.write(chunk.core, np.ascontiguousarray(field.values[chunk.core.relative_to(region).slices]))
        found = folding(field)
        return MergedChunk(min_jacobian=found.min_jacobian, folded=found.share)

    def merge(self, region: Region) -> NDArray[np.float32]:
        """Return the merged field (z, y, x, 3) in µm over a region of nodes."""
        if self.box == self.layout.grid.region:
            return self._merged(region)
        box, nodes = self._box_nodes(), self.layout.nodes
        wanted = [np.arange(a, b) for a, b in zip(region.start, region.stop, strict=True)]
        nearest = [np.clip(i, a, b - 1) for i, a, b in zip(wanted, box.start, box.stop, strict=True)]
        z, y, x = (((i - j) * d) ** 2 for i, j, d in zip(wanted, nearest, nodes.spacing, strict=True))
        away = np.minimum(np.sqrt(z[:, None, None] + y[None, :, None] + x[None, None, :]) / self.fade, 1.0)
        if away.min() == 1:
            return np.zeros((*region.shape, 3), np.float32)
        part = Region(as_triple(int(i[0]) for i in nearest), as_triple(int(i[-1]) + 1 for i in nearest))
        places = np.ix_(*(i - a for i, a in zip(nearest, part.start, strict=True)))
        left = 1 - away**2 * (3 - 2 * away)
        return np.asarray(left[..., None] * self._merged(part)[places], dtype=np.float32)

    def _box_nodes(self) -> Region:
        """Return the nodes of the region of interest, with those between which its outermost voxels lie."""
        strides = self.layout.strides
        start = as_triple(a // s for a, s in zip(self.box.start, strides, strict=True))
        stop = as_triple(-(-(b - 1) // s) + 1 for b, s in zip(self.box.stop, strides, strict=True))
        return Region(start, stop).intersect(self.layout.nodes.region)

    def _merged(self, region: Region) -> NDArray[np.float32]:
        """Return the sum of the blocks (z, y, x, 3) in µm over a region of nodes, which lies in the box."""
        usable = UsableBlocks.load(self.usable)
        total = np.zeros((*region.shape, 3))
        weight = np.zeros((*region.shape, 1))
        for block in self.layout.blocks.touching(self._voxels(region)):
            own = node_region(block, self.layout.strides, self.layout.nodes)
            part = own.intersect(region)
            if part.size == 0 or block.region.intersect(self.box).size == 0:
                continue
            values: NDArray[Any]
            if usable.has(block.index):
                values = self._stored(block)[part.relative_to(own).slices]
            else:
                values = self._filled(block, part, usable)
            w = self.layout.blocks.blend_weights(block, self._axes(part))[..., None]
            inside = part.relative_to(region).slices
            total[inside] += w * values
            weight[inside] += w
        return np.asarray(total / weight, dtype=np.float32)

    def _stored(self, block: Block) -> NDArray[np.float32]:
        values: NDArray[np.float32] = np.load(self.workspace.payload(self.aligned, block.name, ".npy"), mmap_mode="r")
        return values

    def _filled(self, block: Block, part: Region, usable: UsableBlocks) -> Floats:
        """Return the coarser field plus the corrections of the nearest blocks (z, y, x, 3) at the nodes of `part`."""
        coarse = self._coarse(part)
        neighbours = usable.nearest(block.index)
        if neighbours.size == 0:
            return coarse
        grid = self.layout.grid
        axes = [o + s * at for o, s, at in zip(grid.origin, grid.spacing, self._axes(part), strict=True)]
        total, weight = np.zeros((*part.shape, 3)), np.zeros((*part.shape, 1))
        for i in neighbours:
            core = grid.crop(self.layout.blocks.block(usable.index[i].tolist()).core)
            z, y, x = ((at - c) ** 2 for at, c in zip(axes, core.centre, strict=True))
            distance = z[:, None, None] + y[None, :, None] + x[None, None, :]
            w = 1 / (distance[..., None] + min(self.layout.grid.spacing) ** 2)
            total += w * usable.correction[i]
            weight += w
        return coarse + total / weight

    def _coarse(self, part: Region) -> Floats:
        """Return the field of the stage before (z, y, x, 3) at the nodes of `part`."""
        if self.coarse is None:
            return np.zeros((*part.shape, 3))
        nodes = self.layout.nodes
        low, high = nodes.to_physical(part.start), nodes.to_physical(np.array(part.stop) - 1)
        return as_field(Stack((self.coarse.load(low, high),)), nodes, region=part).values.astype(np.float64)

    def _voxels(self, nodes: Region) -> Region:
        """Return the fixed voxels between these nodes, at least one along each axis, cut to the volume."""
        last = [n - 1 for n in self.layout.grid.shape]
        start = [min(a * s, m) for a, s, m in zip(nodes.start, self.layout.strides, last, strict=True)]
        stop = [min((b - 1) * s, m) + 1 for b, s, m in zip(nodes.stop, self.layout.strides, last, strict=True)]
        return Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def _axes(self, nodes: Region) -> list[Floats]:
        """Return the positions of the nodes along (z, y, x), in fixed voxels."""
        return [
            np.arange(a, b, dtype=np.float64) * s
            for a, b, s in zip(nodes.start, nodes.stop, self.layout.strides, strict=True)
        ]
