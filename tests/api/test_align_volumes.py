"""`teralign.align` of volumes by URI, on workers, gives the points that arrays and the commands give."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client, LocalCluster
from small_rounds import GRID, SPACING

import teralign as ta
from teralign.alignment import BlockOptions
from teralign.errors import InputError
from teralign.tasks.global_align import global_align
from teralign.tasks.local_align import local_align
from teralign.transforms import load_stack

POINTS = np.random.default_rng(0).uniform((0, 0, 0), GRID.extent, (200, 3))
STEPS = ["ransac", "affine", ("deform", {"iterations": [2, 2, 1]})]
BLOCKS = BlockOptions(size=(32, 32, 32))


@pytest.fixture(scope="module")
def of_commands(rounds, scheduler, tmp_path_factory):
    """The points that the two commands give."""
    folder = tmp_path_factory.mktemp("commands")
    affine, whole = folder / "affine.mat", folder / "transform.zarr"
    global_align(*rounds.files, output=affine, steps=["ransac", "affine"])
    config = {"local_align": {"steps": [{"deform": {"iterations": [2, 2, 1]}}]}}
    compute = ta.Compute(scheduler=scheduler)
    local_align(
        *rounds.files, output=whole, initial_transforms=[affine], config=config, blocks=BLOCKS, compute=compute
    )
    return whole, load_stack([whole]).map_points(POINTS)


def test_arrays_in_memory_give_the_points_of_the_commands(rounds, of_commands):
    found = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=STEPS, blocks=BLOCKS)
    np.testing.assert_allclose(found.map_points(POINTS), of_commands[1], rtol=0, atol=1e-9)
    assert found.blocks.blocks > 1


def test_volumes_on_the_client_of_the_user(rounds, of_commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        found = ta.align(*rounds.files, steps=STEPS, blocks=BLOCKS, client=client)
        assert client.status == "running"
    np.testing.assert_allclose(found.map_points(POINTS), of_commands[1], rtol=0, atol=1e-9)
    assert [step.name for step in found.steps] == ["ransac", "affine"]
    assert found.blocks.blocks > 1
    assert found.fixed.uri == rounds.files[0].uri
    assert list(tmp_path.iterdir()) == []


def test_arrays_on_workers(rounds, of_commands, scheduler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = ta.align(rounds.fixed, rounds.moving, spacing=SPACING, steps=STEPS, blocks=BLOCKS, client=scheduler)
    np.testing.assert_allclose(found.map_points(POINTS), of_commands[1], rtol=0, atol=1e-9)
    assert list(tmp_path.iterdir()) == []


def test_results_of_commands_are_loaded(rounds, of_commands):
    path, points = of_commands
    found = ta.load(path)
    np.testing.assert_allclose(found.map_points(POINTS), points, rtol=0, atol=1e-9)
    assert found.assessment is not None
    assert found.blocks.blocks > 1
    np.testing.assert_array_equal(found.warp(rounds.moving), found.warp(rounds.files[1]).values)


def test_an_output_is_kept(rounds, tmp_path):
    found = ta.align(*rounds.files, steps=["ransac"], output=tmp_path / "round2.mat")
    assert ta.load(tmp_path / "round2.mat").map_points(POINTS).tolist() == found.map_points(POINTS).tolist()
    with pytest.raises(InputError, match=r"must be a \.zarr"):
        ta.align(*rounds.files, output=tmp_path / "other.mat")
    with pytest.raises(InputError, match=r"exists already.* overwrite=True"):
        ta.align(*rounds.files, steps=["ransac"], output=tmp_path / "round2.mat")


def test_a_large_field_needs_a_file(rounds):
    with pytest.raises(InputError, match="give a file, output="):
        ta.align(*rounds.files, blocks=BlockOptions(field_spacing=(0.01, 0.01, 0.01)))


def test_masks_of_volumes_are_volumes(rounds):
    with pytest.raises(InputError, match=r"open both with teralign\.open"):
        ta.align(*rounds.files, fixed_mask=np.ones(GRID.shape))
    with pytest.raises(InputError, match="there is no"):
        ta.align(rounds.folder / "missing.tif", rounds.files[1])
