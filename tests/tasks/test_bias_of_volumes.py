"""The bias of a stitched volume, from end to end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.filling import write_array
from teralign.grids import Grid
from teralign.tasks.bias import apply_bias, estimate_bias, plan_apply_bias
from teralign.volumes import open_volume, plan_volume

ONE = Compute(workers=1, worker_cpus=1)


def biased(path, spacing, shape=(24, 64, 72)):
    """Write tissue whose brightness doubles along y and falls along z; returns the volume without the bias."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    clear = 4000 * np.exp(0.15 * texture / texture.std())
    z, y = np.linspace(-1, 1, shape[0])[:, None, None], np.linspace(-1, 1, shape[1])[:, None]
    grid = Grid(shape, spacing, (5.0, 6.0, 7.0))
    layout = plan_volume(path, grid=grid, dtype=np.uint16, levels=3)
    write_array(str(path), layout, np.rint(clear * np.exp(0.35 * y - 0.15 * z)).astype(np.uint16))
    return clear


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (8.0, 2.0, 2.0)], ids=["isotropic", "anisotropic"])
def test_bias_is_taken_out_of_isotropic_and_anisotropic_pyramids(tmp_path, spacing):
    """Pyramids whose z is halved too, which broke the bias correction of others, and those whose z is kept."""
    clear = biased(tmp_path / "v.zarr", spacing)
    found = estimate_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd")
    assert all(7 < size < 20 for size in found.spacing)
    apply_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd", tmp_path / "even.zarr", compute=ONE)
    before, after = (open_volume(tmp_path / name) for name in ("v.zarr", "even.zarr"))
    assert after.grid == before.grid and after.dtype == np.uint16
    ratios = [np.log(np.asarray(v.read(v.grid.region)) / clear) for v in (before, after)]
    spread = [ndimage.uniform_filter(ratio - ratio.mean(), 5).std() for ratio in ratios]
    assert spread[1] < 0.4 * spread[0]
    edges = np.concatenate(
        [ratios[1][:, [0, -1]].ravel(), ratios[1][:, :, [0, -1]].ravel(), ratios[1][[0, -1]].ravel()]
    )
    assert np.percentile(np.abs(edges - ratios[1].mean()), 95) < 0.3


def test_the_source_stays_and_a_second_correction_is_refused(tmp_path):
    biased(tmp_path / "v.zarr", (5.0, 5.0, 5.0))
    before = np.asarray(open_volume(tmp_path / "v.zarr").read(open_volume(tmp_path / "v.zarr").grid.region))
    estimate_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd")
    plan = plan_apply_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd", tmp_path / "even.zarr", compute=ONE)
    assert plan.write_bytes >= before.nbytes and not (tmp_path / "even.zarr").exists()
    apply_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd", tmp_path / "even.zarr", compute=ONE)
    volume = open_volume(tmp_path / "v.zarr")
    np.testing.assert_array_equal(volume.read(volume.grid.region), before)
    with pytest.raises(InputError, match="already"):
        apply_bias(tmp_path / "even.zarr", tmp_path / "bias.nrrd", tmp_path / "twice.zarr", compute=ONE)
    with pytest.raises(InputError, match="lies in the volume"):
        apply_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd", tmp_path / "v.zarr", overwrite=True)


def test_bright_voxels_saturate_instead_of_wrapping(tmp_path):
    grid = Grid((4, 8, 8), (15.0, 15.0, 15.0))
    for name, value, dtype in (("v", 60000, np.uint16), ("bias", 2, np.float32)):
        layout = plan_volume(tmp_path / f"{name}.nrrd", grid=grid, dtype=dtype, levels=1)
        write_array(str(tmp_path / f"{name}.nrrd"), layout, np.full(grid.shape, value, dtype))
    apply_bias(tmp_path / "v.nrrd", tmp_path / "bias.nrrd", tmp_path / "even.nrrd", compute=ONE)
    even = open_volume(tmp_path / "even.nrrd")
    assert (np.asarray(even.read(even.grid.region)) == 65535).all()


def test_a_bias_of_another_place_is_refused(tmp_path):
    biased(tmp_path / "v.zarr", (5.0, 5.0, 5.0))
    grid = Grid((4, 8, 8), (15.0, 15.0, 15.0))
    write_array(
        str(tmp_path / "bias.nrrd"),
        plan_volume(tmp_path / "bias.nrrd", grid=grid, dtype=np.float32, levels=1),
        np.ones(grid.shape, np.float32),
    )
    with pytest.raises(InputError, match="does not cover"):
        apply_bias(tmp_path / "v.zarr", tmp_path / "bias.nrrd", tmp_path / "even.zarr")
