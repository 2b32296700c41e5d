"""A small pair of volumes with two scales, the map between them, labels and points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from teralign.grids import Grid
from teralign.transforms import Affine, DisplacementField, Stack, load_stack, node_positions, save_map
from teralign.volumes import create_volume

FIXED = Grid((40, 70, 90), (1.2, 0.9, 0.9), (3.0, -2.0, 5.0))
MOVING = Grid((45, 80, 90), (1.0, 1.0, 0.8), (0.5, 0.0, 0.0))
POINTS = 30


@dataclass(frozen=True)
class Case:
    """The files of the pair."""

    folder: Path

    @property
    def fixed(self) -> Path:
        return self.folder / "fixed.zarr"

    @property
    def moving(self) -> Path:
        return self.folder / "moving.zarr"

    @property
    def transform(self) -> Path:
        return self.folder / "transform.zarr"


@pytest.fixture(scope="package")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("viewing")
    rng = np.random.default_rng(1)

    def tissue(grid: Grid) -> np.ndarray:
        smooth = ndimage.gaussian_filter(rng.random(grid.shape), 3)
        return ((smooth - smooth.min()) / np.ptp(smooth) * 4000 + 100).astype(np.uint16)

    write(folder / "fixed.zarr", FIXED, [tissue(FIXED)])
    write(folder / "moving.zarr", MOVING, [tissue(MOVING), tissue(MOVING)])
    cells = (tissue(MOVING) // 1000).astype(np.int32)
    write(folder / "cells.zarr", MOVING, [cells], label=True)
    affine = Affine.from_parts(np.eye(3) + 0.04 * rng.normal(size=(3, 3)), (1.0, 4.0, -3.0))
    nodes = FIXED.nodes((6, 7, 8))
    vectors = ndimage.gaussian_filter(rng.normal(size=(*nodes.shape, 3)), (2, 2, 2, 0)).astype(np.float32) * 10
    save_map(folder / "transform.zarr", Stack((affine, DisplacementField(vectors, nodes))))
    write(folder / "transform.error.zarr", nodes, [rng.random(nodes.shape).astype(np.float32)])
    points = rng.permutation(node_positions(FIXED))[:POINTS]
    moved = load_stack([folder / "transform.zarr"]).map_points(points)
    for name, table in (("fixed", points), ("moving", moved)):
        np.savetxt(folder / f"{name}.csv", table[:, ::-1], delimiter=",", header="x,y,z", comments="")
    return Case(folder)


def write(path: Path, grid: Grid, channels: list[np.ndarray], *, label: bool = False) -> None:
    writer = create_volume(path, grid=grid, dtype=channels[0].dtype, channels=len(channels), levels=2, label=label)
    for channel, array in enumerate(channels):
        writer.write(grid.region, np.ascontiguousarray(array), channel=channel)
        writer.build_level_region(1, writer.levels[1].region, channel=channel)
