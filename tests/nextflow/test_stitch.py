"""Tiles of a microscope to stitched volumes, and these onto one another, in one run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import tifffile

from servers import Bucket

from .runs import Run, nextflow
from .small_rounds import stitched_digests

pytestmark = pytest.mark.nextflow

STITCHED = (
    *("IMPORT_TILES", "ESTIMATE_FLATFIELD", "ALIGN_TILES", "SOLVE_TILES", "BALANCE_TILES", "FUSE_TILES"),
    "REPORT_TILES",
)


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_results_of_each_round_lie_in_its_folder(tmp_path: Path, parser: str) -> None:
    (tmp_path / "tiles").mkdir()
    (tmp_path / "rounds.csv").write_text("id,tiles\none,tiles\ntwo,tiles\n")
    options = ["--workflow", "stitch", "--input", "rounds.csv", "-stub-run", "-profile", "demo", "--use_bigstream"]
    run = nextflow(tmp_path, *options, "--tile_refinement", "--bigstream_cluster", "nextflow", parser=parser)
    assert run.returncode == 0, run.output
    wanted = (*STITCHED, "REFINE_TILES")
    assert {name: run.tasks(name) for name in wanted} == dict.fromkeys(wanted, 2)
    assert {path.name for path in (tmp_path / "results" / "two").iterdir()} == {
        *("tiles.json", "flatfield.npz", "pairs.json", "solved.json", "refinement", "balanced.json", "stitched.zarr"),
        "stitching",
    }
    assert "one: unknown, error unknown, report results/one/stitching/index.html" in run.output


def test_corrections_are_left_out_where_they_are_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    options = ["--workflow", "stitch", "--tiles", "tiles", "--flatfield", "false", "--balance_tiles", "false"]
    run = nextflow(tmp_path, *options, "-stub-run", "-profile", "demo")
    assert run.returncode == 0, run.output
    assert run.tasks("FUSE_TILES") == 1
    assert run.tasks("ESTIMATE_FLATFIELD") == run.tasks("REFINE_TILES") == run.tasks("BALANCE_TILES") == 0


@pytest.mark.slow
def test_resume_stitches_again_what_changed(small_tiles: list[str], stitched_alone: Run) -> None:
    options = [*small_tiles, "-profile", "local", "-resume", "--outdir", "again"]
    again = nextflow(stitched_alone.folder, *options)
    assert {row["process"] for row in again.trace if row["status"] != "CACHED"} == set()

    plane = sorted(tiles_of(small_tiles).rglob("*.tif*"))[40]
    before = plane.read_bytes()
    image = tifffile.imread(plane)
    image[20:30, 20:30] += 500
    tifffile.imwrite(plane, image)
    try:
        changed = nextflow(stitched_alone.folder, *options)
    finally:
        plane.write_bytes(before)
    assert changed.returncode == 0, changed.output
    assert {name: changed.tasks(name) for name in STITCHED} == dict.fromkeys(STITCHED, 1)


def tiles_of(options: list[str]) -> Path:
    return Path(options[options.index("--tiles") + 1])


@pytest.mark.slow
def test_stitched_volumes_go_to_a_bucket(
    small_tiles: list[str], stitched_alone: Run, tmp_path: Path, bucket: Bucket
) -> None:
    done = nextflow(tmp_path, *small_tiles, "-profile", "local", "--stitched_dir", f"{bucket.address}/all/")
    assert done.returncode == 0, done.output
    address = f"{bucket.address}/all/day1/stitched.zarr"
    assert json.loads((tmp_path / "results" / "day1" / "stitched.json").read_text())["output"] == address
    stored = {key: hashlib.sha256(bucket.content(key)).hexdigest() for key in bucket.stored()}
    files = stitched_digests(stitched_alone)
    assert stored == {
        f"all/day1/{name}": digest for name, digest in files.items() if name.startswith("stitched.zarr")
    }


@pytest.mark.slow
def test_exit_codes_ignored(small_tiles: list[str], tmp_path: Path) -> None:
    """A round whose tiles cannot be read ends the run with its name and an exit code."""
    given = tiles_of(small_tiles)
    shutil.copytree(given, tmp_path / "tiles")
    for plane in (tmp_path / "tiles").rglob("*.tif*"):
        plane.write_bytes(b"none")
    options = ["tiles" if word == str(given) else word for word in small_tiles]
    done = nextflow(tmp_path, *options, "-profile", "local")
    assert done.returncode != 0
    assert "day1" in done.output and "cannot be read" in done.output
    assert not (tmp_path / "results" / "day1" / "stitched.zarr").exists()
