"""The whole phantom from a shape and a seed: two grids, the map between them, the scene, and landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.demo.camera import FIXED_ROUND, MOVING_ROUND
from teralign.demo.render import View
from teralign.demo.scene import Scene, make_scene
from teralign.demo.truth import TrueMap, random_map
from teralign.grids import Floats, FloatTriple, Grid, Triple

SPACING: FloatTriple = (0.84, 0.92, 0.92)
"""µm, zyx: that of the published EASI-FISH volumes at full resolution."""
MOVING_SHAPE = (0.96, 1.03, 0.95)
"""Voxels of the moving round along z, y and x, as a factor of those of the fixed round."""
LANDMARK_MARGIN = 4.0
"""µm: landmarks keep this far from the faces of both volumes."""
MOST_LANDMARKS = 20_000


@dataclass(frozen=True)
class Phantom:
    """Both rounds of one tissue with the true map between them; landmarks (n, 3) are zyx in µm."""

    scene: Scene
    true_map: TrueMap
    fixed: View
    moving: View
    landmarks_fixed: Floats
    landmarks_moving: Floats


def make_phantom(shape: Triple, seed: int) -> Phantom:
    """Return a phantom with a fixed round of this shape (z, y, x); the same seed gives the same phantom."""
    rng = np.random.default_rng(seed)
    fixed = Grid(shape, SPACING)
    z, y, x = (round(n * f) for n, f in zip(shape, MOVING_SHAPE, strict=True))
    moving = Grid((z, y, x), SPACING)
    true_map = random_map(rng, fixed, moving)
    scene = make_scene(rng, *_seen_by_either(true_map, fixed, moving), fixed)
    landmarks_fixed, landmarks_moving = _landmarks(rng, scene, true_map, fixed, moving)
    return Phantom(
        scene,
        true_map,
        View.of(scene, TrueMap.identity(), fixed, FIXED_ROUND),
        View.of(scene, true_map, moving, MOVING_ROUND),
        landmarks_fixed,
        landmarks_moving,
    )


def _seen_by_either(true_map: TrueMap, fixed: Grid, moving: Grid) -> tuple[Floats, Floats]:
    """Return the box of the scene (low, high) that holds the fields of view of both rounds and their surroundings."""
    axes = [np.linspace(a, b, 17) for a, b in zip(moving.corners()[0], moving.corners()[-1], strict=True)]
    seen = true_map.to_scene(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
    low = np.minimum(fixed.corners()[0], seen.min(axis=0)) - 20
    high = np.maximum(fixed.corners()[-1], seen.max(axis=0)) + 20
    return low, high


def _landmarks(
    rng: np.random.Generator, scene: Scene, true_map: TrueMap, fixed: Grid, moving: Grid
) -> tuple[Floats, Floats]:
    """Return the centres of cells visible in both rounds, and their true positions in the moving round."""
    there = (scene.cells.brightness > 0).all(axis=1)
    places = scene.cells.centres[there]
    places = places[_inside(fixed, places)]
    moved = true_map.to_moving(places)
    both = np.flatnonzero(_inside(moving, moved))
    chosen = np.sort(rng.permutation(both)[:MOST_LANDMARKS])
    return places[chosen], moved[chosen]


def _inside(grid: Grid, points: Floats) -> NDArray[np.bool_]:
    """Return a mask of the points (n, 3) within the grid and not at its faces."""
    low, high = grid.corners()[0] + LANDMARK_MARGIN, grid.corners()[-1] - LANDMARK_MARGIN
    return np.asarray(((points > low) & (points < high)).all(axis=1))
