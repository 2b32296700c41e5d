"""Blocks that confirm a map: their structures agree best where the map says, not elsewhere.

For a block of the fixed image, r(d) is Pearson's correlation with the moving image shifted by d voxels, for all
shifts of up to `REACH` voxels an axis. The map is confirmed where the largest r within `_NEAR` voxels of the map
exceeds all r from `_FAR` voxels on. Of two unrelated images the largest r lies anywhere, so a block confirms by
chance where the near shifts win among all: rarely, and less rarely after a deformation has pulled structures
together.

Blocks hold about the same number of voxels whatever the shape of the volume: in a slab of few planes they are thin
and wide. They overlap by half along each axis, so that little is lost at faces and in small volumes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from teralign.grids import Bools, Floats, Region, Triple, as_triple
from teralign.registration.image import Volume32
from teralign.trust.structures import Structures

SIDE = 20
"""Voxels along the edge of a block that is a cube: some cells, which no other place repeats."""
REACH = 8
"""Voxels: the largest shift along an axis."""
_WIDEST = 2 * SIDE  # of a block in a slab: a wider one spans more deformation than the near shifts allow
_MOST = 400  # blocks: beyond, they overlap less, so that the cost is bounded
_NEAR, _FAR = 2, 5  # voxels: within the first a map is right, from the second on it is wrong
_STRONG = 4.0  # standard deviations of r over the far shifts: chance alone reaches it in 2 % of blocks
_COVERED, _SHOWN = 0.6, 0.75  # least shares of a block's voxels inside both images, and with structures
_INSIDE = 0.5  # least share of them that no surface is beside, of which the others are shares
_FAINT = 0.15  # of the structures' usual strength, below which a block shows but the pattern of a camera
_INVERTED = -0.1  # median correlation at the map below which bright and dark are exchanged


@dataclass(frozen=True)
class Examined:
    """A block of the overview: the voxels of its `region`, and what its correlations say.

    `near` and `far` are the largest correlations close to the map and away from it, `spread` the standard deviation
    of the far ones, `strength` how far `near` exceeds the mean of the far ones, in units of `spread`. `offset` is the
    shift (z, y, x) in voxels of the largest correlation of all.
    """

    region: Region
    near: float
    far: float
    spread: float
    strength: float
    offset: Triple

    @property
    def margin(self) -> float:
        """By how much the correlation at the map exceeds that elsewhere."""
        return self.near - self.far

    @property
    def confirmed(self) -> bool:
        """True if the block's structures agree best where the map says."""
        return self.near > self.far

    @property
    def strong(self) -> bool:
        """True if the block confirms the map by a peak that chance seldom makes."""
        return self.confirmed and self.strength > _STRONG

    @property
    def refuted(self) -> bool:
        """True if the structures agree elsewhere, by a peak that chance seldom makes."""
        return not self.confirmed and self.strength + (self.far - self.near) / max(self.spread, 1e-9) > _STRONG


@dataclass(frozen=True)
class Examination:
    """The blocks that were compared, and those that could not be: where the moving image is `empty`, or `outside`.

    All of them show structures in the fixed image. `at_surfaces` are those that show little but the surfaces of
    tissue, in either image: they would say that two outlines agree. `independent` is the share of blocks that do not
    overlap others: n blocks are worth n · `independent`. `inverted` is True if bright and dark are exchanged.
    """

    blocks: Sequence[Examined]
    empty: Sequence[Region]
    outside: Sequence[Region]
    at_surfaces: Sequence[Region]
    independent: float
    inverted: bool


