"""A good, a bad and a failed pair in one run: all results are there, the others are named, and the run fails."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from teralign.volumes import create_volume, open_volume

from .runs import Run, demo_pair, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS = [
    *("--input", "data/sheet.csv", "-profile", "demo", "--progress_seconds", "1"),
    *("--aff_scale", "s0", "--def_scale", "s0", "--bigstream_global_steps", "ransac,affine"),
    *("--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5"),
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three pairs: two rounds of one tissue, a round with its own mirror image, and one that is empty."""
    folder = tmp_path_factory.mktemp("verdicts")
    data = demo_pair(folder, "112,112,80", seed=3)
    moving = open_volume(data / "moving.n5" / "s0")
    writer = create_volume(data / "mirrored.zarr", grid=moving.grid, dtype=moving.dtype, levels=1)
    voxels = np.ascontiguousarray(moving.read()[:, :, ::-1])
    for region in moving.grid.region.split(writer.write_shape):
        writer.write(region, voxels[region.slices])
    create_volume(data / "empty.zarr", grid=moving.grid, dtype=moving.dtype, levels=1)
    (data / "sheet.csv").write_text(
        "id,fixed,moving,fixed_landmarks,moving_landmarks\n"
        "right,fixed.n5,moving.n5,landmarks_fixed.csv,landmarks_moving.csv\n"
        "wrong,fixed.n5,mirrored.zarr,,\n"
        "empty,fixed.n5,empty.zarr,,\n"
    )
    return nextflow(folder, *OPTIONS)


def test_a_run_with_a_bad_pair_fails_and_names_it_with_its_report(failed: Run) -> None:
    assert failed.returncode != 0
    assert "2 of 3 pairs failed; all results are kept." in failed.output
    assert "wrong: bad, " in failed.output
    assert "report results/wrong/report/index.html; the alignment is bad" in failed.output


def test_a_pair_whose_task_fails_takes_nothing_from_the_others(failed: Run) -> None:
    sentence = "there is nothing to align"
    assert re.search(rf"empty: no report; .*empty\.zarr.*{sentence}", failed.output)
    index = json.loads((failed.folder / "results" / "index.json").read_text())
    assert [pair["name"] for pair in index["pairs"]] == ["wrong", "right"]
    assert index["without_report"] == ["empty"]
    assert "3 pairs: 1 failed, 1 bad, 1 good." in (failed.folder / "results" / "index.html").read_text()


def test_reports_have_the_tasks_after_them_and_the_command_of_the_run(failed: Run) -> None:
    for pair in ("right", "wrong"):
        folder = failed.folder / "results" / pair / "report"
        report = json.loads((folder / "report.json").read_text())
        assert report["name"] == pair
        assert {"GLOBAL_ALIGN", "LOCAL_ALIGN", "REPORT", "APPLY_TRANSFORM"} <= {t["process"] for t in report["tasks"]}
        assert {task["pair"] for task in report["tasks"]} == {pair}
        assert "--input data/sheet.csv -profile demo" in report["workflow"]["command"]
        assert report["workflow"]["parameters"]["bigstream_global_steps"] == "ransac,affine"
        page = (folder / "index.html").read_text()
        assert f"Alignment report: {pair}" in page
        assert "To do the whole run again" in page


def test_all_results_of_both_pairs_are_published(failed: Run) -> None:
    names = ["affine.mat", "affine.json", "transform.zarr", "transform.blocks.json", "warped.zarr", "report"]
    for pair, verdict in (("right", "good"), ("wrong", "bad")):
        folder = failed.folder / "results" / pair
        assert [name for name in names if not (folder / name).exists()] == []
        assert json.loads((folder / "report" / "report.json").read_text())["verdict"] == verdict
        assert json.loads((folder / "transform.blocks.json").read_text())["verdict"] == verdict
    assert failed.tasks("REPORT") == 2, "a verdict is no failure of its task"
    assert failed.tasks("REPORT", "FAILED") == 0


def test_the_last_lines_say_verdict_report_and_how_to_look(failed: Run) -> None:
    end = failed.output[failed.output.rindex("wrong: bad") :].splitlines()
    assert "    the alignment is bad" in end
    assert any(line.startswith("    The moving volume is mirrored along x: start") for line in end)
    assert any("--initial_transform" in line for line in end), "as the workflow names it"
    assert next(line for line in end if line.startswith("right: ")).startswith("right: good, error ")
    assert any(line.startswith("    view-alignment --fixed ") for line in end)
    assert end[-1] == f"Results: {failed.folder}/results"


def test_the_log_shows_the_progress_of_blocks(failed: Run) -> None:
    assert "local-right: " in failed.output or "apply-right-warped: " in failed.output


def test_a_run_that_may_never_fail_ends_well_and_still_names_the_pair(failed: Run) -> None:
    sheet = failed.folder / "data" / "sheet.csv"
    (sheet.parent / "two.csv").write_text("".join(sheet.read_text().splitlines(keepends=True)[:-1]))
    options = ["--input", "data/two.csv", *OPTIONS[2:]]
    again = nextflow(failed.folder, *options, "-resume", "--fail_on", "never")
    assert again.returncode == 0, again.output
    assert again.tasks("LOCAL_ALIGN", "CACHED") == 2
    assert "wrong: bad, " in again.output


def test_limits_are_parameters(failed: Run) -> None:
    limits = ["--min_correlation", "0.99", "--max_tre_um", "0.001"]
    again = nextflow(failed.folder, *OPTIONS, "-resume", "--fail_on", "never", *limits)
    assert again.returncode != 0
    assert "3 of 3 pairs failed" in again.output
    assert "below the limit of 0.99" in again.output
    assert again.output.count("above the limit of 0.001 µm") == 2, (
        "of the pair with landmarks, in error and last lines"
    )
