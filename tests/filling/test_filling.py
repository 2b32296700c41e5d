"""Volumes made unit by unit."""

from __future__ import annotations

import dataclasses

import pytest

from teralign.blockwise import Workspace
from teralign.filling import make_levels
from teralign.grids import Grid
from teralign.volumes import Chunking, create_volume


@pytest.mark.parametrize("name", ["a.zarr", "a.n5"])
def test_tasks_that_would_share_a_file_are_refused(tmp_path, name):
    grid = Grid((64, 64, 64), (1.0, 1.0, 1.0))
    writer = create_volume(tmp_path / name, grid=grid, dtype="uint8", chunking=Chunking((16, 16, 16)), levels=2)
    cutting = dataclasses.replace(writer, layout=dataclasses.replace(writer.layout, write_shape=(16, 24, 16)))
    with Workspace(tmp_path / "partial") as workspace:
        workspace.prepare({})
        with pytest.raises(ValueError, match=r"tasks of \(16, 24, 16\) voxels would share files of \(16, 16, 16\)"):
            make_levels(cutting, [1], None, workspace)
        assert not workspace.has_records("level-1")
