"""The contents of the scene: cells, vessels and the surface of the tissue, in scene coordinates (zyx, µm).

The statistics follow expanded brain tissue under a light sheet: some cells large and hollow (pale nucleus, bright
nucleolus), others small and bright, in clusters; vessels dark with bright walls, branching down to capillaries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from teralign.demo import kernels
from teralign.grids import Floats, Grid

CANDIDATE_SPACING = 6.0
"""µm: one cell is tried for each cube of this side; crowding and sparse places leave about half."""
SEGMENT = 7.0
"""µm: length of a straight piece of vessel."""
OVERLAP = 0.8
"""Smallest distance between two cells, as a share of the sum of their mean radii."""
PORTION = 50_000
"""Number of cells processed together; it bounds the memory."""


@dataclass(frozen=True)
class Cells:
    """Ellipsoids with dents.

    `centres` (n, 3) in µm; `frames` (n, 3, 3) turn an offset in µm into radii; `reach` (n,) is the longest
    half-axis in µm; `brightness` (n, 2) counts in the fixed and the moving round, 0 where a cell is missing;
    `hollow` (n,), 0 to 1, how much paler the nucleus is.
    """

    centres: Floats
    frames: NDArray[np.float32]
    reach: Floats
    brightness: Floats
    hollow: Floats

    def select(self, keep: NDArray[np.bool_]) -> Cells:
        """Return only the cells where `keep` (n,) holds."""
        return Cells(
            self.centres[keep], self.frames[keep], self.reach[keep], self.brightness[keep], self.hollow[keep]
        )


@dataclass(frozen=True)
class Vessels:
    """Conical segments: `ends` (n, 2, 3) and the radius at each end, `radii` (n, 2), in µm."""

    ends: Floats
    radii: Floats


@dataclass(frozen=True)
class Scene:
    """Cells and vessels in tissue, which lies on one side of a wavy `surface`: plane (nz, ny, nx, offset)."""

    cells: Cells
    vessels: Vessels
    surface: Floats
    noise_seed: np.uint64

    def tissue(self, points: Floats) -> Floats:
        """Return the share of tissue at points (n, 3), 0 to 1: (n,)."""
        return np.asarray(kernels.tissue_at_points(np.ascontiguousarray(points), self.surface, self.noise_seed))


def make_scene(rng: np.random.Generator, low: Floats, high: Floats, view: Grid) -> Scene:
    """Return a scene that fills the box from `low` to `high`; its surface cuts a corner off the view."""
    noise_seed = np.uint64(rng.integers(2**62))
    surface = _cut_corner(rng, view)
    vessels = _grow_vessels(rng, low, high)
    cells = _scatter_cells(rng, low, high, noise_seed)
    outside = kernels.tissue_at_points(cells.centres, surface, noise_seed) < 0.9
    cells = cells.select(~outside & ~_in_vessel(cells, vessels))
    return Scene(cells, vessels, surface, noise_seed)


def _cut_corner(rng: np.random.Generator, view: Grid) -> Floats:
    """Return the plane (nz, ny, nx, offset) that leaves a sixth of the way through the view outside the tissue."""
    normal = np.array([1.0, 0.8, 0.5]) * rng.choice([-1.0, 1.0], 3)
    normal /= np.linalg.norm(normal)
    depth = view.corners() @ normal
    return np.append(normal, depth.min() + 0.17 * np.ptp(depth))


def _scatter_cells(rng: np.random.Generator, low: Floats, high: Floats, noise_seed: np.uint64) -> Cells:
    """Return cells everywhere in the box, denser in some places than in others, without overlap."""
    count = int(np.prod(high - low) / CANDIDATE_SPACING**3)
    centres = rng.uniform(low, high, (count, 3))
    crowd = kernels.noise_at(centres, 60.0, noise_seed + np.uint64(5))
    centres = centres[rng.uniform(size=count) < np.clip(0.5 + 1.2 * crowd, 0.08, 1.0)]
    small = rng.uniform(size=len(centres)) < 0.4
    radius = np.where(small, rng.uniform(2.2, 3.4, len(centres)), rng.uniform(4.0, 6.5, len(centres)))
    free = ~_crowded(centres, radius)
    centres, small, radius = centres[free], small[free], radius[free]
    axes = radius[:, None] * np.exp(rng.normal(0, 0.27, (len(centres), 3)))
    frames = (_random_rotations(rng, len(centres)) / axes[:, :, None]).astype(np.float32)
    hollow = np.where(small, 0.1, 0.6) * rng.uniform(0.3, 1.0, len(centres))
    return Cells(centres, frames, axes.max(axis=1), _draw_brightness(rng, small), hollow)


def _crowded(centres: Floats, radius: Floats) -> NDArray[np.bool_]:
    """Return a mask of the cells that overlap a cell with a smaller number (Matérn's second thinning)."""
    tree, reach = cKDTree(centres), 2 * OVERLAP * float(radius.max(initial=0.0))
    crowded = np.zeros(len(centres), dtype=bool)
    layers = np.argsort(centres[:, 0])
    for first in range(0, len(centres), PORTION):
        some = layers[first : first + PORTION]
        pairs = cKDTree(centres[some]).sparse_distance_matrix(tree, reach, output_type="ndarray")
        number, other = some[pairs["i"]], pairs["j"]
        clash = (other < number) & (pairs["v"] < OVERLAP * (radius[number] + radius[other]))
        crowded[number[clash]] = True
    return crowded


def _random_rotations(rng: np.random.Generator, count: int) -> Floats:
    """Return rotations (count, 3, 3), all equally likely, from unit quaternions."""
    q = rng.normal(size=(count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _draw_brightness(rng: np.random.Generator, small: NDArray[np.bool_]) -> Floats:
    """Return counts above the background in both rounds: one cell in seven changes, disappears or appears."""
    count = len(small)
    fixed = np.where(small, 420.0, 340.0) * np.exp(rng.normal(0, 0.55, count))
    moving = fixed * np.exp(rng.normal(0, 0.12, count))
    fate = rng.uniform(size=count)
    moving[fate < 0.05] *= rng.uniform(0.3, 2.0, count)[fate < 0.05]
    moving[(fate >= 0.05) & (fate < 0.11)] = 0
    fixed[(fate >= 0.11) & (fate < 0.14)] = 0
    return np.stack([fixed, moving], axis=1)


def _in_vessel(cells: Cells, vessels: Vessels) -> NDArray[np.bool_]:
    """Return a mask of the cells that reach into a vessel by more than half."""
    apart, nearest = cKDTree(vessels.ends.mean(axis=1)).query(cells.centres)
    return np.asarray(apart < vessels.radii.mean(axis=1)[nearest] + 0.5 * cells.reach)


def _grow_vessels(rng: np.random.Generator, low: Floats, high: Floats) -> Vessels:
    """Return vessel trees: each starts anywhere in the box, branches, and ends in capillaries or outside the box."""
    trees = max(2, round(float(np.prod(high - low)) / 140.0**3))
    segments: list[tuple[Floats, Floats, float, float]] = []
    for start in rng.uniform(low, high, (trees, 3)):
        heading = rng.normal(size=3)
        radius = rng.uniform(4.0, 9.0)
        for sense in (1.0, -1.0):
            segments += _grow_tree(rng, start, sense * heading, radius, low, high)
    ends = np.array([(a, b) for a, b, _, _ in segments])
    return Vessels(ends, np.array([(ra, rb) for _, _, ra, rb in segments]))


def _grow_tree(
    rng: np.random.Generator, start: Floats, heading: Floats, radius: float, low: Floats, high: Floats
) -> list[tuple[Floats, Floats, float, float]]:
    """Return one tree as segments (from, to, radius there, radius here)."""
    segments = []
    tips = [(start, heading / np.linalg.norm(heading), radius)]
    while tips:
        place, heading, radius = tips.pop()
        while radius > 1.4 and (place >= low).all() and (place <= high).all():
            heading = heading + 0.22 * rng.normal(size=3)
            heading /= np.linalg.norm(heading)
            after, thinner = place + SEGMENT * heading, radius * 0.985
            segments.append((place, after, radius, thinner))
            place, radius = after, thinner
            if rng.uniform() < 0.11:
                aside = heading + 0.9 * rng.normal(size=3)
                tips.append((place, aside / np.linalg.norm(aside), radius * rng.uniform(0.5, 0.8)))
                radius *= 0.9
    return segments
