"""Tasks on volumes in buckets and on web servers."""

import shutil

import numpy as np
import pytest

from teralign.grids import Grid, Region
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.sources import open_source
from teralign.transforms import Affine
from teralign.volumes import create_volume, open_volume

GRID = Grid((40, 50, 60), (1.0, 0.5, 0.5))


@pytest.fixture
def case(tmp_path):
    """A volume of two channels in N5, a fixed one in Zarr, and an affine."""
    rng = np.random.default_rng(0)
    for name, channels in (("moving.n5", 2), ("fixed.zarr", 1)):
        writer = create_volume(tmp_path / name, grid=GRID, dtype="uint16", channels=channels)
        for channel in range(channels):
            writer.write(GRID.region, rng.integers(0, 60000, GRID.shape, np.uint16), channel=channel)
    Affine.from_parts(np.eye(3), (1.3, -2.2, 3.1)).save(tmp_path / "affine.mat")
    return tmp_path


def test_volumes_by_address_are_warped_as_those_on_a_disk(case, bucket, website):
    folder, site = website
    shutil.copytree(case / "fixed.zarr", folder / "fixed.zarr")
    affine = [case / "affine.mat"]
    moving = bucket.upload(case / "moving.n5")
    options = {"transforms": affine, "workers": 1, "worker_cpus": 1, "worker_mem_gb": 1}
    apply_transform(f"{site}/fixed.zarr", moving, output=str(case / "remote.zarr"), **options)
    apply_transform(str(case / "fixed.zarr"), str(case / "moving.n5"), output=str(case / "local.zarr"), **options)
    remote, local = open_volume(case / "remote.zarr"), open_volume(case / "local.zarr")
    assert (remote.grid, remote.channels) == (local.grid, 2)
    for channel in range(2):
        assert local.read(channel=channel).any()
        np.testing.assert_array_equal(remote.read(channel=channel), local.read(channel=channel))


def test_a_source_and_its_mask_may_be_addresses(case, bucket):
    address = bucket.upload(case / "moving.n5")
    source = open_source("moving", f"{address}/c1/s0", mask=f"{address}/c0/s0")
    local = open_source("moving", str(case / "moving.n5/c1/s0"), mask=str(case / "moving.n5/c0/s0"))
    region = Region((3, 4, 5), (20, 30, 40))
    found, wanted = source.read(region), local.read(region)
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_array_equal(found.mask, wanted.mask)
    assert source.digest() == open_source("moving", f"{address}/c1/s0", mask=f"{address}/c0/s0").digest()
    assert source.digest() != local.digest()
