"""Pairs of volumes to align: one with a known map, made from a real volume, and the real one.

The fixed image of a made pair is the real volume, smoothed; the moving one is the same scene seen through the inverse
of the sought map: an affine over a cubic B-spline deformation, x_scene = A (y + b(y)) for a moving point y. Both get
shot and read noise of their own, and the moving one is dimmer, unevenly lit and bleached with depth. A folder gets

    fixed_low.nrrd  moving_low.nrrd          uint16, at half the resolution of what they are made from (2×2×2 means)
    points_fixed.csv  points_moving.csv      x,y,z in µm: foreground points of the fixed image, and their true places
    pair.json                                seed and parameters
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.environments import FOLDER
from teralign.grids import Floats, Grid, Region, group_means
from teralign.volumes import open_volume

log = logging.getLogger("benchmarks")
CROP = Region((20, 100, 0), (276, 356, 384))  # of highres: 128×128×192 voxels of lowres
_KNOTS = 60.0  # µm between the knots of the deformation
_AMPLITUDE = 5.5  # µm, its mean length
_MARGIN = 15.0  # µm from the faces within which no point is scored
_POINTS = 20_000
_BACKGROUND = 200.0


@dataclass(frozen=True)
class TrueMap:
    """x = A (y + b(y)) from moving to fixed points, zyx in µm; its inverse is what an alignment should find."""

    linear: Floats
    shift: Floats
    coefficients: Floats  # (3, z, y, x) of cubic B-splines

    @classmethod
    def random(cls, rng: np.random.Generator, extent: Floats) -> TrueMap:
        """Rotations to 3°, scales to 3 %, some shear, shifts to (8, 15, 25) µm, and the deformation."""

        def within(limit: float) -> float:
            return float(rng.uniform(-limit, limit))

        linear = _rotation(0, within(3)) @ _rotation(1, within(1.5)) @ _rotation(2, within(1.5))
        linear = linear @ np.diag(1 + rng.uniform(-0.03, 0.03, 3))
        linear[1, 2] += within(0.015)
        linear[0, 2] += within(0.01)
        centre = extent / 2
        shift = rng.uniform(-1, 1, 3) * (8.0, 15.0, 25.0)
        unscaled = cls(linear, centre + shift - linear @ centre, rng.normal(size=(3, *_knots(extent))))
        length = np.linalg.norm(unscaled.bend(rng.uniform(0, 1, (20_000, 3)) * extent), axis=1).mean()
        return cls(linear, unscaled.shift, unscaled.coefficients * (_AMPLITUDE / length))

    def bend(self, points: Floats) -> Floats:
        """The deformation b at points (n, 3)."""
        at = points.T / _KNOTS + 1.5
        axes = [ndimage.map_coordinates(c, at, order=3, prefilter=False, mode="nearest") for c in self.coefficients]
        return np.stack(axes, axis=-1)

    def to_fixed(self, points: Floats) -> Floats:
        """Where moving points (n, 3) lie in the fixed image."""
        mapped: Floats = (points + self.bend(points)) @ self.linear.T + self.shift
        return mapped

    def grid_to_fixed(self, z: float, y: Floats, x: Floats) -> Floats:
        """The same for the moving points (z, y, x) of a slice, (y · x, 3): on a grid B-splines are products."""
        positions = (np.array([z]), y, x)
        weights = [_weights(a, n) for a, n in zip(positions, self.coefficients.shape[1:], strict=True)]
        bend = np.einsum("cijk,zi,yj,xk->zyxc", self.coefficients, *weights, optimize=True)
        points = np.stack(np.meshgrid(*positions, indexing="ij"), axis=-1) + bend
        mapped: Floats = points.reshape(-1, 3) @ self.linear.T + self.shift
        return mapped

    def to_moving(self, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Where fixed points (n, 3) lie in the moving image, and for which of them that could be found."""
        inverse = np.linalg.inv(self.linear).T
        found = (points - self.shift) @ inverse
        for _ in range(60):
            miss = self.to_fixed(found) - points
            found = found - miss @ inverse
            if np.abs(miss).max() < 1e-4:
                break
        return found, np.abs(miss).max(axis=1) < 1e-3


def made_pair(data: Path, seed: int) -> Path:
    """The folder of the pair of this seed, made from the fixed round at highres; made once."""
    folder = FOLDER / "pairs" / f"seed-{seed}"
    if not (folder / "pair.json").exists():
        log.info("making the pair of seed %d", seed)
        make_pair(folder, data / "fix.n5" / "highres", seed=seed)
    return folder


