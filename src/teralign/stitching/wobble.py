"""Wobble: slices of a tile that are shifted along y and x against one another, by vibration or a drifting sheet.

Each slice of an overlap is measured as a pair of tiles is, against the slice of the other tile that lies nearest.
With w_t(k) the shift of slice k of tile t, a pair (i, j) tells s(k) = w_j(k + d) − w_i(k) + c, where c is what its
slices have in common. All w and c solve

    Σ ρ/σ² · (w_j − w_i + c − s)² + Σ w²/τ²

along each axis: ρ are the weights of Geman and McClure, at a scale that falls, which leave wrong slices out, and τ is
the deviation of wobble that the scatter of s tells beyond its errors σ. So a slice without evidence keeps its place,
and where slices scatter by no more than their errors nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from teralign.blockwise import BlockRecord, BlockState, Workspace
from teralign.files import writing
from teralign.grids import Floats, FloatTriple, Region, as_triple
from teralign.stitching.align_pairs import PAIRS_A_FOLDER
from teralign.stitching.measure import measure_shift
from teralign.stitching.refine_pairs import onto, overlap_region
from teralign.tiles import Tile, TileReader

WOBBLE_STAGE = "wobble"
"""The stage of the run."""

_SLICES = 64  # of a block
_SEARCHED = 6  # voxels by which slices may be off
_LEAST_TOLD = 16  # slices of a pair with evidence: fewer do not tell what they have in common
_LEAST_WOBBLE = 0.08  # voxels: less is below what a pair is known to
_SCALES = (
    8.0,
    4.0,
    2.0,
    1.0,
    1.0,
    1.0,
    1.0,
    1.0,
)  # voxels: residuals that quarter a weight, from the worst to a wrong slice


@dataclass(frozen=True)
class SlicesBlock:
    """Slices `start` to `stop` of the fixed tile of a pair, and its voxels `whole` that the moving tile covers.

    Voxel p of the fixed tile lies at p + `away` in the moving one, in the middle of the overlap.
    """

    number: int
    part: int
    fixed: Tile
    moving: Tile
    whole: Region
    start: int
    stop: int
    away: FloatTriple

    @property
    def name(self) -> str:
        """The name in files and messages."""
        return f"w{self.number // PAIRS_A_FOLDER:03d}_{self.number:06d}_{self.part:05d}"

    @property
    def apart(self) -> int:
        """The number of slices by which the moving tile shows the same tissue later."""
        return round(self.away[0])

    def regions(self) -> tuple[Region, Region]:
        """Return the voxels of the fixed and of the moving tile."""
        seen = Region((self.start, *self.whole.start[1:]), (self.stop, *self.whole.stop[1:]))
        there = seen.shift(as_triple((self.apart, *np.rint(self.away[1:])))).grow((0, _SEARCHED, _SEARCHED))
        return seen, there.intersect(Region.whole(self.moving.shape))


def slices_blocks(number: int, fixed: Tile, moving: Tile, spacing: FloatTriple) -> tuple[SlicesBlock, ...]:
    """Return the blocks of a pair, none where tiles share too little."""
    whole = overlap_region(fixed, moving, spacing)
    if whole is None:
        return ()
    middle = (np.add(whole.start, whole.stop) - 1) / 2
    matrix = onto(fixed, moving)
    z, y, x = (matrix[:3, :3] @ (middle * spacing) + matrix[:3, 3]) / spacing - middle
    first = max(whole.start[0], -round(z))
    last = min(whole.stop[0], moving.shape[0] - round(z))
    return tuple(
        SlicesBlock(number, part, fixed, moving, whole, start, min(start + _SLICES, last), (z, y, x))
        for part, start in enumerate(range(first, last, _SLICES))
    )


@dataclass(frozen=True)
class SlicesMeasurer:
    """Measures each slice of a block, and stores shifts and their errors (slices, 4) voxels. Picklable."""

    reader: TileReader
    channel: int
    workspace: Workspace

    def __call__(self, block: SlicesBlock) -> BlockRecord:
        """Return the record of a block, whose payload has (y, x) and their errors, NaN without evidence."""
        seen, there = block.regions()
        if min(*seen.shape, *there.shape) < 1:
            return BlockRecord(state=BlockState.OUTSIDE)
        fixed = self.reader.read(block.fixed, self.channel, seen)
        moving = self.reader.read(block.moving, self.channel, there)
        offset = np.subtract(there.start, seen.start) - block.away
        found = np.full((len(fixed), 4), np.nan, np.float32)
        for k, (one, other) in enumerate(zip(fixed, moving, strict=True)):
            search = (0, _SEARCHED, _SEARCHED)
            told = measure_shift(one[None], other[None], (0.0, offset[1], offset[2]), search)
            if told.evidence:
                found[k] = (*told.shift[1:], *told.error[1:])
        with writing(self.workspace.payload(WOBBLE_STAGE, block.name, ".npy")) as file:
            np.save(file, found)
        return BlockRecord()


@dataclass(frozen=True)
class SliceShifts:
    """The shifts of slices of a pair: `first` and `second` are their places among all slices of all tiles.

    `shifts` and `errors` are (n, 2) voxels.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shifts: Floats
    errors: Floats


