"""Tiles fused into one volume, block by block: the source of its voxels, for the room `filling`.

A block reads the part of each tile that it needs once, in each channel. Light, balance, interpolation and weights are
applied on the fly, in float32. Where no tile is the volume is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from teralign.filling import Part
from teralign.grids import Floats, FloatTriple, Grid, Region, Triple, as_float_triple, as_triple
from teralign.stitching.fusion_kernels import (
    BRIGHTEST,
    COSINE_RAMP,
    DEEPEST,
    DEPTH,
    FAR,
    LINEAR_RAMP,
    MEAN_OF_LEAST,
    MEAN_OF_PRODUCTS,
    Float32s,
    add_tile,
    finish,
)
from teralign.stitching.mapped_kernel import add_mapped_tile
from teralign.stitching.straighten import ReadRegion
from teralign.tiles import Tile, TileReader, TileSet
from teralign.volumes import Voxels

_VOXEL_SECONDS = 0.05e-6  # CPU time from TIFF stacks to OME-Zarr with all levels, uint16, a flat field and gains
_WHOLE = 1e-3  # voxels: a fraction of a position that is not interpolated
_STRAIGHT = np.zeros((0, 0, 0, 3), np.float32)
_NARROW = 4.0  # voxels: the ramp along an axis without neighbours


class Weights(StrEnum):
    """The ways to combine overlapping tiles."""

    NONE = "none"
    LINEAR = "linear"
    COSINE = "cosine"
    DISTANCE = "distance"
    MAX = "max"


class TileInterpolation(StrEnum):
    """The ways to compute values between the voxels of a tile."""

    LINEAR = "linear"
    CUBIC = "cubic"


_HOW: Mapping[Weights, int] = {
    Weights.NONE: DEEPEST,
    Weights.LINEAR: MEAN_OF_PRODUCTS,
    Weights.COSINE: MEAN_OF_PRODUCTS,
    Weights.DISTANCE: MEAN_OF_LEAST,
    Weights.MAX: BRIGHTEST,
}
_KIND: Mapping[Weights, int] = {Weights.LINEAR: LINEAR_RAMP, Weights.COSINE: COSINE_RAMP}


class EvenLight(Protocol):
    """The correction of uneven light; a `FlatField` is one."""

    def correct(self, voxels: NDArray[np.generic], channel: int, region: Region) -> NDArray[np.float32]:
        """Return the voxels (z, y, x) of a region of a tile in even light."""
        ...


class Bends(Protocol):
    """The displacements of bent tiles; a `TileBends` is one."""

    @property
    def strides(self) -> Triple:
        """The voxels (z, y, x) between the nodes at which they are sampled."""
        ...

    @property
    def largest(self) -> float:
        """The length of the largest, in voxels."""
        ...

    def wobbles(self, tile: Tile) -> bool:
        """Return whether slices of a tile are put back as they are read."""
        ...

    def read(self, tile: Tile, region: Region, read: ReadRegion) -> NDArray[np.generic]:
        """Return a region of a tile, of which `read` returns regions, with its slices put back."""
        ...

    def at(self, tiles: Sequence[Tile], points: Floats) -> Mapping[str, Floats]:
        """Return the displacements (n, 3) µm, each in its own frame, of tiles that are bent at points (n, 3) µm."""
        ...


def fused_grid(tiles: TileSet) -> Grid:
    """Return the grid that holds all present tiles in all channels.

    Voxels lie where those of the first tile lay on the stage, so that tiles at whole voxels from one another, as
    stages place them, stay on voxels. Raises ValueError where no tile is present.
    """
    if not tiles.present:
        raise ValueError("no tile is present")
    spacing = np.array(tiles.spacing)
    anchor = np.array(tiles.present[0].stage or tiles.present[0].position)
    lows, highs = zip(*(_box(tile, tiles) for tile in tiles.present), strict=True)
    shifts = np.array([channel.shift for channel in tiles.channels])
    low = np.rint((np.min(lows, axis=0) + shifts.min(axis=0) - anchor) / spacing)
    high = np.ceil((np.max(highs, axis=0) + shifts.max(axis=0) - anchor) / spacing + 0.5 - _WHOLE)
    return Grid(as_triple(np.maximum(high - low, 1)), tiles.spacing, as_float_triple(anchor + low * spacing))


def default_ramps(tiles: TileSet) -> FloatTriple:
    """Return the width of ramps (z, y, x) in voxels: the median overlap of neighbours along the axis.

    Along an axis without neighbours ramps are narrow, so that tiles at different heights end softly.
    """
    widths: list[list[float]] = [[], [], []]
    spacing = np.array(tiles.spacing)
    for one, other in tiles.overlapping():
        apart = np.abs(np.subtract(other.position, one.position)) / spacing
        size = np.minimum(one.shape, other.shape)
        axis = int(np.argmax(apart / size))
        widths[axis].append(float(size[axis] - apart[axis]))
    return as_float_triple(float(np.median(found)) if found else _NARROW for found in widths)


def _box(tile: Tile, tiles: TileSet) -> tuple[Floats, Floats]:
    """Return the lowest and the highest of the centres of a tile's voxels, µm."""
    ends = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in tile.shape], indexing="ij")).reshape(3, 8)
    corners = tile.place_of(ends.T * tiles.spacing)
    return corners.min(axis=0), corners.max(axis=0)


