"""Regions of which nothing is stored are known without reading them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from teralign.grids import Grid, Region
from teralign.volumes import Chunking, create_volume, open_volume
from volume_files import EVERY_FORMAT, SPACING, noise

GRID = Grid((40, 64, 48), (1.0, 1.0, 1.0))
CHUNKS = Chunking((16, 32, 16))
SHARDS = Chunking((16, 32, 16), shard_side=32, min_sharded_voxels=0)
CORNER = Region((16, 32, 16), (32, 64, 32))


@pytest.mark.parametrize("name", ["a.zarr", "sharded.zarr", "a.n5"])
def test_only_what_no_chunk_holds_is_blank(tmp_path, name):
    chunking = SHARDS if name == "sharded.zarr" else CHUNKS
    writer = create_volume(tmp_path / name, grid=GRID, dtype="uint16", channels=2, chunking=chunking, levels=1)
    first = Region((0, 0, 0), writer.write_shape)
    writer.write(first, np.full(first.shape, 7, np.uint16), channel=1)
    volume = open_volume(tmp_path / name)
    assert volume.is_blank(GRID.region)
    assert not volume.is_blank(GRID.region, channel=1)
    assert not volume.is_blank(Region((15, 31, 15), (16, 32, 16)), channel=1)
    beyond = Region(tuple(first.stop), GRID.shape)
    assert volume.is_blank(beyond, channel=1)
    assert not volume.read(beyond, channel=1).any()


def test_what_is_missing_of_a_volume_that_fills_with_another_value_is_not_blank(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=GRID.shape, chunks=(16, 32, 16), dtype="uint16", fill_value=7)
    volume = open_volume(tmp_path / "a.zarr", spacing=(1, 1, 1))
    assert not volume.is_blank(CORNER)
    assert (volume.read(CORNER) == 7).all()


@pytest.mark.parametrize("form", EVERY_FORMAT)
def test_nothing_that_is_there_is_blank(form, tmp_path):
    path, _ = EVERY_FORMAT[form].write(tmp_path, noise((20, 17, 23), "uint16"))
    volume = open_volume(path, spacing=SPACING)
    assert not volume.is_blank(volume.grid.region)
    assert not volume.is_blank(Region((19, 16, 22), (20, 17, 23)))
