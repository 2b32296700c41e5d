"""Seams: two overlapping tiles in two colours, where the stage had them and where they were placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.grids import Floats, Region, as_triple
from teralign.report.pictures import Picture, overlay
from teralign.report.tile_contents import BentAt, ReadTile, TileOverlap, straight
from teralign.tiles import Tile, TileSet

_LONGEST = 220  # voxels of a crop along an axis
_CONTEXT = 0.6  # of the overlap, shown on either side of it
_LEAST_SHARE = 0.4  # of the voxels of a large overlap
_SHOWN = 460  # pixels along the longer side of both planes of a seam, about
_SLAB = 1  # planes on either side, averaged against noise
_WHITE, _BLACK = 99.7, 10.0  # percentiles


@dataclass(frozen=True)
class Seam:
    """The seam of a pair in two planes: xy, and the plane along z across the seam; before and after."""

    overlap: TileOverlap
    which: str
    before: tuple[Picture, Picture]
    after: tuple[Picture, Picture]


def chosen_pairs(overlaps: Sequence[TileOverlap]) -> list[tuple[str, TileOverlap]]:
    """Return the best, the median and the worst confirmed overlap by correlation after; fewer if they repeat.

    Overlaps of corners, which are small, are left out.
    """
    confirmed = [o for o in overlaps if o.state == "confirmed" and o.after is not None]
    if not confirmed:
        return []
    enough = _LEAST_SHARE * float(np.percentile([o.voxels for o in confirmed], 90))
    known = sorted((o for o in confirmed if o.voxels >= enough), key=lambda o: -(o.after or 0.0))
    places = {"best": 0, "median": len(known) // 2, "worst": len(known) - 1}
    found: dict[int, str] = {}
    for which, place in places.items():
        found.setdefault(place, which)
    return [(which, known[place]) for place, which in found.items()]


def draw_seam(
    tiles: TileSet, stage: TileSet, overlap: TileOverlap, which: str, read: ReadTile, bent: BentAt = straight
) -> Seam:
    """Return the pictures of a pair; `stage` has the tiles where the stage had them, where none is `bent`.

    Raises DataError of `read`.
    """
    before, after = (
        _SeenPair.of(placed, placed.by_name(overlap.fixed), placed.by_name(overlap.moving))
        for placed in (stage, tiles)
    )
    half = after.half
    return Seam(overlap, which, _planes(before, half, read, straight), _planes(after, half, read, bent))


def seam_sheet(seams: Sequence[Seam]) -> Picture:
    """Return all seams as one picture: a row each, before at the left and after at the right."""
    rows = [beside([*seam.before, *seam.after]) for seam in seams]
    width = max(row.shape[1] for row in rows)
    gap = np.full((8, width, 3), 16, np.uint8)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=16) for row in rows]
    return np.concatenate([part for row in padded for part in (row, gap)][:-1])


def beside(pictures: Sequence[Picture]) -> Picture:
    """Return pictures in a row, on dark paper."""
    height = max(p.shape[0] for p in pictures)
    parts = [np.pad(p, ((0, height - p.shape[0]), (0, 8), (0, 0)), constant_values=16) for p in pictures]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class _SeenPair:
    """Two tiles of a set: the box around both, the middle of their overlap and its size, all (z, y, x) µm."""

    tiles: TileSet
    pair: tuple[Tile, Tile]
    low: Floats
    high: Floats
    middle: Floats
    overlap: Floats

    @classmethod
    def of(cls, tiles: TileSet, fixed: Tile, moving: Tile) -> _SeenPair:
        """Return the pair with its boxes; an overlap has four voxels at least."""
        spacing = np.asarray(tiles.spacing)
        starts = np.array([fixed.position, moving.position])
        stops = starts + (np.array([fixed.shape, moving.shape]) - 1) * spacing
        low, high = starts.max(axis=0), stops.min(axis=0)
        overlap = np.maximum(high - low, 4 * spacing)
        return cls(tiles, (fixed, moving), starts.min(axis=0), stops.max(axis=0), (low + high) / 2, overlap)

    @property
    def half(self) -> Floats:
        """Half of the box (z, y, x) µm that is shown: the overlap and its surroundings."""
        return np.minimum(self.overlap * (0.5 + _CONTEXT), _LONGEST / 2 * np.asarray(self.tiles.spacing))


def _planes(seen: _SeenPair, half: Floats, read: ReadTile, bent: BentAt) -> tuple[Picture, Picture]:
    """Return the plane xy and the plane along z through the middle of an overlap, as RGB (rows, columns, 3)."""
    first, last = np.maximum(seen.middle - half, seen.low), np.minimum(seen.middle + half, seen.high)
    across = 2 if seen.overlap[2] <= seen.overlap[1] else 1
    shown = []
    for flat in (0, 3 - across):
        a, b = first.copy(), last.copy()
        a[flat] = b[flat] = seen.middle[flat]
        images = [_sampled(seen.tiles, tile, read, bent, (a, b), flat) for tile in seen.pair]
        shown.append(overlay(*(_windowed(image) for image in images)))
    width = shown[0].shape[1] + shown[1].shape[1]
    height = max(plane.shape[0] for plane in shown)
    factor = max(1, round(min(_SHOWN / width, _SHOWN / height)))
    first_plane, second_plane = (plane.repeat(factor, axis=0).repeat(factor, axis=1) for plane in shown)
    return first_plane, second_plane


def _sampled(
    tiles: TileSet, tile: Tile, read: ReadTile, bent: BentAt, ends: tuple[Floats, Floats], flat: int
) -> NDArray[np.float32]:
    """Return a tile (rows, columns) in the plane between two `ends` µm across axis `flat`, NaN outside of it."""
    low, high = ends
    spacing, last = np.asarray(tiles.spacing), np.array(tile.shape) - 1
    counts = np.rint((high - low) / spacing).astype(int) + 1
    lines = [low[a] + spacing[a] * np.arange(n) for a, n in enumerate(counts)]
    lines[flat] = low[flat] + spacing[flat] * np.arange(-_SLAB, _SLAB + 1)
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    at: Floats = (points - tile.position) @ np.linalg.inv(tile.linear).T / spacing
    middle = at.take(_SLAB, axis=flat)
    inside = np.all((middle >= -0.5) & (middle <= last + 0.5), axis=-1)
    if not inside.any():
        return np.full(inside.shape, np.nan, np.float32)
    at = np.clip(at + bent(tile, points.reshape(-1, 3)).reshape(points.shape) / spacing, 0, last)
    seen = at.reshape(-1, 3)
    need = Region(as_triple(np.floor(seen.min(axis=0))), as_triple(np.floor(seen.max(axis=0)) + 2))
    need = need.intersect(Region.whole(tile.shape))
    place = np.moveaxis(at - need.start, -1, 0)
    values = ndimage.map_coordinates(read(tile, need), place, order=1, mode="nearest", output=np.float32)
    image: NDArray[np.float32] = values.mean(axis=flat)
    image[~inside] = np.nan
    return image


def _windowed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image with its dark and bright values at 0 and 1, and 0 where it is unknown."""
    known = image[np.isfinite(image)]
    if known.size == 0:
        return np.zeros_like(image)
    low, high = np.percentile(known, [_BLACK, _WHITE])
    return np.asarray(np.nan_to_num((image - low) / max(float(high - low), 1e-6)), np.float32)


def stage_set(tiles: TileSet) -> TileSet:
    """Return the tiles where the stage had them, without matrices."""
    placed = tuple(t if t.stage is None else replace(t, position=t.stage, matrix=None) for t in tiles.tiles)
    return replace(tiles, tiles=placed)
