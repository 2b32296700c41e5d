"""Scales that are chosen for the user, and several scales to warp."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from teralign.errors import InputError
from teralign.pipeline import Pair, read_pairs
from teralign.pipeline.levels import Budget, KnownScale, choose_global, choose_local, pair_levels

LARGE = [KnownScale(f"s{n}", 10**12 // 8**n, 0.23 * 2**n) for n in range(6)]


def budget(memory: int = 16 << 30, workers: int = 2) -> Budget:
    return Budget(memory, lambda voxels: 24 * voxels, lambda voxels: 60.0, lambda voxels: 1.1e-6 * voxels / workers)


def test_a_large_round_is_aligned_at_the_scales_that_labs_choose() -> None:
    pairs = pair_levels(LARGE, LARGE)
    assert choose_global(pairs, budget()).fixed.name == "s5"
    assert choose_global(pairs, budget(memory=1 << 30)).fixed.name == "s5", "the coarsest where nothing fits"
    assert choose_local(pairs, budget()).fixed.name == "s2"
    assert choose_local(pairs, budget(workers=20)).fixed.name == "s1"


def test_levels_are_matched_by_their_voxels() -> None:
    other = [KnownScale("1", 10**6, 0.5), KnownScale("2", 10**5, 1.0)]
    pairs = pair_levels(LARGE, other)
    assert [(pair.fixed.name, pair.moving.name) for pair in pairs] == [("s1", "1"), ("s2", "2")]


def write_levels(path: Path, sizes: dict[str, float]) -> None:
    """An OME-Zarr of cubes of 32 µm, with levels of these voxel sizes in µm."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, size in sizes.items():
        group.create_array(name, shape=(round(32 / size),) * 3, dtype="u2")
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"],
            "datasets": [
                {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [size] * 3}]}
                for name, size in sizes.items()
            ],
        }
    ]


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    """Two rounds whose levels have other names and begin at other voxel sizes."""
    write_levels(tmp_path / "fix.zarr", {"0": 0.5, "1": 1, "2": 2})
    write_levels(tmp_path / "mov.zarr", {"full": 1, "half": 2})
    return tmp_path


def resolved(folder: Path, **given: object) -> Pair:
    (pair,) = read_pairs({"fixed": "fix.zarr", "moving": "mov.zarr", **given}, folder)
    return pair


def test_scales_that_nobody_named_are_chosen_and_said(rounds: Path) -> None:
    pair = resolved(rounds)
    assert pair.fixed.datasets == dict.fromkeys(("global", "local", "apply"), "fix.zarr/1")
    assert set(pair.moving.datasets.values()) == {"mov.zarr/full"}
    assert pair.notes == ("aff_scale 1, chosen of fix.zarr", "def_scale 1, chosen of fix.zarr")


def test_the_memory_of_the_run_decides(rounds: Path) -> None:
    """64³ voxels take 6 MB beside the libraries; the local alignment is not coarser than the global one."""
    pair = resolved(rounds, bigstream_global_align_mem_gb=0.4)
    assert (pair.fixed.datasets["global"], pair.fixed.datasets["local"]) == ("fix.zarr/2", "fix.zarr/1")


def test_workers_too_small_for_a_block_are_refused_before_any_task(rounds: Path) -> None:
    small = {"use_bigstream": True, "bigstream_worker_mem_gb": 0.5}
    named = r"--bigstream_worker_mem_gb: .* \(z000_y000_x000 of .*fix\.zarr/1\) takes more than 0\.55 GB .*"
    with pytest.raises(InputError, match=named + r"a worker has 0\.50 GB .*--bigstream_block_size"):
        resolved(rounds, **small)
    steps_of_none = {"bigstream_local_steps": True}
    for enough in ({"bigstream_worker_mem_gb": 0.6}, {"use_bigstream": False}, steps_of_none):
        resolved(rounds, **(small | enough))


def test_one_scale_may_be_named(rounds: Path) -> None:
    write_levels(rounds / "mov.zarr", {"2": 2, "1": 1})
    pair = resolved(rounds, aff_scale="2", def_scale="auto")
    assert (pair.fixed.datasets["global"], pair.moving.datasets["global"]) == ("fix.zarr/2", "mov.zarr/2")
    assert (pair.fixed.datasets["local"], pair.moving.datasets["local"]) == ("fix.zarr/1", "mov.zarr/1")
    assert pair.notes == ("def_scale 1, chosen of fix.zarr",)


def test_a_volume_of_one_scale_decides_for_both(rounds: Path) -> None:
    write_levels(rounds / "one.zarr", {"only": 2})
    pair = resolved(rounds, moving="one.zarr", apply_to="mov.zarr")
    assert set(pair.fixed.datasets.values()) == {"fix.zarr/2"}
    assert set(pair.moving.datasets.values()) <= {"one.zarr", "one.zarr/only"}
    assert pair.images[1].volume.datasets["apply"] == "mov.zarr/half", "the level that is most like it"


def test_beside_one_level_the_level_with_its_voxels_is_read(tmp_path: Path) -> None:
    write_levels(tmp_path / "fix.zarr", {"s0": 0.5})
    write_levels(tmp_path / "mov.zarr", {"s0": 0.5, "s1": 1, "s2": 2, "s3": 4})
    pair = resolved(tmp_path, fixed="fix.zarr/s0")
    assert pair.moving.datasets["local"] == "mov.zarr/s0", "s2 has voxels four times as large"


def test_s3_and_s2_are_taken_where_they_are(volumes: Path) -> None:
    (pair,) = read_pairs({"fixed": "fix.n5", "moving": "mov.n5"}, volumes)
    assert (pair.fixed.datasets["global"], pair.moving.datasets["local"]) == ("fix.n5/s3", "mov.n5/s2")
    assert pair.notes == ()


def test_a_group_of_n5_without_s0_is_looked_through(volumes: Path) -> None:
    (pair,) = read_pairs({"fixed": "fix.n5", "moving": "mov.n5", "aff_scale": "auto", "def_scale": "auto"}, volumes)
    assert (pair.fixed.datasets["global"], pair.moving.datasets["local"]) == ("fix.n5/s2", "mov.n5/s2")


def test_each_scale_to_warp_is_a_result_of_its_own(volumes: Path) -> None:
    given = {
        "aff_scale": "s3",
        "def_scale": "s2",
        "apply_scale": "s2,s3",
        "apply_to": "mov.n5/c1:name=c1;image.ome.tif",
    }
    (pair,) = read_pairs({"fixed": "fix.n5", "moving": "mov.n5", **given}, volumes)
    assert [(image.output, image.use, image.volume.datasets[image.use]) for image in pair.images] == [
        ("warped_s2.zarr", "apply", "mov.n5/s2"),
        ("warped_s3.zarr", "apply_2", "mov.n5/s3"),
        ("c1_s2.zarr", "apply", "mov.n5/c1/s2"),
        ("c1_s3.zarr", "apply_2", "mov.n5/c1/s3"),
        ("warped_2_image_s2.zarr", "apply", "image.ome.tif"),
        ("warped_2_image_s3.zarr", "apply_2", "image.ome.tif"),
    ]
    assert (pair.fixed.datasets["apply"], pair.fixed.datasets["apply_2"]) == ("fix.n5/s2", "fix.n5/s3")
    (pair,) = read_pairs(
        {"fixed": "fix.n5", "moving": "mov.n5", **given, "apply_grid_scale": "s3", "warped_container": "all"}, volumes
    )
    assert [image.output for image in pair.images[-2:]] == ["all.zarr/c1_s3", "all.zarr/warped_2_image"], "only once"
    assert pair.container == "all.zarr"
