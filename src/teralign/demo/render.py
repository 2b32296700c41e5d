"""One imaging round as voxels, tile by tile: memory depends on the tile, and voxels do not depend on the tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.demo import kernels
from teralign.demo.camera import Round
from teralign.demo.scene import PORTION, Scene
from teralign.demo.truth import TrueMap
from teralign.grids import Floats, Grid, Region

VESSEL_REACH = 4.0
"""µm outside its wall at which a vessel is no longer visible."""
SLACK = 1.1
"""Factor by which boxes are larger than the deformation at their centres predicts."""


@dataclass(frozen=True)
class View:
    """A scene as imaged in one round: `render` returns its voxels. Boxes (n, 2, 3) are starts and stops in `grid`.

    Another `draw` of the same round has other noise.
    """

    scene: Scene
    true_map: TrueMap
    grid: Grid
    round: Round
    cell_boxes: NDArray[np.int32]
    vessel_boxes: NDArray[np.int32]
    draw: int = 0

    @classmethod
    def of(cls, scene: Scene, true_map: TrueMap, grid: Grid, round_: Round) -> View:
        """Find the box of each cell and vessel in `grid`; a cell missing in this round has an empty box."""
        cells, vessels = scene.cells, scene.vessels
        reach = np.where(cells.brightness[:, round_.index] > 0, kernels.CELL_EDGE * cells.reach, -np.inf)
        lengths = np.linalg.norm(vessels.ends[:, 1] - vessels.ends[:, 0], axis=1)
        return cls(
            scene,
            true_map,
            grid,
            round_,
            _boxes(true_map, grid, cells.centres, reach),
            _boxes(true_map, grid, vessels.ends.mean(axis=1), vessels.radii.max(axis=1) + lengths / 2 + VESSEL_REACH),
        )

    def render(self, region: Region) -> NDArray[np.uint16]:
        """Return the voxels of a tile, uint16 (z, y, x)."""
        scene, camera, bend = self.scene, self.round, self.true_map
        matrix = bend.tile_matrix(self.grid.crop(region))
        places = kernels.scene_coordinates(region.shape, matrix, bend.origin, bend.spacing, bend.knots)
        seen, boxes = _within(self.cell_boxes, region)
        cells = kernels.draw_cells(
            places,
            boxes,
            seen,
            scene.cells.centres[seen],
            scene.cells.frames[seen],
            scene.cells.brightness[seen, camera.index],
            scene.cells.hollow[seen],
        )
        seen, boxes = _within(self.vessel_boxes, region)
        walls = kernels.draw_vessels(places, boxes, scene.vessels.ends[seen], scene.vessels.radii[seen], VESSEL_REACH)
        tile: NDArray[np.uint16] = kernels.expose(
            places,
            cells,
            walls,
            scene.surface,
            scene.noise_seed,
            camera.light(self.grid.shape, region),
            camera.fog(self.grid.shape, region),
            (camera.offset, camera.read_noise, camera.counts_per_photon),
            int(np.ravel_multi_index(region.start, self.grid.shape)),
            (self.grid.shape[1] * self.grid.shape[2], self.grid.shape[2]),
            scene.noise_seed + np.uint64(100 + camera.index + 1000 * self.draw),
        )
        return tile


def _boxes(true_map: TrueMap, grid: Grid, centres: Floats, reach: Floats) -> NDArray[np.int32]:
    """Return the boxes of voxels (n, 2, 3) within `reach` µm of scene points; empty where `reach` is negative."""
    boxes = np.empty((len(centres), 2, 3), dtype=np.int32)
    for first in range(0, len(centres), PORTION):
        some = slice(first, first + PORTION)
        boxes[some] = _boxes_at_once(true_map, grid, centres[some], reach[some])
    return boxes


def _boxes_at_once(true_map: TrueMap, grid: Grid, centres: Floats, reach: Floats) -> NDArray[np.int64]:
    middle = grid.to_index(true_map.to_moving(centres))
    stretch = np.linalg.norm(true_map.affine[:3, :3] @ np.linalg.inv(true_map.jacobian(centres)), ord=2, axis=(1, 2))
    half = np.maximum(reach, 0)[:, None] * SLACK * stretch[:, None] / np.asarray(grid.spacing)
    start = np.floor(middle - half).astype(np.int64)
    stop = np.where(reach[:, None] > 0, np.ceil(middle + half).astype(np.int64) + 1, start)
    return np.stack([start, stop], axis=1)


def _within(boxes: NDArray[np.int32], region: Region) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of boxes that meet the region, and their parts inside it, counted from its start."""
    candidates = np.flatnonzero((boxes[:, 0, 0] < region.stop[0]) & (boxes[:, 1, 0] > region.start[0]))
    start = np.maximum(boxes[candidates, 0], region.start)
    stop = np.minimum(boxes[candidates, 1], region.stop)
    meet = (stop > start).all(axis=1)
    return candidates[meet], np.stack([start[meet], stop[meet]], axis=1) - np.asarray(region.start)
