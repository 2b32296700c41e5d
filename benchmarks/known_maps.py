"""Pairs with a known map in many regimes, in memory: what an estimate of the error is calibrated and scored on.

The scene is a part of a real volume, smoothed and without its background. The fixed image is that scene, the moving
one is the scene seen through the inverse of the sought map (`teralign.demo.TrueMap`), on voxels of its own. Both get
shot and read noise of their own; the moving one is dimmer, unevenly lit, and changed as its regime says. Everything
is rendered at twice the resolution of the images, which are means over 2×2×2 voxels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from teralign.demo import TrueMap, make_phantom
from teralign.grids import Bools, Floats, Grid, Region, Triple, group_means
from teralign.registration import Image
from teralign.transforms import Affine
from teralign.volumes import open_volume

SHAPE: Triple = (128, 160, 192)  # rendered voxels: 64×80×96 of the images
_MARGIN = 40  # rendered voxels of scene around the fixed image
_BACKGROUND = 200.0


@dataclass(frozen=True)
class Regime:
    """What makes a pair harder: the map's `knots` apart and mean length in µm, noise, optics, contrast, content.

    `snr` is that of the brighter quarter; `blur` (z, yx) in µm; `depth` is the length in µm over which light decays;
    `stripes` their relative height; `photons` the share of the usual ones; `saturated` the share of voxels;
    `coarser` (fixed, moving) factors along z; `holes` their number; `slip` µm along z beyond a plane.
    """

    name: str
    knots: float = 60.0
    amplitude: float = 5.5
    snr: float = 0.0
    blur: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    inverted: bool = False
    depth: float = 0.0
    stripes: float = 0.0
    photons: float = 1.0
    saturated: float = 0.0
    waves: float = 0.0
    coarser: tuple[int, int] = (1, 1)
    holes: int = 0
    slip: float = 0.0
    content: str = "tissue"
    volume: str = "fix"


@dataclass(frozen=True)
class KnownPair:
    """Two images, the true map, and the affine near it from which a deformation starts."""

    fixed: Image
    moving: Image
    true: TrueMap
    start: Affine
    slip: float
    plane: float
    spoiled: Floats  # centres (n, 3) in µm of holes in the moving image

    def to_moving(self, points: Floats) -> tuple[Floats, Bools]:
        """Return the true places of fixed points (n, 3), and which of them the moving image shows."""
        mapped = self.true.to_moving(points)
        if self.slip:
            mapped[:, 0] += np.where(mapped[:, 2] > self.plane, self.slip, 0.0)
        grid = self.moving.grid
        index = grid.to_index(mapped)
        seen: Bools = ((index >= 1) & (index <= np.array(grid.shape) - 2)).all(axis=1)
        for centre in self.spoiled:
            seen &= np.linalg.norm(mapped - centre, axis=1) > _HOLE + 3
        return mapped, seen


_HOLE = 22.0  # µm


def known_pair(data: Path, regime: Regime, seed: int, corner: Triple, shape: Triple = SHAPE) -> KnownPair:
    """Return the pair of a regime, whose fixed image begins at voxel `corner` (z, y, x) of a highres volume.

    `shape` (z, y, x) are its rendered voxels, twice as many an axis as those of the image.
    """
    rng = np.random.default_rng([seed, 7])
    if regime.content == "phantom":
        return _phantom_pair(regime, seed, shape)
    scene, offset, spacing = _scene(data, regime, rng, corner, shape)
    grid = Grid(shape, spacing)
    true = _random_map(rng, grid, regime)
    inner = scene[tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))]
    plane = grid.centre[2]
    moving = _seen(scene, offset, grid, true, regime.slip, plane)
    moving, holes = _with_holes(moving, grid, regime.holes, rng)
    moving = _changed(moving, grid, regime) * _light(shape)
    fixed = _photographed(rng, inner, gain=1.0, offset=200.0, photons=1.0)
    seen = _photographed(rng, moving, gain=0.6, offset=215.0, photons=regime.photons)
    images = []
    bright = float(inner[inner > np.percentile(inner, 75)].mean())
    for array, scale, by in ((fixed, 1.0, regime.coarser[0]), (seen, 0.6, regime.coarser[1])):
        factors = (2 * by, 2, 2)
        small = group_means(array, factors)
        if regime.snr:
            small = small + rng.normal(0, scale * bright / regime.snr, small.shape).astype(np.float32)
        images.append((small, grid.downsample(factors)))
    (fixed, fixed_grid), (seen, moving_grid) = images
    if regime.saturated:
        seen = np.minimum(seen, np.percentile(seen, 100 * (1 - regime.saturated)))
    start = _best_affine(true, grid, rng)
    return KnownPair(_image(fixed, fixed_grid), _image(seen, moving_grid), true, start, regime.slip, plane, holes)


def _image(array: NDArray[np.float32], grid: Grid) -> Image:
    return Image(np.clip(array + 0.5, 0, 65535).astype(np.uint16), grid)


def _phantom_pair(regime: Regime, seed: int, shape: Triple) -> KnownPair:
    phantom = make_phantom(shape, seed)
    images = []
    for view in (phantom.fixed, phantom.moving):
        grid = view.grid
        array = view.render(grid.region)
        images.append(_image(group_means(array, (2, 2, 2)), grid.downsample((2, 2, 2))))
    start = _best_affine(phantom.true_map, phantom.fixed.grid, np.random.default_rng(seed))
    return KnownPair(*images, phantom.true_map, start, 0.0, 0.0, np.zeros((0, 3)))


@functools.cache
def _smoothed(data: Path, name: str) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    volume = open_volume(data / f"{name}.n5" / "highres")
    array = ndimage.gaussian_filter(volume.read().astype(np.float32), 1.0, truncate=3.0)
    return np.clip(array - _BACKGROUND, 0, None), volume.grid.spacing


def _scene(
    data: Path, regime: Regime, rng: np.random.Generator, corner: Triple, shape: Triple
) -> tuple[NDArray[np.float32], Triple, tuple[float, float, float]]:
    """Return a part of the scene with a margin, and where in it the fixed image begins."""
    whole, spacing = _smoothed(data, regime.volume)
    box = Region(corner, tuple(c + n for c, n in zip(corner, shape, strict=True)))
    around = box.grow((_MARGIN,) * 3).intersect(Region((0, 0, 0), whole.shape))
    scene = whole[around.slices]
    offset = box.relative_to(around).start
    if regime.content == "puncta":
        scene = _puncta(scene, rng)
    elif regime.content == "sparse":
        scene = _puncta(scene, rng, every=6)
    return scene, offset, spacing


def _puncta(scene: NDArray[np.float32], rng: np.random.Generator, every: int = 1) -> NDArray[np.float32]:
    """Return bright spots of 4.5 µm at the cells of a scene, or at one in `every` of them."""
    edges = ndimage.gaussian_filter(scene, 2) - ndimage.gaussian_filter(scene, 4)
    peaks = (edges == ndimage.maximum_filter(edges, 9)) & (edges > np.percentile(edges[::3, ::3, ::3], 85))
    index = np.argwhere(peaks)
    index = index[rng.permutation(len(index))[: len(index) // every]]
    spots = np.zeros_like(scene)
    spots[tuple(index.T)] = rng.lognormal(0, 0.5, len(index))
    spots = ndimage.gaussian_filter(spots, 2.1)
    return np.asarray(spots * (700 / np.percentile(spots[spots > 0.05 * spots.max()], 90)), np.float32)


def _random_map(rng: np.random.Generator, grid: Grid, regime: Regime) -> TrueMap:
    """Return a map of small rotations, scales and shifts, and of the regime's deformation, which does not fold."""
    turn = np.deg2rad(rng.uniform(-1, 1, 3) * [3.0, 1.5, 1.5])
    matrix = np.eye(3)
    for axis, angle in enumerate(turn):
        i, j = [a for a in range(3) if a != axis]
        rotation = np.eye(3)
        rotation[i, i] = rotation[j, j] = math.cos(angle)
        rotation[i, j], rotation[j, i] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ rotation
    matrix = matrix @ np.diag(1 + rng.uniform(-0.03, 0.03, 3))
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = grid.centre + rng.uniform(-1, 1, 3) * [4.0, 8.0, 10.0] - matrix @ grid.centre
    pad = 60.0
    counts = np.ceil((np.array(grid.extent) + 2 * pad) / regime.knots).astype(int) + 5
    origin = np.array(grid.origin) - pad - 2 * regime.knots
    knots = rng.normal(size=(*counts, 3))
    unit = TrueMap(affine, origin, regime.knots, knots)
    points = rng.uniform(0, 1, (20_000, 3)) * grid.extent
    scale = regime.amplitude / float(np.linalg.norm(unit.bend(points), axis=1).mean())
    steepest = float(np.linalg.norm(unit.jacobian(points) - np.eye(3), ord=2, axis=(1, 2)).max())
    return TrueMap(affine, origin, regime.knots, knots * min(scale, 0.75 / steepest))


