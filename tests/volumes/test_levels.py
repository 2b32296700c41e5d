"""Which levels of a container can stand for the means of a volume."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teralign.grids import Grid
from teralign.volumes import coarser_levels, create_volume, open_volume

GRID = Grid((40, 48, 56), (2.0, 1.0, 1.0), (5.0, 6.0, 7.0))


def pyramid(path, channels=1):
    """A volume of three levels at `path`."""
    writer = create_volume(path, grid=GRID, dtype=np.uint16, channels=channels, levels=3)
    array = np.random.default_rng(0).integers(0, 9000, GRID.shape, dtype=np.uint16)
    for channel in range(channels):
        writer.write(GRID.region, array, channel=channel)
        for level in (1, 2):
            writer.build_level_region(level, writer.levels[level].region, channel=channel)


@pytest.mark.parametrize(("name", "channels"), [("v.zarr", 2), ("v.n5", 1), ("v.n5", 2)])
def test_levels_are_found_by_their_factors(tmp_path, name, channels):
    pyramid(tmp_path / name, channels)
    volume = open_volume(tmp_path / name / "s0")
    levels = coarser_levels(volume)
    assert set(levels) == {(1, 2, 2), (2, 4, 4)}
    for factors, level in levels.items():
        assert level.grid.shape == volume.grid.downsample(factors).shape
        np.testing.assert_allclose(level.grid.origin, volume.grid.downsample(factors).origin)
        assert level.channels == channels
    assert set(coarser_levels(levels[1, 2, 2])) == {(2, 2, 2)}
    assert coarser_levels(levels[2, 4, 4]) == {}


def test_levels_follow_a_voxel_size_that_replaces_the_stated_one(tmp_path):
    pyramid(tmp_path / "v.zarr")
    volume = open_volume(tmp_path / "v.zarr", spacing=(4.0, 3.0, 3.0))
    assert coarser_levels(volume)[2, 4, 4].grid == volume.grid.downsample((2, 4, 4))


def test_a_level_that_lies_elsewhere_is_not_taken(tmp_path):
    pyramid(tmp_path / "v.zarr")
    path = tmp_path / "v.zarr" / "zarr.json"
    metadata = json.loads(path.read_text())
    datasets = metadata["attributes"]["ome"]["multiscales"][0]["datasets"]
    datasets[1]["coordinateTransformations"][1]["translation"] = [0.0, 0.0, *GRID.origin]
    path.write_text(json.dumps(metadata))
    assert set(coarser_levels(open_volume(tmp_path / "v.zarr"))) == {(2, 4, 4)}