@dataclass(frozen=True)
class TileFusion:
    """The voxels of a fused volume on `grid`; picklable. `ramps` (z, y, x) are in voxels.

    `light` takes out uneven light; what earlier tiles have bleached is made as bright as it was; then tiles' gains
    and offsets apply. `bends` displace tiles where they overlap.
    """

    reader: TileReader
    grid: Grid
    dtype: np.dtype[np.generic]
    ramps: FloatTriple
    weights: Weights = Weights.COSINE
    interpolation: TileInterpolation = TileInterpolation.CUBIC
    light: EvenLight | None = None
    bends: Bends | None = None
    _present: tuple[Tile, ...] = field(init=False, repr=False, compare=False)
    _starts: Floats = field(init=False, repr=False, compare=False)
    _stops: Floats = field(init=False, repr=False, compare=False)
    _lean: Floats = field(init=False, repr=False, compare=False)
    _orders: Floats = field(init=False, repr=False, compare=False)
    _number: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_present", self.tiles.present)
        boxes = [_box(tile, self.tiles) for tile in self._present]
        orders = [np.nan if tile.order is None else float(tile.order) for tile in self._present]
        object.__setattr__(self, "_orders", np.array(orders))
        object.__setattr__(self, "_number", {tile.name: n for n, tile in enumerate(self._present)})
        spacing = np.array(self.grid.spacing)
        for name, end, side in (("_starts", 0, -0.5), ("_stops", 1, 0.5)):
            corners = np.array([box[end] for box in boxes])
            object.__setattr__(self, name, (corners - self.grid.origin) / spacing + side)
        lean = [np.abs(self._back(tile) - np.eye(3)) for tile in self._present if tile.matrix is not None]
        object.__setattr__(self, "_lean", np.max(lean, axis=0) if lean else np.zeros((3, 3)))

    @property
    def tiles(self) -> TileSet:
        """The tiles."""
        return self.reader.tiles

    @property
    def voxel_bytes(self) -> int:
        """The bytes of a voxel in all channels."""
        return self.dtype.itemsize * len(self.tiles.channels)

    @property
    def voxel_seconds(self) -> float:
        """The CPU time of a voxel in one channel."""
        return _VOXEL_SECONDS

    @property
    def hint(self) -> str:
        """Smaller chunks, of which blocks consist."""
        return "smaller chunks (--chunk-size)"

    def part(self, core: Region) -> Part | None:
        """Return the part that makes a block, None where no tile is."""
        if not any(self._touching(core, channel) for channel in range(len(self.tiles.channels))):
            return None
        return Part(core, core, partial(self._make, core))

    def part_bytes(self, part: Part) -> int:
        """Return the bytes of a channel: total, weight and output of the block, and a tile as read and corrected."""
        bent = self.bends.largest if self.bends else 0.0
        seen = part.core.grow(as_triple(np.ceil(self._lean @ part.core.shape + bent) + 3))
        return (part.core.size + seen.size) * (8 + self.dtype.itemsize)

    def _make(self, core: Region, timepoint: int) -> Iterator[Voxels]:
        """Yield the channels of a block, one by one."""
        assert timepoint == 0
        return (self._channel(core, channel) for channel in range(len(self.tiles.channels)))

    def _touching(self, core: Region, channel: int) -> list[Tile]:
        """Return the tiles that reach into a block in one channel."""
        shift = np.array(self.tiles.channels[channel].shift) / self.grid.spacing
        reach = (self._starts + shift < np.array(core.stop) - 0.5) & (
            self._stops + shift > np.array(core.start) - 0.5
        )
        return [self.tiles.present[k] for k in np.flatnonzero(reach.all(axis=1)).tolist()]

    def _channel(self, core: Region, channel: int) -> Voxels:
        """Return the fused voxels of a block in one channel."""
        tiles = self._touching(core, channel)
        out = np.zeros(core.shape, self.dtype)
        if not tiles:
            return out
        bent = self._bent(core, channel)
        if len(tiles) == 1 and not bent and self._copy(core, channel, tiles[0], out):
            return out
        total, weight = np.zeros(core.shape, np.float32), np.zeros(core.shape, np.float32)
        for tile in tiles:
            if tile.matrix is None and tile.name not in bent:
                self._add(core, channel, tile, total, weight)
            else:
                self._add_mapped(core, channel, tile, bent.get(tile.name, _STRAIGHT), total, weight)
        whole = self.dtype.kind in "iu"
        divided = _HOW[self.weights] in (MEAN_OF_PRODUCTS, MEAN_OF_LEAST)
        finish(total, weight, divided, _limits(self.dtype), whole, out)
        return out

    def _copy(self, core: Region, channel: int, tile: Tile, out: Voxels) -> bool:
        """Copy the voxels of the only tile of a block; returns False for a tile whose voxels must be computed."""
        whole, fractions, covered = self._placed(core, channel, tile)
        wobbles = self.bends is not None and self.bends.wobbles(tile)
        computed = wobbles or tile.matrix is not None or self.light is not None or any(fractions)
        if computed or self._balance(tile, channel) != (1, 0):
            return False
        if covered.size:
            out[covered.relative_to(core).slices] = self.reader.read(tile, channel, covered.shift(whole))
        return True

    def _balance(self, tile: Tile, channel: int) -> tuple[float, float]:
        return (tile.gain[channel] if tile.gain else 1.0), (tile.offset[channel] if tile.offset else 0.0)

    def _placed(self, core: Region, channel: int, tile: Tile) -> tuple[Triple, FloatTriple, Region]:
        """Return the whole and the rest of what is added to an output voxel to give the tile's, and what it covers.

        The rest is in [0, 1), and 0 where it is too small to interpolate.
        """
        shift = np.array(self.tiles.channels[channel].shift)
        offset = (np.array(tile.position) + shift - self.grid.origin) / self.grid.spacing
        nearest = np.rint(offset)
        offset = np.where(np.abs(offset - nearest) < _WHOLE, nearest, offset)
        whole = np.floor(-offset)
        start = np.ceil(offset - 0.5)
        covered = Region(as_triple(start), as_triple(start + tile.shape)).intersect(core)
        return as_triple(whole), as_float_triple(-offset - whole), covered

    def _read(self, tile: Tile, channel: int, region: Region) -> Voxels:
        """Return a region of a tile in even light; beyond its faces its last voxels are repeated."""
        inside = region.intersect(Region.whole(tile.shape))
        lit = partial(self._lit, tile, channel)
        voxels = lit(inside) if self.bends is None else self.bends.read(tile, inside, lit)
        if inside != region:
            ends = zip(region.start, inside.start, inside.stop, region.stop, strict=True)
            voxels = np.pad(voxels, [(b - a, d - c) for a, b, c, d in ends], mode="edge")
        return voxels

    def _lit(self, tile: Tile, channel: int, region: Region) -> Voxels:
        """Return a region within a tile in even light."""
        voxels = self.reader.read(tile, channel, region)
        if voxels.dtype.kind == "f":
            voxels = np.nan_to_num(voxels, nan=0.0, posinf=0.0, neginf=0.0)
        even = voxels if self.light is None else self.light.correct(voxels, channel, region)
        loss = self.tiles.lit_loss[channel] if self.tiles.lit_loss else 0.0
        if not loss or tile.order is None:
            return even
        bright = even.astype(np.float32, copy=self.light is None)
        for box in self._lit_before(tile):
            lit = box.intersect(region)
            if lit.size:
                bright[lit.relative_to(region).slices] /= np.float32(1 - loss)
        return bright

    def _lit_before(self, tile: Tile) -> Iterator[Region]:
        """Yield the voxels of a tile that each earlier tile has lit."""
        n = self._number[tile.name]
        earlier = self._orders < self._orders[n]
        meeting = ((self._starts < self._stops[n]) & (self._stops > self._starts[n])).all(axis=1)
        for k in np.flatnonzero(earlier & meeting).tolist():
            ends = np.rint(self._starts[k] - self._starts[n]), np.rint(self._stops[k] - self._starts[n])
            yield Region(as_triple(ends[0]), as_triple(ends[1])).intersect(Region.whole(tile.shape))

    def _add(self, core: Region, channel: int, tile: Tile, total: Float32s, weight: Float32s) -> None:
        """Add a tile without a matrix to the sums of a block."""
        whole, fractions, covered = self._placed(core, channel, tile)
        if covered.size == 0:
            return
        taps = [_taps(fraction, self.interpolation) for fraction in fractions]
        before = as_triple(1 if len(tap) == 4 else 0 for tap in taps)
        first = as_triple(a + w - b for a, w, b in zip(covered.start, whole, before, strict=True))
        shape = [n + len(tap) - 1 for n, tap in zip(covered.shape, taps, strict=True)]
        voxels = self._read(tile, channel, Region(first, as_triple(a + n for a, n in zip(first, shape, strict=True))))
        ends = zip(covered.start, covered.stop, whole, fractions, strict=True)
        places: list[Floats] = [np.arange(a, b, dtype=np.float64) + (w + f) for a, b, w, f in ends]
        z, y, x = (self._along(axis, place, tile) for axis, place in enumerate(places))
        inner = covered.relative_to(core).slices
        how, balance = _HOW[self.weights], self._balance(tile, channel)
        add_tile(voxels, (taps[0], taps[1], taps[2]), (z, y, x), how, balance, total[inner], weight[inner])

    def _along(self, axis: int, place: Floats, tile: Tile) -> Float32s:
        """Return the weights of voxels by their places along an axis of a tile."""
        n = tile.shape[axis]
        ramp = self._ramp(tile)[axis]
        if ramp == 0:
            same = FAR if _HOW[self.weights] in (MEAN_OF_LEAST, DEEPEST) else 1.0
            return np.full(len(place), same, np.float32)
        depth: Floats = np.maximum(np.minimum(place, n - 1 - place) + 0.5, _WHOLE)
        kind = _KIND.get(self.weights, DEPTH)
        share: Floats = depth * ramp if kind == DEPTH else np.minimum(depth / ramp, 1)
        if kind == COSINE_RAMP:
            share = 0.5 - 0.5 * np.cos(np.pi * share)
        return share.astype(np.float32)

    def _ramp(self, tile: Tile) -> Floats:
        """Return the ramp along each axis in voxels, or µm a voxel for distances; 0 along an axis of one voxel."""
        counts = np.array(tile.shape) > 1
        if self.weights not in _KIND:
            return np.where(counts if counts.any() else True, self.grid.spacing, 0.0)
        return np.where(counts, np.minimum(np.maximum(self.ramps, 1.0), np.array(tile.shape) / 2), 0.0)

    def _bent(self, core: Region, channel: int) -> Mapping[str, Float32s]:
        """Return the displacements of tiles that are bent in a block, in their voxels, at the nodes around it.

        Nodes are every `strides` voxels of the whole grid, and all tiles over any of them count, so that neighbouring
        blocks agree.
        """
        if self.bends is None:
            return {}
        lead, strides = self._nodes(core)
        first, counts = np.subtract(core.start, lead), -(-np.add(core.shape, lead) // strides) + 1
        tiles = self._touching(Region(as_triple(first), as_triple(first + (counts - 1) * strides + 1)), channel)
        if len(tiles) < 2:
            return {}
        lines = [a + np.arange(n) * step for a, n, step in zip(first, counts, strides, strict=True)]
        index = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
        found = self.bends.at(tiles, self.grid.to_physical(index) - self.tiles.channels[channel].shift)
        return {name: np.float32(moved / self.grid.spacing).reshape(*counts, 3) for name, moved in found.items()}

    def _nodes(self, core: Region) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return by how many voxels the first node lies before a block, and the voxels between nodes."""
        strides = np.array(self.bends.strides if self.bends else (1, 1, 1), np.int64)
        return np.array(core.start, np.int64) % strides, strides

    def _add_mapped(
        self, core: Region, channel: int, tile: Tile, bend: Float32s, total: Float32s, weight: Float32s
    ) -> None:
        """Add a tile with a matrix, or one that is bent, to the sums of a block."""
        spacing, shift = np.array(self.grid.spacing), np.array(self.tiles.channels[channel].shift)
        linear = self._back(tile)
        start = linear @ ((self.grid.to_physical(core.start) - np.array(tile.position) - shift) / spacing)
        ends = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in core.shape], indexing="ij")).reshape(3, 8)
        seen = linear @ ends + start[:, None]
        shape = np.array(tile.shape)
        if (seen.max(axis=1) < -0.5).any() or (seen.min(axis=1) > shape - 0.5).any():
            return
        low, high = seen.min(axis=1) - _WHOLE, seen.max(axis=1) + _WHOLE
        if bend.size:
            low, high = low + bend.min(axis=(0, 1, 2)), high + bend.max(axis=(0, 1, 2))
        low, high = (np.clip(np.floor(end), -1, shape - 1) for end in (low, high))  # beyond faces voxels are repeated
        region = Region(as_triple(low - 1), as_triple(high + 3))
        voxels = self._read(tile, channel, region)
        kind = _KIND.get(self.weights, DEPTH)
        first = np.array(region.start)
        how, balance = _HOW[self.weights], self._balance(tile, channel)
        cubic = self.interpolation is TileInterpolation.CUBIC
        placed, bends, ramp = (linear, start), (bend, *self._nodes(core)), self._ramp(tile)
        add_mapped_tile(voxels, first, shape, placed, bends, ramp, kind, how, cubic, balance, total, weight)

    def _back(self, tile: Tile) -> Floats:
        """Return the matrix (3, 3) from voxels of the output to those of a tile."""
        spacing = np.array(self.grid.spacing)
        back: Floats = np.linalg.inv(tile.linear) / spacing[:, None] * spacing
        return back


def _limits(dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """Return the least and the largest float64 that an integer type holds; 0 for other types, which have none."""
    if dtype.kind not in "iu":
        return 0.0, 0.0
    high = 2.0 ** (8 * dtype.itemsize - (dtype.kind == "i"))
    return (-high if dtype.kind == "i" else 0.0), float(np.nextafter(high, 0)) if dtype.itemsize == 8 else high - 1


def _taps(fraction: float, interpolation: TileInterpolation) -> Float32s:
    """Return the weights of the voxels around a place that is `fraction` of a voxel beyond one of them.

    Cubic is Catmull–Rom's: from one voxel before to two behind.
    """
    if fraction == 0:
        return np.ones(1, np.float32)
    if interpolation is TileInterpolation.LINEAR:
        return np.array([1 - fraction, fraction], np.float32)
    f = fraction
    taps = (-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, -(f**2) + f**3)
    return np.array(taps, np.float32) / np.float32(2)
