"""A small pair of rounds, aligned on this machine without scheduler or container: the bytes that others must give."""

from __future__ import annotations

import hashlib

import pytest

from .runs import Run, demo_pair, nextflow

_STEPS = [
    *("--aff_scale", "s1", "--def_scale", "s0", "--bigstream_global_steps", "ransac,affine"),
    *("--bigstream_local_steps", "affine", "--bigstream_block_size", "16"),  # 108 blocks: time to join
]
_SIZES = [
    *("--use_bigstream", "--bigstream_workers", "3", "--bigstream_worker_mem_gb", "1.5"),
    *("--bigstream_global_align_cpus", "1", "--bigstream_global_align_mem_gb", "2"),
]


@pytest.fixture(scope="session")
def small_rounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name the pair, and how it is aligned."""
    data = demo_pair(tmp_path_factory.mktemp("pair"), "96,96,48", seed=3)
    return ["--fixed", str(data / "fixed.n5"), "--moving", str(data / "moving.n5"), *_STEPS, *_SIZES]


@pytest.fixture(scope="session")
def digests_alone(small_rounds: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the results of a run with the profile `local`."""
    done = nextflow(tmp_path_factory.mktemp("alone"), *small_rounds, "-profile", "local", timeout=900)
    assert done.returncode == 0, done.output
    return _digests(done)


def assert_the_same(done: Run, alone: dict[str, str]) -> None:
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}
    assert _digests(done) == alone


def _digests(done: Run) -> dict[str, str]:
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
