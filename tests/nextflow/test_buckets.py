"""A run from bucket to bucket beside the same run on a disk."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from phantoms import Scene
from servers import Bucket
from teralign.grids import Grid
from teralign.volumes import audit_volume, create_volume, open_volume

from .runs import nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow]

GRID = Grid((16, 24, 264), (1.0, 1.0, 1.0))  # so long that it has two scales
STEPS = ["--bigstream_global_steps", "rigid", "--bigstream_local_steps", "rigid", "--bigstream_block_size", "264"]
ONE_WORKER = ["--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5", "-profile", "demo"]
OPTIONS = ["--id", "pair", "--aff_scale", "s1", "--def_scale", "s0", *STEPS, *ONE_WORKER]


def write_round(path: Path, shift: float) -> Path:
    """Cells shifted along x by so many µm, with both scales."""
    image = Scene.cells(np.array(GRID.extent), count=60, radius=5.0).draw(GRID, lambda points: points - (0, 0, shift))
    writer = create_volume(path, grid=GRID, dtype=image.array.dtype)
    for unit in GRID.region.split(writer.write_shape):
        writer.write(unit, image.array[unit.slices])
    for unit in writer.levels[1].region.split(writer.write_shape):
        writer.build_level_region(1, unit)
    return path


def test_a_run_from_bucket_to_bucket_is_that_on_a_disk_to_the_bit(tmp_path: Path, bucket: Bucket) -> None:
    fixed, moving = write_round(tmp_path / "fixed.n5", 0), write_round(tmp_path / "moving.n5", 3)
    by_address = [bucket.upload(fixed), bucket.upload(moving), "--warped_dir", f"{bucket.address}/aligned"]
    calls = {"disk": [str(fixed), str(moving)], "bucket": by_address}

    def align(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        first, second, *more = calls[name]
        run = nextflow(folder, "--fixed", first, "--moving", second, *more, *OPTIONS)
        assert run.returncode == 0, run.output
        return folder / "results" / "pair"

    with ThreadPoolExecutor() as both:
        disk, remote = both.map(align, calls)

    output = f"{bucket.address}/aligned/pair/warped.zarr"
    assert json.loads((remote / "warped.json").read_text())["output"] == output
    assert not (remote / "warped.zarr").exists()
    for scale in ("s0", "s1"):
        aligned, wanted = open_volume(f"{output}/{scale}"), open_volume(disk / "warped.zarr" / scale)
        assert aligned.grid == wanted.grid
        assert wanted.read().any()
        np.testing.assert_array_equal(aligned.read(), wanted.read())
        assert {finding.state for finding in audit_volume(aligned).findings(2)} == {"whole"}
    files = [path for path in (disk / "warped.zarr").rglob("*") if path.is_file()]
    stored = {key for key in bucket.stored() if key.startswith("aligned/")}
    assert stored == {f"aligned/pair/{path.relative_to(disk).as_posix()}" for path in files}
    assert all(
        bucket.content(f"aligned/pair/{path.relative_to(disk).as_posix()}") == path.read_bytes() for path in files
    )
    assert any(path.name == "manifest.npz" for path in files)


def test_resume_notices_what_changed_in_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    fixed, moving = write_round(tmp_path / "fixed.n5", 0), write_round(tmp_path / "moving.n5", 3)
    options = ["--fixed", bucket.upload(fixed), "--moving", bucket.upload(moving), *OPTIONS, "-stub-run"]
    assert nextflow(tmp_path, *options).returncode == 0

    again = nextflow(tmp_path, *options, "-resume")
    assert {row["process"].rpartition(":")[2] for row in again.trace if row["status"] != "CACHED"} <= {
        "INDEX_REPORTS"
    }

    other = write_round(tmp_path / "other" / "moving.n5", 4)
    key = "moving.n5/s0/0/0/0"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=(other / "s0/0/0/0").read_bytes())
    changed = nextflow(tmp_path, *options, "-resume")
    states = {row["process"].rpartition(":")[2]: row["status"] for row in changed.trace}
    assert states["GLOBAL_ALIGN"] == "CACHED", "it reads another scale"
    assert states["LOCAL_ALIGN"] == states["APPLY_TRANSFORM"] == "COMPLETED"
