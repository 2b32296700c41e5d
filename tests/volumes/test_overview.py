import shutil

import numpy as np
import pytest

from teralign.grids import Grid
from teralign.volumes import Chunking, OverviewSize, create_volume, open_volume, overview, read_overview


@pytest.fixture(params=["pair.n5", "pair.zarr"])
def pyramid(request, tmp_path):
    """A ramp along each axis, on three scales; the value is the physical position z + 2 y + 3 x in µm."""
    grid = Grid((40, 65, 96), (0.84, 0.92, 0.92))
    writer = create_volume(
        tmp_path / request.param, grid=grid, dtype=np.float32, levels=3, chunking=Chunking((32, 32, 32))
    )
    for level, here in enumerate(writer.levels):
        writer.write(here.region, ramp(here), level=level)
    return tmp_path / request.param


def ramp(grid):
    z, y, x = (o + s * np.arange(n) for o, s, n in zip(grid.origin, grid.spacing, grid.shape, strict=True))
    return (z[:, None, None] + 2 * y[:, None] + 3 * x).astype(np.float32)


def finest(pyramid):
    return open_volume(next(uri for uri in (pyramid / "s0", pyramid / "0") if uri.is_dir()))


@pytest.mark.parametrize("voxels", [10**9, 60_000, 5_000, 200])
def test_values_stay_where_they_are(pyramid, voxels):
    found = read_overview(finest(pyramid), size=OverviewSize(kept=voxels))
    assert np.allclose(found.array, ramp(found.grid), atol=1e-3)
    assert found.array.size <= 3 * voxels


def test_the_coarsest_sufficient_scale_is_read(pyramid):
    volume = finest(pyramid)
    sizes = [overview._coarsest(volume, target).grid.shape for target in (0.92, 1.84, 2.5, 4.0, 100.0)]
    assert sizes == [(40, 65, 96), (20, 32, 48), (20, 32, 48), (10, 16, 24), (10, 16, 24)]


def test_another_volume_in_the_group_is_not_a_scale(pyramid):
    other = create_volume(
        pyramid.with_stem("other"), grid=Grid((4, 4, 4), (5.0, 5.0, 5.0)), dtype=np.float32, levels=1
    )
    other.write(other.levels[0].region, np.zeros((4, 4, 4), np.float32))
    shutil.copytree(finest(pyramid.with_stem("other")).uri, pyramid / "other")
    assert len(overview._scales_beside(finest(pyramid))) == 3


def test_of_too_large_a_volume_the_middle_is_read(pyramid, caplog):
    found = read_overview(finest(pyramid), size=OverviewSize(kept=10**9, read=40 * 65 * 96 // 8))
    assert found.array.shape == (20, 32, 48)
    assert np.allclose(found.array, ramp(found.grid), atol=1e-3)
    assert "middle" in caplog.text


def test_window_ignores_specks():
    array = np.random.default_rng(0).normal(100, 10, (64, 64, 64)).astype(np.float32)
    array[0, 0, :5] = 1e6
    low, high = overview.Overview(array, Grid((64, 64, 64), (1, 1, 1))).window
    assert 80 < low < 100 < high < 200
