"""A stack as one transform."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.grids import Grid
from teralign.tasks.compose_transforms import compose_transforms
from teralign.transforms import CHUNK_SHAPE, Affine, DisplacementField, Stack, as_field, load_transform, save_field
from teralign.volumes import create_volume

NODES = Grid((12, 11, 10), (8.0, 9.0, 10.0), (-4.0, 5.0, 2.0))
MATRIX = np.array([[1.1, 0.05, 0], [0, 0.9, -0.1], [0.02, 0, 1.0]])


def wave(grid, length, height):
    at = np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing + grid.origin
    return DisplacementField(height * np.sin(2 * np.pi * at[..., [2, 0, 1]] / length), grid)


@pytest.fixture
def files(tmp_path):
    Affine.from_parts(MATRIX, (5.0, 0.0, -2.0)).save(tmp_path / "a.mat")
    save_field(tmp_path / "u.zarr", wave(NODES, 60.0, 2.0))
    save_field(tmp_path / "v.zarr", wave(Grid((30, 30, 30), (4.0, 4.0, 4.0), (-10.0,) * 3), 80.0, 3.0))
    return tmp_path


def stack_of(folder, *names):
    return Stack(tuple(load_transform(folder / name) for name in names))


def inside(grid, count=500):
    share = np.random.default_rng(0).uniform(0, 1, (count, 3))
    return grid.to_physical(share * (np.array(grid.shape) - 1))


def distances(a, b):
    return np.linalg.norm(a - b, axis=1)


def test_affines_become_their_product(files):
    Affine.from_parts(np.eye(3), (1.0, 2.0, 3.0)).save(files / "b.mat")
    result = compose_transforms([files / "a.mat", files / "b.mat"], files / "c.mat")
    both = stack_of(files, "a.mat", "b.mat").affine
    assert np.array_equal(load_transform(files / "c.mat").matrix, both.matrix)
    assert json.loads((files / "c.residual.json").read_text())["residual_um"]["maximum"] == 0
    assert result.report == str(files / "c.residual.json")


def test_an_affine_after_a_field_loses_nothing(files):
    result = compose_transforms([files / "a.mat", files / "u.zarr"], files / "c.zarr")
    composed, points = load_transform(files / "c.zarr"), inside(NODES)
    assert composed.grid == NODES
    assert distances(composed.map_points(points), stack_of(files, "a.mat", "u.zarr").map_points(points)).max() < 1e-4
    assert result.residual_um.maximum < 1e-4


def test_the_report_tells_what_lies_between_the_nodes_and_closer_nodes_halve_it_twice(files):
    names = ["u.zarr", "a.mat", "v.zarr"]
    paths = [files / name for name in names]
    residuals = []
    for spacing in (4.0, 2.0):
        output = files / f"c{spacing:g}.zarr"
        said = compose_transforms(paths, output, grid_spacing=(spacing,) * 3).residual_um
        points = inside(load_transform(output).grid)
        measured = distances(load_transform(output).map_points(points), stack_of(files, *names).map_points(points))
        assert said.mean == pytest.approx(measured.mean(), rel=0.2)
        assert measured.max() < 1.5 * said.maximum
        residuals.append(said.mean)
    assert residuals[1] < 0.4 * residuals[0]


def test_the_grid_is_as_fine_as_the_finest_field_and_reaches_as_far_as_the_innermost(files):
    compose_transforms([files / "v.zarr", files / "u.zarr"], files / "c.zarr")
    grid = load_transform(files / "c.zarr").grid
    assert grid.spacing == (4.0, 4.0, 4.0)
    assert grid.origin == NODES.origin
    beyond = np.array(grid.to_physical(np.array(grid.shape) - 1)) - NODES.to_physical(np.array(NODES.shape) - 1)
    assert ((beyond > -1e-9) & (beyond < 4)).all()


def test_an_affine_before_the_field_moves_the_grid(files):
    compose_transforms([files / "u.zarr", files / "a.mat"], files / "c.zarr")
    grid, affine = load_transform(files / "c.zarr").grid, load_transform(files / "a.mat")
    corners = affine.inverse().map_points(NODES.corners())
    index = grid.to_index(corners)
    assert (index > -1e-6).all()
    assert (index < np.array(grid.shape) - 1 + 1e-6).all()
    np.testing.assert_allclose(grid.origin, corners.min(axis=0))


def test_the_grid_of_a_volume_has_a_node_every_four_voxels(files):
    create_volume(files / "fixed.zarr", grid=Grid((40, 41, 42), (1.0, 1.5, 2.0), (3.0, 2.0, 1.0)), dtype=np.uint8)
    compose_transforms([files / "a.mat", files / "u.zarr"], files / "c.zarr", fixed=str(files / "fixed.zarr"))
    grid = load_transform(files / "c.zarr").grid
    assert grid == Grid((11, 11, 12), (4.0, 6.0, 8.0), (3.0, 2.0, 1.0))


def test_chunks_make_the_same_field_as_one_piece(files):
    compose_transforms([files / "u.zarr", files / "v.zarr"], files / "parts.zarr", grid_spacing=(1.5,) * 3, threads=2)
    parts = load_transform(files / "parts.zarr")
    assert all(n > side for n, side in zip(parts.grid.shape, CHUNK_SHAPE, strict=True))
    whole = as_field(stack_of(files, "u.zarr", "v.zarr"), parts.grid, threads=1)
    np.testing.assert_allclose(parts.read().values, whole.values, atol=1e-5)