def _best_affine(true: TrueMap, grid: Grid, rng: np.random.Generator) -> Affine:
    """Return the affine that comes closest to a map, moved by about a µm: what a global alignment leaves."""
    points = rng.uniform(0.05, 0.95, (5000, 3)) * grid.extent + grid.origin
    mapped = true.to_moving(points)
    solution = np.linalg.lstsq(np.c_[points, np.ones(len(points))], mapped, rcond=None)[0]
    return Affine.from_parts(solution[:3].T, solution[3] + rng.normal(0, 0.6, 3))


def _seen(
    scene: NDArray[np.float32], offset: Triple, grid: Grid, true: TrueMap, slip: float, plane: float
) -> NDArray[np.float32]:
    """Return the scene on the voxels of the moving image, slice by slice."""
    y, x = (grid.origin[a] + np.arange(grid.shape[a]) * grid.spacing[a] for a in (1, 2))
    moving = np.empty(grid.shape, np.float32)
    for z in range(grid.shape[0]):
        height = grid.origin[0] + z * grid.spacing[0]
        points = np.stack(np.meshgrid([height], y, x, indexing="ij"), axis=-1).reshape(-1, 3)
        if slip:
            points[:, 0] -= np.where(points[:, 2] > plane, slip, 0.0)
        at = grid.to_index(true.to_scene(points)) + offset
        moving[z] = ndimage.map_coordinates(scene, at.T, order=1, mode="constant").reshape(grid.shape[1:])
    return moving


