"""All that a round has goes along: images, channels, labels and points, to the scale that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from teralign.grids import Grid, Region
from teralign.volumes import Volume, create_volume, open_volume

from .runs import Run, demo_pair, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST_ID = 2**62 + 1
OPTIONS = [
    *("--input", "data/sheet.csv", "-profile", "demo", "--bigstream_global_steps", "ransac,affine"),
    *("--aff_scale", "s1", "--def_scale", "s0", "--apply_scale", "s0", "--apply_grid_scale", "s1"),
    *("--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5"),
]


@dataclass(frozen=True)
class Round:
    """A folder with a pair, and points (n, 3), z, y, x in µm, that both rounds show."""

    data: Path
    fixed_points: np.ndarray
    moving_points: np.ndarray


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Round, Run]:
    """A pair, aligned and brought along with all that the moving round has."""
    folder = tmp_path_factory.mktemp("rounds")
    round_ = make_round(folder)
    run = nextflow(folder, *OPTIONS)
    assert run.returncode == 0, run.output
    return round_, run


def make_round(folder: Path) -> Round:
    """A pair with two channels of other brightness, a box around each point, the points, and a samplesheet."""
    data = demo_pair(folder, "80,80,48", seed=3)
    fixed, moving = (np.loadtxt(data / f"landmarks_{r}.csv", delimiter=",")[:, 2::-1] for r in ("fixed", "moving"))
    volume = open_volume(data / "moving.n5" / "s0")
    voxels = volume.read()
    write(data / "more.zarr", np.stack([0 * voxels, voxels // 2, voxels // 4]), volume.grid)
    write(data / "labels.zarr", boxes(volume.grid, moving)[np.newaxis], volume.grid)
    rows = [f"{x},{y},{z},spot {n}" for n, (z, y, x) in enumerate(moving)]
    (data / "spots.csv").write_text("\n".join(["x,y,z,name", *rows]) + "\n")
    along = "more.zarr:channels=1,2; labels.zarr:nearest; spots.csv"
    (data / "sheet.csv").write_text(
        "id,fixed,moving,fixed_mask,apply_to,apply_grid_scale\n"  # with quotes, as spreadsheets write commas
        f'pair,fixed.n5,moving.n5,auto,"{along}",s0\n'
    )
    return Round(data, fixed, moving)


def write(path: Path, channels: np.ndarray, grid: Grid) -> None:
    writer = create_volume(path, grid=grid, dtype=channels.dtype, channels=len(channels), levels=1)
    for region in grid.region.split(writer.write_shape):
        for channel, array in enumerate(channels):
            writer.write(region, np.ascontiguousarray(array[region.slices]), channel=channel)


def boxes(grid: Grid, points: np.ndarray) -> np.ndarray:
    """Boxes of 5³ voxels around points, each with an id of its own."""
    labels = np.zeros(grid.shape, np.uint64)
    for number, (z, y, x) in enumerate(np.rint(grid.to_index(points)).astype(int)):
        box = Region((z - 2, y - 2, x - 2), (z + 3, y + 3, x + 3)).intersect(grid.region)
        labels[box.slices] = FIRST_ID + number
    return labels


def result(run: Run, name: str) -> Volume:
    return open_volume(run.folder / "results" / "pair" / name)


def test_each_volume_is_warped_on_the_grid_of_the_row(aligned: tuple[Round, Run]) -> None:
    round_, run = aligned
    grid = open_volume(round_.data / "fixed.n5" / "s0").grid
    names = ["warped.zarr", "warped_1_more.zarr", "warped_2_labels.zarr"]
    assert [result(run, name).grid.shape for name in names] == [grid.shape] * 3, "the row goes before the parameter"
    more = result(run, "warped_1_more.zarr")
    assert more.channels == 2
    warped = result(run, "warped.zarr").read().astype(float)
    for channel, share in enumerate((2, 4)):
        np.testing.assert_allclose(more.read(channel=channel), warped / share, atol=1.5)


def test_labels_keep_their_ids_and_lie_where_their_points_truly_do(aligned: tuple[Round, Run]) -> None:
    round_, run = aligned
    volume = result(run, "warped_2_labels.zarr")
    labels = volume.read()
    assert labels.dtype == np.uint64
    count = len(round_.fixed_points)
    assert set(np.unique(labels)) <= {0, *range(FIRST_ID, FIRST_ID + count)}
    index = np.rint(volume.grid.to_index(round_.fixed_points)).astype(int)
    mine = labels[tuple(index.T)] == FIRST_ID + np.arange(count, dtype=np.uint64)
    assert mine.mean() > 0.95, "boxes may overlap"


def test_points_land_within_a_voxel_of_the_truth(aligned: tuple[Round, Run]) -> None:
    round_, run = aligned
    path = run.folder / "results" / "pair" / "warped_3_spots.csv"
    header, *rows = path.read_text().splitlines()
    assert header == "x,y,z,name,space"
    assert [row.split(",")[3] for row in rows] == [f"spot {n}" for n in range(len(round_.fixed_points))]
    found = np.array([[float(v) for v in row.split(",")[2::-1]] for row in rows])
    errors = np.linalg.norm(found - round_.fixed_points, axis=1)
    voxel = min(open_volume(round_.data / "fixed.n5" / "s0").grid.spacing)
    assert errors.max() < voxel


def test_a_table_with_a_bad_line_fails_the_run_with_its_sentence(aligned: tuple[Round, Run]) -> None:
    """The alignment is there from before; the line is further down than what is looked at before it."""
    round_, run = aligned
    table = round_.data / "spots.csv"
    whole = table.read_text()
    try:
        lines = whole.splitlines()
        table.write_text("\n".join([*lines[:4], "12,nowhere,3", *lines[5:]]) + "\n")
        again = nextflow(run.folder, *OPTIONS, "-resume")
    finally:
        table.write_text(whole)
    assert again.returncode != 0
    assert "line 5 of points/spots.csv is not a point: it must hold x, y and z in µm" in again.output
    assert again.tasks("LOCAL_ALIGN", "CACHED") == 1
    assert again.tasks("TRANSFORM_POINTS", "FAILED") == 1
