"""What a worker takes, against what the plan said it would."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.cluster import ENDED_AT, GB, Compute
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.tasks.convert_volume import convert_volume, plan_convert_volume
from teralign.tasks.local_align import local_align, plan_local_align
from teralign.transforms import Affine
from teralign.volumes import create_volume

GRID = Grid((256, 256, 256), (1.0, 1.0, 1.0))


@pytest.fixture
def worker():
    """A client of one worker, and the most memory that the worker has held (bytes)."""
    with Compute(workers=1, worker_cpus=1, worker_mem_gb=4).connect() as client:
        yield client, lambda: max(client.run(_most_held).values())


def _most_held() -> int:
    from pathlib import Path

    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Two channels of 256³ voxels that do not compress."""
    path = tmp_path_factory.mktemp("noise") / "a.zarr"
    writer = create_volume(path, grid=GRID, dtype="uint16", channels=2, levels=1)
    for seed in range(2):
        array = np.random.default_rng(seed).integers(0, 2**16, writer.write_shape, dtype=np.uint16)
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, array, channel=seed)
    return path


def test_a_conversion_stays_within_its_plan(noise, worker, tmp_path):
    client, most_held = worker
    options = {"dtype": "float32", "chunk_size": (256, 256, 256), "compute": Compute(client=client)}
    plan = plan_convert_volume(noise, tmp_path / "b.zarr", **options)
    convert_volume(noise, tmp_path / "b.zarr", **options)
    assert plan.worker_memory_bytes / 4 < most_held() < plan.worker_memory_bytes


def test_a_warp_stays_within_its_plan(noise, worker, tmp_path):
    """The fixed grid is large enough for shards of 256³ voxels; all but those in its corner see nothing."""
    client, most_held = worker
    create_volume(tmp_path / "fixed.zarr", grid=Grid((516, 516, 516), GRID.spacing), dtype="uint8")
    turn = np.deg2rad(10)
    matrix = np.array([[1, 0, 0], [0, np.cos(turn), np.sin(turn)], [0, -np.sin(turn), np.cos(turn)]])
    Affine.from_parts(matrix, (0, 0, 0)).save(tmp_path / "turn.mat")
    options = {"transforms": [tmp_path / "turn.mat"], "compute": Compute(client=client)}
    volumes = tmp_path / "fixed.zarr", noise
    plan = plan_apply_transform(*volumes, output=tmp_path / "b.zarr", **options)
    apply_transform(*volumes, output=tmp_path / "b.zarr", **options)
    assert plan.worker_memory_bytes / 4 < most_held() < plan.worker_memory_bytes


@pytest.mark.parametrize("steps", [["deform"], ["ransac", "affine"]])
def test_an_alignment_stays_within_its_plan(pair, worker, tmp_path, steps):
    client, most_held = worker
    options = {"initial_transforms": [pair.affine], "steps": steps, "compute": Compute(client=client)}
    plan = plan_local_align(pair.fixed, pair.moving, output=tmp_path / "a.zarr", **options)
    local_align(pair.fixed, pair.moving, output=tmp_path / "a.zarr", **options)
    assert plan.worker_memory_bytes / 4 < most_held() < plan.worker_memory_bytes


def test_the_smallest_worker_that_a_plan_allows_is_enough(pair, tmp_path):
    """One that is a hundredth smaller is an error that names the block, its need and the option."""
    options = {"initial_transforms": [pair.affine], "output": tmp_path / "a.zarr"}
    volumes = pair.fixed, pair.moving
    plan = plan_local_align(*volumes, **options)
    least = plan.worker_memory_bytes / ENDED_AT / GB
    need = rf"\({plan.largest_block}\) takes up to {plan.worker_memory_bytes / GB:.2f} GB .*--worker-mem-gb"
    with pytest.raises(InputError, match=need):
        local_align(*volumes, **options, compute=Compute(workers=1, worker_mem_gb=0.99 * least))
    assert list(tmp_path.iterdir()) == []
    with Compute(workers=1, worker_cpus=1, worker_mem_gb=1.001 * least).connect() as client:
        local_align(*volumes, **options, compute=Compute(client=client))
        assert max(client.run(_most_held).values()) < plan.worker_memory_bytes
        assert client.get_events("worker-restart-memory") == ()


def test_blocks_too_large_for_a_worker_are_an_error_before_the_start(pair, noise, tmp_path):
    small = {"workers": 1, "worker_cpus": 1, "worker_mem_gb": 0.3}

    def convert(**options):
        task = plan_convert_volume if options else convert_volume
        task(noise, tmp_path / "new" / "b.zarr", chunk_size=(256,) * 3, compute=Compute(**small))

    def align(dry_run=False):
        command = plan_local_align if dry_run else local_align
        command(pair.fixed, pair.moving, output=tmp_path / "new" / "f.zarr", compute=Compute(**small))

    def warp(**options):
        Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
        task = plan_apply_transform if options else apply_transform
        transforms, output = [tmp_path / "affine.mat"], tmp_path / "new" / "w.zarr"
        task(noise, noise, transforms=transforms, output=output, compute=Compute(**small))

    for command, stage, remedy in (
        (convert, "convert", "--chunk-size"),
        (align, "align", "--block-size"),
        (warp, "warp", "--moving-channel"),
    ):
        name = rf"a block \(z\d+_y\d+_x\d+ of {stage}\)"
        for options in ({}, {"dry_run": True}):
            with pytest.raises(
                InputError, match=rf"{name} takes up to .* GB .* a worker has 0.30 GB .* 95% .*{remedy}"
            ):
                command(**options)
    assert not (tmp_path / "new").exists()


def test_workers_of_a_scheduler_are_asked_what_they_have(noise, tmp_path):
    with Compute(workers=2, worker_cpus=1, worker_mem_gb=0.3).connect() as client:
        client.wait_for_workers(2, timeout=60)
        options = {"chunk_size": (256,) * 3, "compute": Compute(client=client)}
        with pytest.raises(InputError, match=r"a worker has 0.30 GB"):
            plan_convert_volume(noise, tmp_path / "b.zarr", **options)