def make_pair(folder: Path, volume: str | Path, *, seed: int, crop: Region = CROP) -> None:
    """Make a pair from a part of a volume; the same seed makes the same pair."""
    folder.mkdir(parents=True, exist_ok=True)
    source = open_volume(volume)
    grid = Grid(crop.shape, source.grid.spacing)
    rng = np.random.default_rng(seed)
    scene = np.clip(ndimage.gaussian_filter(source.read(crop).astype(np.float32), 1.0) - _BACKGROUND, 0, None)
    true = TrueMap.random(rng, grid.to_physical(np.array(grid.shape) - 1))
    moving = _seen_through(true, scene, grid) * _light(grid.shape)
    write_nrrd(folder / "fixed_low.nrrd", *_halved(_noisy(rng, scene, gain=1.0, offset=200), grid))
    write_nrrd(folder / "moving_low.nrrd", *_halved(_noisy(rng, moving, gain=0.6, offset=215), grid))
    fixed_points, moving_points = _landmarks(rng, scene, grid, true)
    for name, points in (("fixed", fixed_points), ("moving", moving_points)):
        np.savetxt(folder / f"points_{name}.csv", points[:, ::-1], delimiter=",", fmt="%.5f")
    started = np.linalg.norm(moving_points - fixed_points, axis=1).mean()
    told = {"seed": seed, "volume": str(volume), "crop": [crop.start, crop.stop], "start_um_mean": float(started)}
    (folder / "pair.json").write_text(json.dumps(told, indent=1))


def export_pair(folder: Path, fixed: str | Path, moving: str | Path) -> None:
    """The real pair as NRRD files, which every tool can read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, uri in (("fixed", fixed), ("moving", moving)):
        volume = open_volume(uri)
        write_nrrd(folder / f"{name}_low.nrrd", volume.read(), volume.grid)


def write_nrrd(path: Path, array: NDArray[np.uint16], grid: Grid) -> None:
    """Write voxels (z, y, x) uncompressed, with their grid."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin[::-1])
    sitk.WriteImage(image, str(path))


def _rotation(axis: int, degrees: float) -> Floats:
    i, j = [(1, 2), (0, 2), (0, 1)][axis]
    angle, matrix = np.deg2rad(degrees), np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _knots(extent: Floats) -> Sequence[int]:
    return [int(n) + 4 for n in np.ceil(extent / _KNOTS)]


def _weights(positions: Floats, knots: int) -> Floats:
    """The cubic B-splines of each knot at positions (n,) in µm, (n, knots)."""
    d = np.abs(positions[:, None] / _KNOTS + 1.5 - np.arange(knots))
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(2 - d, 0) ** 3 / 6)


def _seen_through(true: TrueMap, scene: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """The scene on the moving image's voxels, slice by slice."""
    moving = np.empty_like(scene)
    z, y, x = (np.arange(n, dtype=np.float64) * d for n, d in zip(grid.shape, grid.spacing, strict=True))
    for index, height in enumerate(z):
        at = grid.to_index(true.grid_to_fixed(height, y, x)).T
        moving[index] = ndimage.map_coordinates(scene, at, order=1, mode="constant").reshape(grid.shape[1:])
    return moving


def _light(shape: Sequence[int]) -> NDArray[np.float32]:
    """Uneven light over y and x, bleaching over z."""
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    across = np.exp(0.25 * np.cos(np.pi * (x * 1.3 + 0.2))) * np.exp(0.2 * np.cos(np.pi * (y * 0.9 - 0.1)))[:, None]
    light: NDArray[np.float32] = across * np.exp(-0.45 * z)[:, None, None]
    return light


def _noisy(rng: np.random.Generator, image: NDArray[np.float32], *, gain: float, offset: float) -> NDArray[np.uint16]:
    seen = offset + gain * rng.poisson(image * 0.3) / 0.3 + rng.normal(0, 5, image.shape) + 0.5
    return np.clip(seen, 0, 65535).astype(np.uint16)


def _halved(image: NDArray[np.uint16], grid: Grid) -> tuple[NDArray[np.uint16], Grid]:
    return (group_means(image, (2, 2, 2)) + 0.5).astype(np.uint16), grid.downsample((2, 2, 2))


def _landmarks(
    rng: np.random.Generator, scene: NDArray[np.float32], grid: Grid, true: TrueMap
) -> tuple[Floats, Floats]:
    """Points of the brightest quarter away from the faces, whose true place lies inside the moving image."""
    extent = grid.to_physical(np.array(grid.shape) - 1)
    index = np.argwhere(scene > np.percentile(scene, 75))
    index = index[rng.permutation(len(index))[: 3 * _POINTS]]
    fixed = grid.to_physical(index) + rng.uniform(-0.5, 0.5, index.shape) * grid.spacing
    fixed = fixed[((fixed > _MARGIN) & (fixed < extent - _MARGIN)).all(axis=1)]
    moving, found = true.to_moving(fixed)
    keep = found & ((moving > 2) & (moving < extent - 2)).all(axis=1)
    return fixed[keep][:_POINTS], moving[keep][:_POINTS]
