"""The pieces of an output: all of it, and no file in two of them."""

from __future__ import annotations

import dataclasses

import pytest

from teralign.blockwise import Workspace
from teralign.grids import Grid, Region
from teralign.tasks.fill_volume import make_levels
from teralign.tasks.units import WriteUnits
from teralign.volumes import create_volume


def test_units_tile_the_array():
    units = WriteUnits((40, 70, 33), (16, 32, 16))
    assert [unit.core for unit in units] == list(Region.whole((40, 70, 33)).split((16, 32, 16)))
    assert len(units) == len({unit.name for unit in units}) == 3 * 3 * 3
    assert sum(unit.core.size for unit in units) == 40 * 70 * 33


def test_a_sample_is_spread_over_all():
    units = WriteUnits((40, 70, 33), (16, 32, 16))
    assert units.sample(27) == units.sample(1000) == list(units)
    some = units.sample(5)
    assert some == [unit for unit in units if unit in some]
    assert 4 <= len(some) <= 5
    assert len(WriteUnits((25600,) * 3, (128,) * 3).sample(200)) == 200


@pytest.mark.parametrize("name", ["a.zarr", "a.n5"])
def test_tasks_that_would_share_a_file_are_refused(tmp_path, name):
    grid = Grid((64, 64, 64), (1.0, 1.0, 1.0))
    writer = create_volume(tmp_path / name, grid=grid, dtype="uint8", chunk_shape=(16, 16, 16), levels=2)
    cutting = dataclasses.replace(writer, write_shape=(16, 24, 16))
    with Workspace(tmp_path / "partial") as workspace:
        workspace.prepare({})
        with pytest.raises(ValueError, match=r"tasks of \(16, 24, 16\) voxels would share files of \(16, 16, 16\)"):
            make_levels(cutting, [1], None, workspace)
        assert not workspace.has_records("level-1")
