"""Small rounds, aligned and stitched on this machine alone: the bytes that schedulers and containers must give."""

from __future__ import annotations

import hashlib
from pathlib import Path

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


@pytest.fixture(scope="session")
def small_tiles(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a round of four tiles, and how it is stitched."""
    data = demo_pair(tmp_path_factory.mktemp("tiles"), "96,96,64", seed=1, tiles=2)
    tiles = ["--id", "day1", "--tiles", str(data / "fixed_tiles"), "--tiles_spacing", "0.92,0.92,0.84"]
    return ["--workflow", "stitch", *tiles, *_SIZES, "--fail_on", "never"]


@pytest.fixture(scope="session")
def stitched_alone(small_tiles: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The round of tiles, stitched by a run with the profile `local`."""
    done = nextflow(tmp_path_factory.mktemp("stitched"), *small_tiles, "-profile", "local", timeout=900)
    assert done.returncode == 0, done.output
    return done


def assert_the_same(done: Run, alone: dict[str, str]) -> None:
    _assert_complete(done)
    assert _digests(done) == alone


def assert_stitched_the_same(done: Run, alone: Run) -> None:
    _assert_complete(done)
    assert stitched_digests(done) == stitched_digests(alone)


def _assert_complete(done: Run) -> None:
    assert done.returncode == 0, done.output
    assert {row["status"] for row in done.trace} == {"COMPLETED"}


def _digests(done: Run) -> dict[str, str]:
    """The digest of each file of the transforms and of the warped volume."""
    return _digests_of(done.folder / "results" / "moving-to-fixed", ("transform.zarr", "warped.zarr", "affine.mat"))


def stitched_digests(done: Run) -> dict[str, str]:
    """The digest of each file of a stitched volume, and of what it was made of."""
    return _digests_of(done.folder / "results" / "day1", ("stitched.zarr", "pairs.json", "balanced.json"))


def _digests_of(folder: Path, parts: tuple[str, ...]) -> dict[str, str]:
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in parts
        for path in [folder / part, *(folder / part).rglob("*")]
        if path.is_file()
    }
    assert {name.split("/")[0] for name in found} == set(parts)
    return found