def shifts_of_pair(
    blocks: Sequence[SlicesBlock], found: Iterable[NDArray[np.float32]], starts: Mapping[str, int]
) -> SliceShifts | None:
    """Return what the blocks of a pair tell, without what its slices have in common; None where it is too little.

    `starts` are the places of the first slices of tiles among all slices.
    """
    slices = np.concatenate([np.arange(block.start, block.stop) for block in blocks])
    told = np.concatenate([np.asarray(part, np.float64) for part in found])
    good = np.isfinite(told).all(axis=1)
    if good.sum() < _LEAST_TOLD:
        return None
    slices, shifts, errors = slices[good], told[good, :2], told[good, 2:]
    fixed, moving = starts[blocks[0].fixed.name], starts[blocks[0].moving.name]
    return SliceShifts(fixed + slices, moving + slices + blocks[0].apart, shifts - np.median(shifts, axis=0), errors)


def solve_wobble(pairs: Sequence[SliceShifts], count: int) -> Floats:
    """Return the wobble (count, 2) in voxels, y and x, of all slices; 0 along an axis that does not wobble."""
    wobble = np.zeros((count, 2))
    if not pairs:
        return wobble
    first, second = (np.concatenate([getattr(p, name) for p in pairs]) for name in ("first", "second"))
    rows, pair = np.arange(len(first)), np.repeat(np.arange(len(pairs)), [len(p.first) for p in pairs])
    ones = np.ones(len(rows))
    design = sparse.csr_array(  # a column for each slice, and one for what the slices of each pair have in common
        (np.concatenate([ones, -ones, ones]), (np.tile(rows, 3), np.concatenate([second, first, count + pair]))),
        (len(rows), count + len(pairs)),
    )
    for axis in range(2):
        shifts = np.concatenate([p.shifts[:, axis] for p in pairs])
        squares = np.concatenate([p.errors[:, axis] for p in pairs]) ** 2
        scatter = (1.4826 * np.median(np.abs(shifts))) ** 2
        variance = (scatter - float(np.median(squares))) / 2  # of one of the two tiles
        if variance < max(_LEAST_WOBBLE**2, float(np.median(squares)) / 4):
            continue
        weight = 1 / squares
        prior = np.repeat((1 / variance, 1 / _SEARCHED**2), (count, len(pairs)))
        for scale in _SCALES:
            normal = design.T @ sparse.diags_array(weight) @ design + sparse.diags_array(prior)
            solved = spsolve(sparse.csc_array(normal), design.T @ (weight * shifts))
            weight = 1 / squares / (1 + ((design @ solved - shifts) / scale) ** 2) ** 2
        wobble[:, axis] = solved[:count]
    return wobble
