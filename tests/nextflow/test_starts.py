"""Pairs that reuse a transform, skip an alignment, keep to a region or are of expanded samples, on known truth."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teralign.volumes import open_volume

from .runs import Run, demo_pair, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

REGION = (6.0, 6.0, 4.0, 62.0, 62.0, 36.0)  # x, y, z in µm: about a half of the fixed volume
EXPANSION = 4
SMALL = [
    *("-profile", "demo", "--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5"),
    *("--bigstream_global_steps", "ransac,affine", "--aff_scale", "s1", "--def_scale", "s0"),
]
SHEET = """id,fixed,moving,fixed_roi,expansion,global_transform,local_transform,apply_to
whole,fixed.n5,moving.n5,,,,,spots.csv:name=spots
again,fixed.n5,moving.n5,,,whole,,spots.csv:name=spots
region,fixed.n5,moving.n5,"{region}",,,,spots.csv:name=spots
expanded,fixed4.n5,moving4.n5,,4,,,spots4.csv:name=spots
known,fixed.n5,moving.n5,,,,true_transform.zarr,spots.csv:name=spots
"""


@dataclass(frozen=True)
class Round:
    """A folder with a pair, and the same points (n, 3), z, y, x in µm, of both; `voxel` is the shortest side."""

    data: Path
    fixed_points: np.ndarray
    moving_points: np.ndarray
    voxel: float

    def errors(self, run: Run, pair: str, name: str = "spots") -> np.ndarray:
        """The distances, in voxels, of points that a run has taken to the fixed round from where they truly are."""
        lines = (run.folder / "results" / pair / f"{name}.csv").read_text().splitlines()[1:]
        found = np.array([[float(value) for value in line.split(",")[2::-1]] for line in lines])
        return np.linalg.norm(found - self.fixed_points, axis=1) / self.voxel


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A pair with a known map, once as it is, and once as if the samples had been expanded."""
    data = demo_pair(tmp_path_factory.mktemp("starts"), "80,80,48", seed=3)
    fixed, moving = (np.loadtxt(data / f"landmarks_{r}.csv", delimiter=",")[:, 2::-1] for r in ("fixed", "moving"))
    for name, factor in (("", 1), ("4", EXPANSION)):
        rows = [f"{x * factor},{y * factor},{z * factor}" for z, y, x in moving]
        (data / f"spots{name}.csv").write_text("\n".join(["x,y,z", *rows]) + "\n")
    for side in ("fixed", "moving"):
        shutil.copytree(data / f"{side}.n5", data / f"{side}4.n5")
        for path in (data / f"{side}4.n5").rglob("attributes.json"):
            path.write_text(json.dumps(expanded(json.loads(path.read_text()))))
    return Round(data, fixed, moving, min(open_volume(data / "fixed.n5" / "s0").grid.spacing))


def expanded(value: Any, key: str = "") -> Any:
    """Attributes with all lengths times the expansion."""
    if isinstance(value, dict):
        return {name: expanded(part, name) for name, part in value.items()}
    if key in ("dimensions", "pixelResolution", "scale", "translate") and any(isinstance(v, float) for v in value):
        return [number * EXPANSION for number in value]
    return value


@pytest.fixture(scope="module")
def pairs(round_: Round) -> Run:
    """A run of five pairs of the same two rounds."""
    (round_.data / "sheet.csv").write_text(SHEET.format(region=",".join(map(str, REGION))))
    (round_.data.parent / "few.config").write_text("executor.queueSize = 4\n")  # each starts Python anew
    run = nextflow(round_.data.parent, "--input", "data/sheet.csv", "-c", "few.config", *SMALL, timeout=850)
    assert run.returncode == 0, run.output
    return run


@pytest.mark.parametrize("pair", ["whole", "again", "expanded", "known"])
def test_each_pair_is_right_to_half_a_voxel(pair: str, round_: Round, pairs: Run) -> None:
    errors = round_.errors(pairs, pair)
    assert np.median(errors) < 0.5
    assert errors.max() < 1.5


def test_a_region_is_right_to_half_a_voxel(round_: Round, pairs: Run) -> None:
    low, high = np.array(REGION[2::-1]), np.array(REGION[:2:-1])
    inside = ((round_.fixed_points > low) & (round_.fixed_points < high)).all(axis=1)
    errors = round_.errors(pairs, "region")[inside]
    assert inside.sum() > 8
    assert np.median(errors) < 0.5
    assert errors.max() < 1.5
    blocks = json.loads((pairs.folder / "results" / "region" / "transform.blocks.json").read_text())
    assert blocks["run"]["inputs"]["fixed"]["roi_um"] == [list(low), list(high)]


def test_a_reused_transform_is_the_other_pairs_and_is_said(round_: Round, pairs: Run) -> None:
    results = pairs.folder / "results"
    assert (results / "again" / "affine.mat").read_bytes() == (results / "whole" / "affine.mat").read_bytes()
    report = json.loads((results / "again" / "affine.json").read_text())
    assert (report["skipped"], report["steps"]) == (True, [])
    assert report["started_from"] == ["whole/affine.mat"]
    assert pairs.tasks("REUSE_GLOBAL") == 1
    assert "again: " in pairs.output
    assert "global alignment skipped, reusing that of whole" in pairs.output


def test_a_given_map_is_only_applied(round_: Round, pairs: Run) -> None:
    names = {path.name for path in (pairs.folder / "results" / "known").iterdir()}
    assert names == {"warped.zarr", "spots.csv", "report"}
    assert f"global and local alignment skipped, using {round_.data / 'true_transform.zarr'}" in pairs.output
    metrics = (pairs.folder / "results" / "known" / "report" / "report.json").read_text()
    assert str(round_.data / "true_transform.zarr") in metrics


def test_a_skipped_alignment_passes_its_start_on(round_: Round, tmp_path: Path) -> None:
    """With scales that are chosen, several scales to warp, and one N5 container."""
    volumes = ["--fixed", round_.data / "fixed.n5", "--moving", round_.data / "moving.n5", "--id", "pair"]
    along = f"{round_.data / 'spots.csv'}:name=spots; {round_.data / 'moving.n5'}:nearest:name=raw"
    run = nextflow(
        tmp_path,
        *map(str, volumes),
        *SMALL[:7],
        *("--initial_transform", str(round_.data / "true_affine.mat"), "--bigstream_global_steps", ""),
        *("--apply_scale", "s0,s1", "--apply_to", along, "--warped_format", "n5", "--warped_container", "all"),
    )
    assert run.returncode == 0, run.output
    results = tmp_path / "results" / "pair"
    np.testing.assert_allclose(np.loadtxt(results / "affine.mat"), np.loadtxt(round_.data / "true_affine.mat"))
    assert json.loads((results / "affine.json").read_text())["skipped"] is True
    assert np.median(round_.errors(run, "pair")) < 0.5

    assert "aff_scale s0, chosen of fixed.n5; def_scale s0, chosen of fixed.n5; starts from" in run.output
    assert "true_affine.mat; global alignment skipped\n" in run.output
    images = {path.name for path in (results / "all.n5").iterdir() if path.is_dir()}
    assert images == {"warped_s0", "warped_s1", "raw_s0", "raw_s1"}
    assert "n5" in json.loads((results / "all.n5" / "attributes.json").read_text())
    for name in images:
        scale = name[-2:]
        assert open_volume(results / "all.n5" / name).grid == open_volume(round_.data / "fixed.n5" / scale).grid
