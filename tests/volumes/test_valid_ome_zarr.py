"""OME-Zarr that we write, held against the specification by a validator of others."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.grids import Grid
from teralign.volumes import create_volume
from volume_files import noise

yaozarrs = pytest.importorskip("yaozarrs")

GRID = Grid((20, 70, 45), (2.0, 0.5, 0.5), (1.0, -2.0, 3.5))
IMAGE = {"dtype": "uint16", "channels": 2, "channel_names": ("DAPI", "GFP")}
KINDS = {"image": IMAGE, "series": {**IMAGE, "timepoints": 3}, "labels": {"dtype": "uint64", "label": True}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["0.4", "0.5", "0.5 sharded"])
@pytest.mark.parametrize("dataset", ["", "rounds/one"])
def test_what_is_written_is_valid(kind, form, dataset, tmp_path, monkeypatch):
    if "sharded" in form:
        monkeypatch.setattr("teralign.volumes.writer._SHARDED_FROM", 0)
        monkeypatch.setattr("teralign.volumes.writer._SHARD", 32)
    path = tmp_path / "out.zarr" / dataset
    writer = create_volume(
        path, grid=GRID, levels=3, chunk_shape=(16, 32, 16), ome_zarr=form.split()[0], **KINDS[kind]
    )
    array = noise(GRID.shape, KINDS[kind]["dtype"])
    stored = []
    for channel, timepoint in np.ndindex(writer.channels, writer.timepoints):
        for unit in GRID.region.split(writer.write_shape):
            stored += writer.write(unit, array[unit.slices], channel=channel, timepoint=timepoint)
    writer.finish(stored)
    found = yaozarrs.validate_zarr_store(path)
    assert found.ome_version() == form.split()[0]
