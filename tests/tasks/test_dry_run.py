"""What a dry run says, beside what the run does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from teralign.alignment import BlockOptions
from teralign.cli.main import load_command, run
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.tasks.build_pyramid import build_pyramid, plan_build_pyramid
from teralign.tasks.compose_transforms import plan_compose_transforms
from teralign.tasks.convert_transform import plan_convert_transform
from teralign.tasks.convert_volume import convert_volume, plan_convert_volume
from teralign.tasks.global_align import plan_global_align
from teralign.tasks.invert_transform import plan_invert_transform
from teralign.tasks.jacobian_map import plan_jacobian_map
from teralign.tasks.local_align import local_align, plan_local_align
from teralign.transforms import Affine, DisplacementField, save_field
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


def convert(source, task=convert_volume, **options):
    output = source / "new" / "b.zarr"
    return task(source / "a.zarr", output, dtype="uint8", chunk_size=CHUNK, levels=3, **options)


def plan_convert(source, **options):
    return convert(source, plan_convert_volume, **options)


def warp(source, task=apply_transform, **options):
    moving = source / "a.zarr"
    return task(moving, moving, transforms=[source / "shift.mat"], output=source / "new" / "b.zarr", **options)


def plan_warp(source, **options):
    return warp(source, plan_apply_transform, **options)


def test_a_conversion_is_predicted(source, scheduler):
    planned, done = plan_convert(source), convert(source, compute=Compute(scheduler))
    assert planned.blocks == {"convert": done.units, "level-2": 2 * 1 * 1}
    voxels = [40 * 130 * 150, 40 * 65 * 75, 20 * 32 * 37]
    assert planned.read_bytes == 2 * 2 * voxels[0] + 2 * voxels[1]
    assert planned.write_bytes == 2 * sum(voxels)


def test_a_warp_reads_what_it_sees_of_the_moving_volume(source, scheduler):
    """Shifted by 40 voxels of 150: the last ones of the fixed grid see nothing."""
    planned, done = plan_warp(source), warp(source, compute=Compute(scheduler))
    assert planned.blocks == {"warp": done.units}
    assert 2 * 2 * 40 * 130 * 110 <= planned.read_bytes <= 2 * 2 * 40 * 130 * 120
    assert planned.write_bytes == 2 * 2 * 40 * 130 * 150


def test_an_alignment_is_predicted(pair, tmp_path, scheduler):
    """How much is read of the moving volume depends on what is found; it was not known before."""

    options = {
        "initial_transforms": [pair.affine],
        "output": tmp_path / "new" / "field.zarr",
        "steps": ["deform"],
        "blocks": BlockOptions((48, 48, 48)),
    }
    planned = plan_local_align(pair.fixed, pair.moving, **options)
    assert not (tmp_path / "new").exists()
    done = local_align(pair.fixed, pair.moving, **options, compute=Compute(scheduler))
    stages = {"": done, **{f"-{4**n}": coarse for n, coarse in enumerate(done.coarser[::-1], start=1)}}
    assert {name: planned.blocks[f"align{name}"] for name in stages} == {n: s.blocks for n, s in stages.items()}
    voxels = math.prod(open_volume(pair.fixed).grid.shape) * 2
    fine = voxels * (done.fixed_reads + done.moving_reads)
    coarse = 2 * voxels / 8  # the scale s1 stands for the coarser means
    assert planned.read_bytes == pytest.approx(fine + coarse, rel=0.25)
    assert 464 << 20 < planned.worker_memory_bytes < 600 << 20
    (tmp_path / "new" / "field.blocks.json").unlink()
    with pytest.raises(InputError, match="exists already"):
        plan_local_align(pair.fixed, pair.moving, **options)


def test_the_output_of_an_alignment_is_named_as_it_was_given(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = plan_local_align(pair.fixed, pair.moving, output="new/field.zarr", steps=["deform"])
    assert planned.output == "new/field.zarr"


def test_memory_grows_with_what_is_in_it(source):
    def memory(**options):
        options = {"channel": 0, **options}
        return plan_convert_volume(source / "a.zarr", source / "b.zarr", **options).worker_memory_bytes

    small = memory()
    assert 200 << 20 < small < 400 << 20
    assert memory(dtype="float64") > small
    assert memory(channel=None) > small
    assert memory(chunk_size=CHUNK) < small


def test_nothing_is_written(source, capsys):
    before = sorted(source.rglob("*"))
    plan_convert(source)
    plan_warp(source)
    command = f"{source}/a.zarr {source}/new/b.zarr --dry-run"
    assert run(load_command("convert-volume"), command.split(), name="convert-volume") == 0
    assert '"dry_run": true' in capsys.readouterr().out
    assert sorted(source.rglob("*")) == before


def test_an_output_that_exists_is_refused(source):
    (source / "new" / "b.zarr").mkdir(parents=True)
    for plan in (plan_convert, plan_warp):
        with pytest.raises(InputError, match="exists already"):
            plan(source)
        assert plan(source, overwrite=True).dry_run


def test_time_is_that_of_the_cores_that_there_are(source):
    def seconds(workers):
        compute = Compute(workers=workers, worker_cpus=2, worker_mem_gb=1)
        return plan_convert_volume(large, source / "c.zarr", compute=compute).estimated_seconds

    large = str(source / "large.zarr")
    create_volume(large, grid=Grid((4096, 4096, 4096), (1.0, 1.0, 1.0)), dtype="uint16")
    one, four = seconds(1), seconds(4)
    assert one == pytest.approx(4 * four, rel=0.05)
    assert 500 < one < 5000  # 69 billion voxels of 0.042 µs, on two cores


@pytest.fixture
def field(tmp_path):
    """A field on 40×130×150 nodes, and an affine."""
    values = np.random.default_rng(0).uniform(-0.1, 0.1, (*GRID.shape, 3)).astype(np.float32)
    save_field(tmp_path / "field.zarr", DisplacementField(values, GRID, GRID.region))
    Affine.from_parts(np.eye(3), (0, 0, 20)).save(tmp_path / "affine.mat")
    return [tmp_path / "affine.mat", tmp_path / "field.zarr"]


NODES = 40 * 130 * 150


@pytest.mark.parametrize(
    ("command", "output", "stage", "blocks"),
    [
        (plan_compose_transforms, "whole.zarr", "composition", 1 * 3 * 3),
        (plan_convert_transform, "whole.nii.gz", "conversion", 1),
    ],
)
def test_what_is_made_of_transforms_is_predicted(field, tmp_path, command, output, stage, blocks):
    before = sorted(tmp_path.rglob("*"))
    plan = command(field, tmp_path / "new" / output)
    assert plan.blocks == {stage: blocks}
    assert plan.read_bytes == plan.write_bytes == NODES * 12
    assert plan.worker_memory_bytes > 200 << 20
    assert plan.estimated_seconds >= 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_conversion_to_a_map_copies_the_field(field, tmp_path):
    plan = plan_convert_transform(field, tmp_path / "whole.zarr")
    assert plan.blocks == {}
    assert plan.read_bytes == plan.write_bytes == NODES * 12


def test_a_jacobian_map_is_planned(field, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    plan = plan_jacobian_map(field, tmp_path / "new" / "jacobian.zarr")
    assert plan.blocks == {"determinants": 1 * 2 * 2}
    assert (plan.read_bytes, plan.write_bytes) == (NODES * 12, NODES * 4)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_inverse_and_affines_are_predicted(field, tmp_path):
    plan = plan_invert_transform(field, tmp_path / "inverse.zarr")
    assert plan.blocks["inverse"] >= 9
    assert plan.write_bytes >= 2 * NODES * 12  # the inverse, and a copy of the field
    for planned in (
        plan_invert_transform(field[:1], tmp_path / "inverse.mat"),
        plan_compose_transforms(field[:1], tmp_path / "whole.mat"),
        plan_convert_transform(field[:1], tmp_path / "whole.tfm"),
    ):
        assert planned.blocks == {}
    with pytest.raises(InputError, match="but there are fields"):
        plan_convert_transform(field, tmp_path / "whole.mat")
    assert sorted(tmp_path.glob("whole*")) == sorted(tmp_path.glob("inverse*")) == []


def test_levels_to_build_are_predicted(source, scheduler):
    options = {"levels": 3, "compute": Compute(scheduler)}
    plan = plan_build_pyramid(source / "a.zarr", **options)
    assert not (source / "a.zarr" / "s1").exists()
    done = build_pyramid(source / "a.zarr", **options)
    assert sum(plan.blocks.values()) == done.units
    assert list(plan.blocks) == ["level-1", "level-2"]
    voxels = [math.prod(open_volume(source / "a.zarr" / f"s{level}").grid.shape) for level in range(3)]
    assert plan.read_bytes == 2 * 2 * sum(voxels[:2])
    assert plan.write_bytes == 2 * 2 * sum(voxels[1:])


def test_a_global_alignment_is_predicted(pair, tmp_path):
    options = {"output": tmp_path / "new" / "a.zarr", "aligned": str(tmp_path / "new" / "b.zarr")}
    plan = plan_global_align(pair.fixed, pair.moving, steps=["affine", "deform"], **options)
    voxels = [math.prod(open_volume(uri).grid.shape) for uri in (pair.fixed, pair.moving)]
    assert plan.read_bytes == 2 * sum(voxels)
    assert plan.write_bytes > 2 * voxels[0]
    assert not (tmp_path / "new").exists()
