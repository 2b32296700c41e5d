"""The 63 tiles of a real brain section, ours against Fiji's solution: distance, and correlation of overlaps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.tables import Row
from teralign.grids import Floats, Region
from teralign.stitching.align_pairs import PairAligner, pair_blocks
from teralign.stitching.pairs import PairSet, TilePair
from teralign.stitching.place import place_tiles
from teralign.tiles import TileReader, TileSet
from teralign.tiles.importing import import_scan

_MARGIN = 3  # pixels
_LEAST_SIDE = 8  # pixels of an overlap whose correlation says something


@dataclass(frozen=True)
class Section:
    """The tiles as Fiji and we place them, our pairs, band-passed images by name, and CPU-µs a pixel of overlap."""

    fiji: TileSet
    placed: TileSet
    pairs: tuple[TilePair, ...]
    images: dict[str, Floats]
    pixel_us: float

    @classmethod
    def of(cls, folder: Path) -> Section:
        """Align and place the tiles in `folder`, which has the images and both tables of positions."""
        stage, fiji = (_imported(folder, f"wsi_TileConfiguration{name}.txt") for name in ("", ".registered"))
        aligner, pairs = PairAligner.of(stage, folder, 0, None), []
        measuring, pixels = 0.0, 0
        for block in pair_blocks(stage):
            images, _ = aligner.images(block)
            start = time.process_time()
            pairs.append(aligner.measure(block, images))
            measuring += time.process_time() - start
            pixels += pairs[-1].voxels
        placed = place_tiles(stage, PairSet(0, (1.0, 1.0, 1.0), tuple(pairs))).tiles
        reader, bands = TileReader(stage, folder), {}
        for tile in stage.tiles:
            root = np.sqrt(reader.read(tile, 0, Region.whole(tile.shape))[0].astype(np.float32))
            bands[tile.name] = ndimage.gaussian_filter(root, 1) - ndimage.gaussian_filter(root, 5)
        return cls(fiji, placed, tuple(pairs), bands, 1e6 * measuring / max(1, pixels))

    def apart(self) -> Floats:
        """Return how far (n,) the tiles of the largest group lie from Fiji's, but for a shift of all."""
        names = [tile.name for tile in self.placed.tiles if tile.component == 0]
        pairs = [(self.placed.by_name(name).position, self.fiji.by_name(name).position) for name in names]
        d = np.array([np.subtract(ours, theirs) for ours, theirs in pairs])
        found: Floats = np.linalg.norm(d - np.median(d, axis=0), axis=1)
        return found

    def correlations(self) -> Floats:
        """Return the correlation of each overlap with evidence, as Fiji and as we place its tiles (n, 2)."""
        known = [pair for pair in self.pairs if pair.evidence]
        both = [[self._correlation(t, p.fixed, p.moving) for t in (self.fiji, self.placed)] for p in known]
        found: Floats = np.array(both)
        return found[np.isfinite(found).all(axis=1)]

    def row(self) -> Row:
        """Return the figures as a row of the tiles' table."""
        apart, values = self.apart(), self.correlations()
        theirs, ours = np.median(values, axis=0)
        return {
            "seed": "63 real tiles",
            "tool": "teralign",
            "median": float(np.median(apart)),
            "p95": float(np.percentile(apart, 95)),
            "max": float(apart.max()),
            "voxel_us": self.pixel_us,
            "ncc": float(ours),
            "ncc_fiji": float(theirs),
        }

    def _correlation(self, tiles: TileSet, fixed: str, moving: str) -> float:
        """Return the correlation of what two tiles show of one place; NaN where they hardly overlap."""
        offset = np.subtract(tiles.by_name(moving).position, tiles.by_name(fixed).position)[1:]
        n = self.images[fixed].shape[0]
        low = np.ceil(np.maximum(0, offset)).astype(int) + _MARGIN
        high = np.floor(np.minimum(n - 1, n - 1 + offset)).astype(int) - _MARGIN
        if (high - low).min() < _LEAST_SIDE:
            return float("nan")
        there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        whole = np.floor(offset).astype(int)
        block = self.images[moving][
            tuple(slice(a - w - 1, b - w + 1) for a, b, w in zip(low, high, whole, strict=True))
        ]
        moved = ndimage.shift(block, offset - whole, order=1)[1:-1, 1:-1]
        return float(np.corrcoef(self.images[fixed][there].ravel(), moved.ravel())[0, 1])


def _imported(folder: Path, name: str) -> TileSet:
    return import_scan(folder / name, folder, stack=folder / "wsi_brain.tif", spacing=(1.0, 1.0, 1.0))
