"""Volumes made unit by unit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from teralign.blockwise import Workspace
from teralign.cluster import Capacity
from teralign.filling import Filling, NewVolume, make_levels, plan_fill
from teralign.grids import Grid
from teralign.tasks.convert_volume import Copier
from teralign.volumes import Chunking, create_volume, open_volume, plan_volume


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


def test_many_blocks_are_estimated_from_some(tmp_path):
    grid, dtype = Grid((40, 130, 150), (1.0, 0.5, 0.5)), np.dtype("uint8")
    create_volume(tmp_path / "a.zarr", grid=grid, dtype="uint16", levels=1)
    copier = Copier(open_volume(tmp_path / "a.zarr"), range(1), range(1), grid.region, dtype)
    output = tmp_path / "b.zarr"
    layout = plan_volume(output, grid=grid, dtype=dtype, chunking=Chunking((16, 32, 64)), levels=3)
    filling = Filling(NewVolume(str(output), overwrite=False), copier, layout, "convert", {})
    exact, estimated = (plan_fill(filling, Capacity.here(), samples=samples) for samples in (200, 7))
    assert exact.blocks["convert"] > 7
    assert estimated.worker_memory_bytes == pytest.approx(exact.worker_memory_bytes, rel=0.01)
    largest = {"worker_memory_bytes": estimated.worker_memory_bytes, "largest_block": estimated.largest_block}
    assert estimated == dataclasses.replace(exact, **largest)
