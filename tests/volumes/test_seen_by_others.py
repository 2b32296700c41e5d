"""What we write, held against the specifications and read by the libraries of others.

yaozarrs is in the test group. ome-zarr-models wants an older pydantic than ours, ngff-zarr and cloud-volume bring
dozens of packages: they are used where someone has installed them.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from teralign.grids import Grid
from teralign.volumes import Chunking, DisplaySettings, VolumeWriter, create_volume
from volume_files import noise

GRID = Grid((20, 70, 45), (2.0, 0.5, 0.5), (2.0, -2.0, 4.0))
CHUNKS = Chunking((16, 32, 16))
SHARDS = Chunking((16, 32, 16), shard_side=32, min_sharded_voxels=0)
DISPLAY = (DisplaySettings("FF8000", (0.0, 4095.0, 20.0, 900.5)), DisplaySettings())
IMAGE = {"dtype": "uint16", "channels": 2, "channel_names": ("DAPI", "GFP"), "display": DISPLAY}
LABELS = {"dtype": "uint64", "label": True}
KINDS = {"image": IMAGE, "series": {**IMAGE, "timepoints": 3, "time_step": 2.5}, "labels": LABELS}


def fill(path: Path, **options) -> tuple[VolumeWriter, list[np.ndarray]]:
    """A volume of noise, and the voxels (t, c, z, y, x) of its scales."""
    writer = create_volume(path, grid=GRID, levels=3, **{"chunking": CHUNKS, **options})
    images = list(np.ndindex(writer.layout.timepoints, writer.layout.channels))
    array = noise((writer.layout.timepoints, writer.layout.channels, *GRID.shape), writer.dtype.name)
    stored = []
    for t, c in images:
        where = {"channel": c, "timepoint": t}
        for unit in GRID.region.split(writer.write_shape):
            stored += writer.write(unit, np.ascontiguousarray(array[t, c][unit.slices]), **where)
        for level, grid in enumerate(writer.levels[1:], 1):
            for unit in grid.region.split(writer.write_shape):
                stored += writer.build_level_region(level, unit, **where)
    writer.finish(stored)
    levels = [
        np.stack([writer.read(grid.region, level=level, channel=c, timepoint=t) for t, c in images])
        for level, grid in enumerate(writer.levels)
    ]
    return writer, [voxels.reshape(*array.shape[:2], *voxels.shape[1:]) for voxels in levels]


@pytest.fixture(params=["0.4", "0.5", "0.5 sharded"])
def version(request):
    """The version of OME-Zarr, and how its chunks lie in files."""
    return request.param.split()[0], SHARDS if "sharded" in request.param else CHUNKS


def by_yaozarrs(path: Path, version: str, kind: str) -> None:
    found = importlib.import_module("yaozarrs").validate_zarr_store(path)
    assert found.ome_version() == version


def by_ome_zarr_models(path: Path, version: str, kind: str) -> None:
    module, name = ("image_label", "ImageLabel") if kind == "labels" else ("image", "Image")
    models = importlib.import_module(f"ome_zarr_models.v{version.replace('.', '')}.{module}")
    getattr(models, name).from_zarr(zarr.open_group(path, mode="r"))


def by_ngff_zarr(path: Path, version: str, kind: str) -> None:
    found = importlib.import_module("ngff_zarr").from_ngff_zarr(path, validate=True)
    finest = found.images[0]
    assert [finest.scale[axis] for axis in "zyx"] == list(GRID.spacing)
    assert [finest.translation[axis] for axis in "zyx"] == list(GRID.origin)


VALIDATORS = {"yaozarrs": by_yaozarrs, "ome_zarr_models": by_ome_zarr_models, "ngff_zarr": by_ngff_zarr}


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("validator", VALIDATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_ome_zarr_is_valid(validator, kind, version, tmp_path):
    pytest.importorskip(validator)
    path = tmp_path / "out.zarr" / "rounds" / "one"
    version, chunking = version
    fill(path, ome_zarr=version, chunking=chunking, **KINDS[kind])
    VALIDATORS[validator](path, version, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_ome_zarr_is_read_identically(kind, version, tmp_path):
    path = tmp_path / "out.zarr"
    version, chunking = version
    _, levels = fill(path, ome_zarr=version, chunking=chunking, **KINDS[kind])
    driver = "zarr" if version == "0.4" else "zarr3"
    for level, voxels in enumerate(levels):
        np.testing.assert_array_equal(zarr.open_array(path / f"s{level}", mode="r")[...], voxels)
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/s{level}/"}}
        np.testing.assert_array_equal(ts.open(spec).result().read().result(), voxels)


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_precomputed_is_read_identically_by_tensorstore(kind, tmp_path):
    path = tmp_path / "out.precomputed"
    _, levels = fill(path, **KINDS[kind])
    store = {"driver": "file", "path": f"{path}/"}
    for index, voxels in enumerate(levels):
        spec = {"driver": "neuroglancer_precomputed", "kvstore": store, "scale_index": index}
        np.testing.assert_array_equal(ts.open(spec).result().read().result().T, voxels[0])


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_precomputed_is_read_identically_by_cloud_volume(kind, tmp_path):
    cloudvolume = pytest.importorskip("cloudvolume")
    path = tmp_path / "out.precomputed"
    writer, levels = fill(path, **KINDS[kind])
    for mip, voxels in enumerate(levels):
        found = cloudvolume.CloudVolume(f"file://{path}", mip=mip, fill_missing=True, progress=False)
        assert found.layer_type == ("segmentation" if kind == "labels" else "image")
        assert list(found.resolution) == [1000 * size for size in writer.levels[mip].spacing[::-1]]
        np.testing.assert_array_equal(np.asarray(found[:]).T, voxels[0])