def _with_holes(
    moving: NDArray[np.float32], grid: Grid, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Floats]:
    """Return the image with dark balls of `_HOLE` µm, and their centres."""
    centres = rng.uniform(0, 1, (count, 3)) * grid.extent
    axes = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(grid.shape, grid.spacing, strict=True)], indexing="ij", sparse=True
    )
    for centre in centres:
        distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        moving = np.where(distance < _HOLE**2, np.float32(0), moving)
    return moving, centres


def _changed(moving: NDArray[np.float32], grid: Grid, regime: Regime) -> NDArray[np.float32]:
    """Return the moving image after the optics and the contrast of its regime."""
    z, yx = regime.blur
    if z or yx:
        moving = ndimage.gaussian_filter(moving, np.array([z, yx, yx]) / grid.spacing)
    top = float(np.percentile(moving[::3, ::3, ::3], 99.9))
    if regime.gamma != 1:
        moving = top * (np.clip(moving, 0, None) / top) ** np.float32(regime.gamma)
    if regime.inverted:
        moving = top - np.clip(moving, 0, top)
    if regime.waves:
        moving = top * (0.5 - 0.5 * np.cos(np.clip(moving / top, 0, 1.2) * np.pi * regime.waves))
    if regime.depth:
        heights = np.arange(moving.shape[0]) * grid.spacing[0]
        moving = moving * np.exp(-heights / regime.depth).astype(np.float32)[:, None, None]
    if regime.stripes:
        y, x = (np.arange(moving.shape[a]) * grid.spacing[a] for a in (1, 2))
        moving = moving * (1 + regime.stripes * np.sin(2 * np.pi * (x + 0.3 * y[:, None]) / 25)).astype(np.float32)
    return np.asarray(moving, np.float32)


def _light(shape: Triple) -> NDArray[np.float32]:
    """Return uneven light over y and x, and bleaching over z."""
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    across = np.exp(0.25 * np.cos(np.pi * (1.3 * x + 0.2)) + 0.2 * np.cos(np.pi * (0.9 * y[:, None] - 0.1)))
    light: NDArray[np.float32] = across * np.exp(-0.45 * z)[:, None, None]
    return light


def _photographed(
    rng: np.random.Generator, image: NDArray[np.float32], *, gain: float, offset: float, photons: float
) -> NDArray[np.float32]:
    """Return an image with shot noise of 0.3 photons a count, and read noise of 5 counts."""
    rate = 0.3 * photons
    shot = rng.poisson(np.clip(image, 0, None) * rate).astype(np.float32) / np.float32(rate)
    return offset + np.float32(gain) * shot + rng.normal(0, 5, image.shape).astype(np.float32)
