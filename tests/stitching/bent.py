"""Bent tiles of known truth: a scan as TIFF stacks and a `tiles.json`, and where tiles disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from stitching.scan import SPACING
from stitching.scenes import tissue
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, write_tiles

SHAPE, OVERLAP = (20, 80, 80), 28


@dataclass(frozen=True)
class Bend:
    """Smooth waves: voxel p (n, 3) of a tile shows the scene at place + p + bend(p), all in voxels."""

    waves: np.ndarray
    phases: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, rng: np.random.Generator, amplitude: float) -> Bend:
        """Return a bend that reaches about `amplitude` voxels."""
        waves = 2.5 * rng.normal(size=(3, 3, 3)) / SHAPE * (0.5, 1, 1)
        return cls(waves, rng.uniform(0, 6.3, (3, 3)), amplitude * rng.uniform(0.3, 0.7, (3, 3)))

    def __call__(self, at: np.ndarray) -> np.ndarray:
        parts = self.sizes * np.sin(np.einsum("nd,ckd->nck", at, self.waves) + self.phases)
        return parts.sum(axis=2)


def make_bent_scan(
    folder: Path,
    amplitude: float,
    *,
    seed: int = 1,
    rows: int = 1,
    columns: int = 2,
    snr: float = 8.0,
    wobble: float = 0.0,
) -> tuple[TileSet, Mapping[str, tuple[np.ndarray, Bend]], Mapping[str, np.ndarray]]:
    """Write tiles; return them, the place and the bend of each, and the shifts (nz, 2) voxels of its slices."""
    rng, step = np.random.default_rng(seed), SHAPE[1] - OVERLAP
    size = (SHAPE[0] + 20, rows * step + OVERLAP + 30, columns * step + OVERLAP + 30)
    scene = ndimage.spline_filter(tissue(size, seed), output=np.float32)
    voxels = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in SHAPE], indexing="ij"), -1).reshape(-1, 3)
    tiles, truth, shifts = [], {}, {}
    for r, c in np.ndindex(rows, columns):
        place, bend = np.array((10.0, 15 + r * step, 15 + c * step)), Bend.of(rng, amplitude)
        shifts[f"t{r}{c}"] = slices = wobble * np.random.default_rng(10 * r + c).normal(size=(SHAPE[0], 2))
        at = place + voxels + bend(voxels)
        at[:, 1:] += slices[voxels[:, 0].astype(int)]
        shown = ndimage.map_coordinates(scene, at.T, prefilter=False, mode="nearest")
        photons = snr**2 / 300
        stack = rng.poisson((np.clip(shown, 0, None).reshape(SHAPE) + 60) * photons) / photons + 200
        name, position = f"t{r}{c}", tuple(float(v) for v in place * SPACING)
        tifffile.imwrite(folder / f"{name}.tif", stack.astype(np.uint16), photometric="minisblack")
        tiles.append(Tile(name, position, SHAPE, sources=(TileSource(f"{name}.tif"),), index=(0, r, c)))
        truth[name] = (place, bend)
    found = TileSet(SPACING, (TileChannel("0"),), tuple(tiles))
    write_tiles(folder / "tiles.json", found)
    return found, truth, shifts


def disagreement(
    tiles: TileSet, truth: Mapping[str, tuple[np.ndarray, Bend]], moved: Mapping[str, np.ndarray], points: np.ndarray
) -> np.ndarray:
    """Return how far apart (n,) voxels two tiles have the scene that they show at points (n, 3) µm of their overlap.

    `moved` are the displacements (n, 3) µm of tiles in their frames, none for 0.
    """
    shown = []
    for tile in tiles.tiles:
        at = (points - tile.position) @ np.linalg.inv(tile.linear).T + moved.get(tile.name, 0.0)
        place, bend = truth[tile.name]
        shown.append(place + at / SPACING + bend(at / SPACING))
    return np.asarray(np.linalg.norm(shown[1] - shown[0], axis=1))
