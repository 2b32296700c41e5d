"""A pair through real schedulers, workers as jobs of their own: the bytes are those of a run without a scheduler."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nextflow.runs import Run, demo_pair, nextflow

from .slurm import Slurm

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

QUICK = Path(__file__).with_name("quick.config")
STEPS = [
    *("--aff_scale", "s1", "--def_scale", "s0", "--bigstream_global_steps", "ransac,affine"),
    *("--bigstream_local_steps", "affine", "--bigstream_block_size", "16"),  # 108 blocks: time to join
]
SIZES = [
    *("--use_bigstream", "--bigstream_workers", "3", "--bigstream_worker_mem_gb", "1.5"),
    *("--bigstream_global_align_cpus", "1", "--bigstream_global_align_mem_gb", "2"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a small pair of rounds, and how it is aligned."""
    data = demo_pair(tmp_path_factory.mktemp("pair"), "96,96,48", seed=3)
    return ["--fixed", str(data / "fixed.n5"), "--moving", str(data / "moving.n5"), *STEPS, *SIZES]


@pytest.fixture(scope="module")
def alone(pair: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the results of a run on this machine, without a scheduler."""
    done = nextflow(tmp_path_factory.mktemp("alone"), *pair, "-profile", "local")
    assert done.returncode == 0, done.output
    return digests(done)


def digests(done: Run) -> dict[str, str]:
    """The digest of each file of the transforms and of the warped volume."""
    folder = done.folder / "results" / "moving-to-fixed"
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("transform.zarr", "warped.zarr", "affine.mat")
        for path in [folder / part, *(folder / part).rglob("*")]
        if path.is_file()
    }
    assert {name.split("/")[0] for name in found} == {"transform.zarr", "warped.zarr", "affine.mat"}
    return found


def assert_the_same(done: Run, alone: dict[str, str]) -> None:
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    assert done.tasks("DASK_WORKER") >= 3, "workers were jobs"
    assert digests(done) == alone


def test_three_nodes_of_slurm_give_the_bytes_of_one_machine(
    slurm: Slurm, pair: list[str], alone: dict[str, str], tmp_path: Path
) -> None:
    before = len(slurm.ended())
    done = nextflow(tmp_path, *pair, "-profile", "slurm", "-c", str(QUICK), **slurm.environ)
    assert_the_same(done, alone)
    slurm.wait_until_empty()
    workers = [job for job in slurm.ended()[before:] if "DASK_WORKER" in job["Name"]]
    assert len({job["NodeList"] for job in workers}) > 1, "workers ran on more than one node"
    assert slurm.processes() == []


def test_grid_engine_gives_the_bytes_of_one_machine(
    grid_engine: dict[str, str], pair: list[str], alone: dict[str, str], tmp_path: Path
) -> None:
    done = nextflow(tmp_path, *pair, "-profile", "sge", "-c", str(QUICK), **grid_engine)
    assert_the_same(done, alone)
