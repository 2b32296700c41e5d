"""Volumes of many channels on the fixed grid."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy import ndimage

from teralign.alignment import Side
from teralign.blockwise import run_blocks
from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.results import to_json
from teralign.tasks.apply_transform import apply_transform, plan_apply_transform
from teralign.transforms import Affine, DisplacementField, Stack, save_field, warp
from teralign.volumes import audit_volume, create_volume, open_volume
from teralign.volumes.manifest import FILE

FIXED = Grid((150, 140, 133), (1.2, 0.9, 0.9))
MOVING = Grid((145, 150, 129), (1.0, 1.0, 0.8), (0.5, 0.0, 0.0))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A moving volume of two channels, a fixed grid larger than a chunk, an affine and a smooth field."""
    folder = tmp_path_factory.mktemp("apply")
    rng = np.random.default_rng(1)
    channels = [(ndimage.gaussian_filter(rng.random(MOVING.shape), 2) * 60000).astype(np.uint16) for _ in range(2)]
    _write(folder / "moving.zarr", MOVING, channels)
    _write(folder / "fixed.zarr", FIXED, [np.ones(FIXED.shape, np.uint8)])
    angle = 0.1
    linear = np.eye(3)
    linear[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = Affine.from_parts(linear, (3.0, 8.0, -6.0))
    affine.save(folder / "affine.mat")
    nodes = FIXED.nodes((6, 7, 8))
    field = DisplacementField(
        ndimage.gaussian_filter(rng.normal(size=(*nodes.shape, 3)), (2, 2, 2, 0)).astype(np.float32) * 20, nodes
    )
    save_field(folder / "field.zarr", field)
    return folder, channels, Stack((affine, field))


def _write(path, grid, channels):
    names = [f"c{i}" for i in range(len(channels))]
    writer = create_volume(
        path, grid=grid, dtype=channels[0].dtype, channels=len(channels), channel_names=names, levels=1
    )
    for region in grid.region.split(writer.write_shape):
        for c, array in enumerate(channels):
            writer.write(region, np.ascontiguousarray(array[region.slices]), channel=c)


def _apply(folder, output, **options):
    return apply_transform(
        str(folder / "fixed.zarr"),
        str(folder / "moving.zarr"),
        transforms=[folder / "affine.mat", folder / "field.zarr"],
        output=str(output),
        **options,
    )


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
def test_blocks_equal_one_shot_to_the_bit(case, tmp_path, interpolation):
    folder, channels, stack = case
    _apply(
        folder,
        tmp_path / "out.zarr",
        interpolation=interpolation,
        compute=Compute(workers=2, worker_cpus=1, worker_mem_gb=1),
    )
    out = open_volume(tmp_path / "out.zarr")
    assert (out.channels, out.grid) == (2, FIXED)
    assert interpolation == "nearest" or out.channel_names == ("c0", "c1")
    for c, array in enumerate(channels):
        whole = warp(array, MOVING, grid=FIXED, region=FIXED.region, transform=stack, interpolation=interpolation)
        np.testing.assert_array_equal(out.read(channel=c), whole)
    assert whole.any()


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_coarser_levels_are_made_of_the_finest_one(case, tmp_path, interpolation):
    """Odd sides, an axis that is not halved, tasks that see nothing of the moving volume and one that sees a part."""
    folder, _, _ = case
    grid = Grid((131, 261, 531), (0.8, 0.5, 0.4))
    _write(tmp_path / "fixed.zarr", grid, [np.ones(grid.shape, np.uint8)])
    shutil.copytree(folder / "moving.zarr", tmp_path / "moving.zarr")
    shutil.copy(folder / "affine.mat", tmp_path)
    shutil.copytree(folder / "field.zarr", tmp_path / "field.zarr")
    result = _apply(tmp_path, tmp_path / "out.zarr", interpolation=interpolation, compute=Compute(workers=1))
    assert set(result.states) == {"ok", "outside"}
    paths = [tmp_path / "out.zarr" / f"s{level}" for level in range(3)]
    levels = [open_volume(path) for path in paths]
    assert all((path / FILE).exists() for path in paths)
    assert {f.state for level in levels for f in audit_volume(level).findings(1)} == {"whole", "empty"}
    expected = create_volume(
        tmp_path / "expected.zarr", grid=grid, dtype=np.uint16, channels=2, label=interpolation == "nearest"
    )
    assert [level.grid.shape for level in levels[:2]] == [(131, 261, 531), (131, 130, 265)]
    for channel in range(2):
        for level, volume in enumerate(levels):
            whole = volume.read(channel=channel)
            for region in expected.levels[level].region.split(expected.write_shape):
                if level == 0:
                    expected.write(region, np.ascontiguousarray(whole[region.slices]), channel=channel)
                else:
                    expected.build_level_region(level, region, channel=channel)
            np.testing.assert_array_equal(
                whole, expected.read(Region.whole(whole.shape), level=level, channel=channel)
            )
    assert whole.any()


def test_one_channel_as_n5(case, tmp_path):
    folder, channels, stack = case
    _apply(folder, tmp_path / "out.n5", channels=[1], compute=Compute(workers=1))
    out = open_volume(tmp_path / "out.n5")
    expected = warp(channels[1], MOVING, grid=FIXED, region=FIXED.region, transform=stack)
    assert out.channels == 1
    np.testing.assert_array_equal(out.read(), expected)


def test_every_path_may_go_up_and_through_links(case, tmp_path):
    """`..` is the folder above where a link leads to, as for every other command."""
    folder, channels, stack = case
    inside = folder / "inside"
    inside.mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(inside)
    up = tmp_path / "link" / ".."
    _apply(up, up / "up.zarr", channels=[1], compute=Compute(workers=1))
    expected = warp(channels[1], MOVING, grid=FIXED, region=FIXED.region, transform=stack)
    np.testing.assert_array_equal(open_volume(folder / "up.zarr").read(), expected)


def test_a_run_goes_on_from_what_is_done(case, tmp_path, monkeypatch):
    """The first of two runs ends after three of eight units, in the middle of writing a fourth."""
    folder, _, _ = case
    whole, output = tmp_path / "whole" / "a.zarr", tmp_path / "resumed" / "a.zarr"
    assert _apply(folder, whole, compute=Compute(workers=1)).resumed == 0

    def cut_off(function, units, **options):
        run_blocks(function, list(units)[:3], **options)
        (output.with_name("a.zarr.partial") / "output" / "a.zarr" / "s0" / "half.tmp").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.filling.filling.run_blocks", cut_off)
        _apply(folder, output, compute=Compute(workers=1))
    assert not output.exists()
    result = _apply(folder, output, compute=Compute(workers=1))
    assert (result.units, result.resumed) == (8, 3)
    assert _content(output) == _content(whole)


def _content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_output_that_exists_is_replaced_only_when_told_to(case, tmp_path):
    folder, _, _ = case
    _apply(folder, tmp_path / "a.zarr", channels=[0], compute=Compute(workers=1))
    before = _content(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="exists already"):
        _apply(folder, tmp_path / "a.zarr", channels=[1], compute=Compute(workers=1))
    assert _content(tmp_path / "a.zarr") == before
    _apply(folder, tmp_path / "a.zarr", channels=[1], compute=Compute(workers=1), overwrite=True)
    assert _content(tmp_path / "a.zarr") != before


def test_one_timepoint_or_all(tmp_path):
    grid = Grid((8, 9, 10), (1.0, 1.0, 1.0))
    frames = [np.full(grid.shape, t + 1, np.uint8) for t in range(3)]
    writer = create_volume(tmp_path / "moving.zarr", grid=grid, dtype=np.dtype(np.uint8), timepoints=3, levels=1)
    for t, frame in enumerate(frames):
        writer.write(grid.region, frame, timepoint=t)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
    moving = str(tmp_path / "moving.zarr")
    for timepoint, expected in ((None, frames), (1, frames[1:2])):
        output = tmp_path / f"{timepoint}.zarr"
        options = {"transforms": [tmp_path / "affine.mat"], "timepoint": timepoint, "compute": Compute(workers=1)}
        result = apply_transform(moving, moving, output=str(output), **options)
        out = open_volume(output)
        assert result.timepoints == out.timepoints == len(expected)
        for t, frame in enumerate(expected):
            np.testing.assert_array_equal(out.read(timepoint=t), frame)


def test_far_away_nothing_is_read_and_all_is_zero(case, tmp_path):
    folder, _, _ = case
    Affine.from_parts(np.eye(3), (1e4, 0, 0)).save(tmp_path / "far.mat")
    result = apply_transform(
        str(folder / "fixed.zarr"),
        str(folder / "moving.zarr"),
        transforms=[tmp_path / "far.mat"],
        output=str(tmp_path / "out.zarr"),
        compute=Compute(workers=1),
    )
    assert result.states == {"outside": 8}
    assert not open_volume(tmp_path / "out.zarr").read().any()


def test_a_channel_that_is_not_there_is_named(case, tmp_path):
    folder, _, _ = case
    with pytest.raises(InputError, match="no channel 2"):
        _apply(folder, tmp_path / "x.zarr", channels=[2])


def test_the_result_is_json(case, tmp_path):
    folder, _, _ = case
    result = _apply(folder, tmp_path / "j.zarr", channels=[1, 0], compute=Compute(workers=1))
    assert json.loads(to_json(result))["channels"] == 2


def test_labels_that_would_be_interpolated_get_a_warning(tmp_path, caplog):
    grid = Grid((24, 40, 40), (1.0, 1.0, 1.0))
    labels = (np.indices(grid.shape) // 8).sum(axis=0).astype(np.uint16) * 50 + 1
    writer = create_volume(tmp_path / "labels.zarr", grid=grid, dtype=labels.dtype, levels=1)
    writer.write(grid.region, labels)
    Affine.from_parts(np.eye(3), (0, 0, 0)).save(tmp_path / "affine.mat")
    options = {"transforms": [tmp_path / "affine.mat"], "output": tmp_path / "out.zarr"}
    volume = tmp_path / "labels.zarr"
    plan_apply_transform(volume, volume, **options)
    assert "labels.zarr looks like labels" in caplog.text
    assert "--interpolation nearest" in caplog.text
    caplog.clear()
    plan_apply_transform(volume, volume, **options, interpolation="nearest")
    assert "looks like labels" not in caplog.text


def test_options_of_an_alignment_are_not_ignored_in_silence(case):
    folder, _, _ = case
    with pytest.raises(InputError, match="only the URI, the spacing and the expansion are used"):
        moving = Side(str(folder / "moving.zarr"), channel=1)
        plan_apply_transform(folder / "fixed.zarr", moving, transforms=[], output=folder / "x.zarr")