def examine(structures: Structures) -> Examination:
    """Compare the blocks that show structures in both images; in the order z, y, x."""
    shape = block_shape(structures.grid.shape)
    regions, independent = _lattice(structures.grid.shape, shape)
    showing = structures.fixed_shows | ~structures.fixed_inside
    shown = [r for r in regions if showing[r.slices].mean() >= _SHOWN]
    shown = _not_faint(structures.fixed, shown)
    covered = [r for r in shown if structures.covered[r.slices].mean() >= _COVERED]
    both = structures.fixed_inside & structures.moving_inside
    between = [r for r in covered if both[r.slices].mean() >= _INSIDE]
    moving = structures.moving_shows, structures.moving_inside
    full = [r for r in between if _shows(*moving, r) >= _SHOWN * _COVERED]
    reach = [min(REACH, n // 4) for n in structures.grid.shape]
    correlator = _Correlator.of(structures, shape, reach)
    found = [correlator(region) for region in full]
    centre = tuple(reach)
    inverted = bool(found) and float(np.median([r[centre] for r in found])) < _INVERTED
    shifts = _shifts(reach)
    return Examination(
        blocks=[_examined(region, -r if inverted else r, shifts) for region, r in zip(full, found, strict=True)],
        empty=[r for r in between if r not in set(full)],
        outside=[r for r in shown if r not in set(covered)],
        at_surfaces=[r for r in covered if r not in set(between)],
        independent=independent,
        inverted=inverted,
    )


def _shows(shows: Bools, inside: Bools, region: Region) -> float:
    """Return the share of the voxels of a block, of those that no surface is beside, that show structures."""
    counts = inside[region.slices]
    return float((shows[region.slices] & counts).sum() / max(1, counts.sum()))


def block_shape(shape: Triple) -> Triple:
    """Return the voxels (z, y, x) of a block in a volume of this shape: a cube, or as large if an axis is short."""
    sides, left = [0, 0, 0], float(SIDE**3)
    for rank, axis in enumerate(np.argsort(shape, kind="stable").tolist()):
        side = round(left ** (1 / (3 - rank)))
        sides[axis] = max(1, min(shape[axis], side, _WIDEST))
        left /= sides[axis]
    return as_triple(sides)


def _lattice(shape: Triple, block: Triple) -> tuple[list[Region], float]:
    """Return blocks over a whole volume, and the share of them that do not overlap."""
    overlap = 2
    if math.prod(2 * n / b for n, b in zip(shape, block, strict=True)) > _MOST:
        overlap = 1
    axes = [_starts(n, b, b / overlap) for n, b in zip(shape, block, strict=True)]
    apart = [n / b for n, b in zip(shape, block, strict=True)]
    regions = [Region(as_triple(s), as_triple(np.add(s, block))) for s in itertools.product(*axes)]
    return regions, min(1.0, math.prod(apart) / len(regions))


def _starts(n: int, block: int, step: float) -> list[int]:
    """Return where blocks along an axis of n voxels begin: evenly, about a `step` apart, the last at the end."""
    steps = max(1, round((n - block) / step)) if n > block else 0
    return [round(i * (n - block) / steps) for i in range(steps + 1)] if steps else [0]


def _not_faint(fixed: Volume32, regions: list[Region]) -> list[Region]:
    deviations = [float(fixed[r.slices].std()) for r in regions]
    least = _FAINT * float(np.percentile(deviations, 90)) if deviations else 0.0
    return [r for r, deviation in zip(regions, deviations, strict=True) if deviation >= least]


@dataclass(frozen=True)
class _Correlator:
    """Correlations of blocks of the fixed image with the moving one, `reach` voxels and less from their place.

    `padded` is the moving image with `reach` more voxels on each side, and `variance` the sum of squares about the
    mean in the box of a block that begins at each of its voxels.
    """

    fixed: Volume32
    padded: Volume32
    variance: Floats
    reach: Sequence[int]

    @classmethod
    def of(cls, structures: Structures, block: Triple, reach: Sequence[int]) -> _Correlator:
        """Return the correlator of blocks of this shape."""
        padded = np.pad(structures.moving, [(r, r) for r in reach])
        wide = padded.astype(np.float64)
        squares = _box_sums(wide**2, block)
        variance = squares - _box_sums(wide, block) ** 2 / math.prod(block)
        # A window of one value, masked or outside, agrees with nothing.
        empty = variance <= 1e-6 * float(squares.max())
        return cls(structures.fixed, padded, np.where(empty, np.inf, variance), reach)

    def __call__(self, region: Region) -> Floats:
        """Return r(d) of a block, 2 reach + 1 shifts an axis."""
        block = self.fixed[region.slices] - self.fixed[region.slices].mean()
        stop = as_triple(b + 2 * r for b, r in zip(region.stop, self.reach, strict=True))
        moving = self.padded[Region(region.start, stop).slices]
        shape = [fft.next_fast_len(n, real=True) for n in moving.shape]
        spectrum = np.conj(fft.rfftn(block, shape)) * fft.rfftn(moving, shape)
        shifts = tuple(slice(0, 2 * r + 1) for r in self.reach)
        products = fft.irfftn(spectrum, shape)[shifts]
        starts = tuple(slice(a, a + 2 * r + 1) for a, r in zip(region.start, self.reach, strict=True))
        power = self.variance[starts] * max(float((block.astype(np.float64) ** 2).sum()), np.finfo(np.float64).tiny)
        result: Floats = products / np.sqrt(power)
        return result


def _box_sums(array: Floats, shape: Sequence[int]) -> Floats:
    """Return the sums over all boxes of `shape` that lie in `array`, by their first voxel."""
    sums = array
    for axis, n in enumerate(shape):
        edge = np.insert(np.cumsum(sums, axis=axis), 0, 0, axis=axis)
        last = edge.shape[axis]
        sums = np.take(edge, range(n, last), axis=axis) - np.take(edge, range(last - n), axis=axis)
    return sums


@dataclass(frozen=True)
class _Shifts:
    """All shifts (n, 3) in voxels, and which of them, on the lattice (z, y, x), are near the map and far from it."""

    all: Floats
    near: Bools
    far: Bools


def _shifts(reach: Sequence[int]) -> _Shifts:
    axes = [np.arange(-r, r + 1) for r in reach]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distance = np.abs(lattice).max(axis=-1)
    return _Shifts(lattice.reshape(-1, 3).astype(np.float64), distance <= _NEAR, distance >= _FAR)


def _examined(region: Region, r: Floats, shifts: _Shifts) -> Examined:
    near, others = float(r[shifts.near].max()), r[shifts.far]
    if not others.size:
        return Examined(region, near, near, 0.0, 0.0, (0, 0, 0))
    spread = float(others.std())
    strength = (near - float(others.mean())) / spread if spread > 0 else 0.0
    offset = as_triple(shifts.all[int(np.argmax(r))])
    return Examined(region, near, float(others.max()), spread, strength, offset)
