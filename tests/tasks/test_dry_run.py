"""What a dry run says, beside what the run does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from teralign.cli.main import load_command, run
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.convert_volume import convert_volume
from teralign.tasks.local_align import local_align
from teralign.transforms import Affine
from teralign.volumes import create_volume, open_volume

GRID = Grid((40, 130, 150), (1.0, 0.5, 0.5))
CHUNK = (16, 32, 64)


@pytest.fixture
def source(tmp_path):
    array = np.random.default_rng(0).integers(1, 9, GRID.shape, dtype=np.uint16)
    writer = create_volume(tmp_path / "a.zarr", grid=GRID, dtype="uint16", channels=2, levels=1)
    for channel in range(2):
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, np.ascontiguousarray(array[unit.slices]), channel=channel)
    Affine.from_parts(np.eye(3), (0, 0, 20)).save(tmp_path / "shift.mat")
    return tmp_path


def convert(source, **options):
    output = str(source / "new" / "b.zarr")
    return convert_volume(str(source / "a.zarr"), output, dtype="uint8", chunk_size=CHUNK, levels=3, **options)


def warp(source, **options):
    moving = str(source / "a.zarr")
    return apply_transform(
        moving, moving, transforms=[source / "shift.mat"], output=str(source / "new" / "b.zarr"), **options
    )


def test_a_conversion_is_foretold(source, scheduler):
    planned, done = convert(source, dry_run=True), convert(source, scheduler=scheduler)
    assert planned["blocks"] == {"convert": done["units"], "level-2": 2 * 1 * 1}
    voxels = [40 * 130 * 150, 40 * 65 * 75, 20 * 32 * 37]
    assert planned["read_bytes"] == 2 * 2 * voxels[0] + 2 * voxels[1]
    assert planned["write_bytes"] == 2 * sum(voxels)


def test_a_warp_reads_what_it_sees_of_the_moving_volume(source, scheduler):
    """Shifted by 40 voxels of 150: the last ones of the fixed grid see nothing."""
    planned, done = warp(source, dry_run=True), warp(source, scheduler=scheduler)
    assert planned["blocks"] == {"warp": done["units"]}
    assert 2 * 2 * 40 * 130 * 110 <= planned["read_bytes"] <= 2 * 2 * 40 * 130 * 120
    assert planned["write_bytes"] == 2 * 2 * 40 * 130 * 150


def test_an_alignment_is_foretold(pair, tmp_path, scheduler):
    """How much is read of the moving volume depends on what is found; it was not known before."""

    def align(**options):
        return local_align(
            pair.fixed,
            pair.moving,
            initial_transforms=[pair.affine],
            output=tmp_path / "new" / "field.zarr",
            steps=["deform"],
            block_size=(48, 48, 48),
            **options,
        )

    planned = align(dry_run=True)
    assert not (tmp_path / "new").exists()
    done = align(scheduler=scheduler)
    stages = {"": done, **{f"-{4**n}": coarse for n, coarse in enumerate(done["coarser"][::-1], start=1)}}
    assert {name: planned["blocks"][f"align{name}"] for name in stages} == {n: s["blocks"] for n, s in stages.items()}
    voxels = math.prod(open_volume(pair.fixed).grid.shape) * 2
    fine = voxels * (done["fixed_reads"] + done["moving_reads"])
    coarse = 2 * voxels / 8  # the scale s1 stands for the coarser means
    assert planned["read_bytes"] == pytest.approx(fine + coarse, rel=0.25)
    assert 464 << 20 < planned["worker_memory_bytes"] < 600 << 20
    (tmp_path / "new" / "field.blocks.json").unlink()
    with pytest.raises(InputError, match="exists already"):
        align(dry_run=True)


def test_many_blocks_are_estimated_from_some(source, monkeypatch):
    exact = convert(source, dry_run=True)
    monkeypatch.setattr("teralign.tasks.dry_run._SAMPLED", 7)
    estimated = convert(source, dry_run=True)
    assert estimated.pop("worker_memory_bytes") == pytest.approx(exact.pop("worker_memory_bytes"), rel=0.01)
    assert estimated == exact


def test_memory_grows_with_what_is_in_it(source):
    def memory(**options):
        path = source / "b.zarr"
        options = {"dry_run": True, "channel": 0, **options}
        return convert_volume(str(source / "a.zarr"), str(path), **options)["worker_memory_bytes"]

    small = memory()
    assert 200 << 20 < small < 400 << 20
    assert memory(dtype="float64") > small
    assert memory(channel=None) > small
    assert memory(chunk_size=CHUNK) < small


def test_nothing_is_written(source, capsys):
    before = sorted(source.rglob("*"))
    convert(source, dry_run=True)
    warp(source, dry_run=True)
    command = f"{source}/a.zarr {source}/new/b.zarr --dry-run"
    assert run(load_command("convert-volume"), command.split(), name="convert-volume") == 0
    assert '"dry_run": true' in capsys.readouterr().out
    assert sorted(source.rglob("*")) == before


def test_an_output_that_exists_is_refused(source):
    (source / "new" / "b.zarr").mkdir(parents=True)
    for command in (convert, warp):
        with pytest.raises(InputError, match="exists already"):
            command(source, dry_run=True)
        assert command(source, dry_run=True, overwrite=True)["dry_run"]
