"""Volumes in other formats, whole or in part."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from teralign.blockwise import run_blocks
from teralign.cluster import Compute
from teralign.grids import Grid, Region
from teralign.tasks.convert_volume import convert_volume
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import audit_volume, create_volume, open_volume
from teralign.volumes.pyramid import mean, mode
from volume_files import EVERY_FORMAT, SPACING, noise

GRID = Grid((40, 130, 150), (1.0, 0.5, 0.5), (3.0, -2.0, 0.25))
CHUNK = (16, 32, 64)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two channels at two timepoints, (t, c, z, y, x), of which one is partly empty; and its array."""
    path = tmp_path_factory.mktemp("source") / "round.zarr"
    array = noise((2, 2, *GRID.shape), "uint16")
    array[1, 1, :, :70] = 0
    writer = create_volume(
        path, grid=GRID, dtype="uint16", channels=2, timepoints=2, channel_names=("DAPI", "GFP"), levels=1
    )
    for t, c in np.ndindex(2, 2):
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, np.ascontiguousarray(array[t, c][unit.slices]), channel=c, timepoint=t)
    return path, array


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", EVERY_FORMAT)
@pytest.mark.parametrize("suffix", [".zarr", ".n5"])
def test_every_format_keeps_its_voxels_and_their_places(form, suffix, tmp_path, scheduler):
    array = noise((20, 17, 23), "uint16")
    path, grid = EVERY_FORMAT[form].write(tmp_path, array)
    output = tmp_path / f"out{suffix}"
    convert_volume(str(path), str(output), spacing=SPACING, compute=Compute(scheduler))
    found = open_volume(output)
    np.testing.assert_array_equal(found.read(), array)
    assert found.grid == grid
    assert {f.state for f in audit_volume(found).findings(1)} == {"whole"}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_all_channels_and_timepoints_with_levels(version, source, tmp_path, scheduler):
    path, array = source
    options = {"chunk_size": CHUNK, "levels": 3, "ome_zarr": version, "compute": Compute(scheduler)}
    convert_volume(str(path), str(tmp_path / "a.zarr"), **options)
    assert inspect_volume(str(tmp_path / "a.zarr"), check=True).check.faults == []
    assert (tmp_path / "a.zarr" / "zarr.json").exists() == (version == "0.5")
    levels = [open_volume(tmp_path / "a.zarr" / f"s{level}") for level in range(3)]
    assert levels[0].channel_names == ("DAPI", "GFP")
    assert levels[0].grid == GRID
    assert all(level.chunk_shape == CHUNK for level in levels)
    assert [level.grid.shape for level in levels] == [(40, 130, 150), (40, 65, 75), (20, 32, 37)]
    for t, c in np.ndindex(2, 2):
        expected = array[t, c]
        for level, factors in zip(levels, [(1, 1, 1), (1, 2, 2), (2, 2, 2)], strict=True):
            expected = mean(expected, factors)
            np.testing.assert_array_equal(level.read(channel=c, timepoint=t), expected)


def test_a_part_of_one_channel_stays_where_it_is(source, tmp_path, scheduler):
    path, array = source
    crop = ((5, 33), (None, 100), (71, None))
    options = {"channel": 1, "timepoint": 1, "crop": crop, "spacing": (2.0, 1.0, 1.0), "compute": Compute(scheduler)}
    convert_volume(str(path), str(tmp_path / "a.n5"), chunk_size=CHUNK, **options)
    found = open_volume(tmp_path / "a.n5")
    np.testing.assert_array_equal(found.read(), array[1, 1, 5:33, :100, 71:])
    region = Region((5, 0, 71), (33, 100, 150))
    assert found.grid == open_volume(path, spacing=(2.0, 1.0, 1.0)).grid.crop(region)


def test_values_are_rounded_and_saturated(tmp_path, scheduler):
    values = np.linspace(-300, 300, 8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10)
    path, _ = EVERY_FORMAT["nrrd"].write(tmp_path, values)
    convert_volume(str(path), str(tmp_path / "a.zarr"), dtype="int8", compute=Compute(scheduler))
    found = open_volume(tmp_path / "a.zarr")
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found.read(), np.clip(np.rint(values), -128, 127).astype(np.int8))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_keep_their_ids_on_every_scale(version, tmp_path, scheduler):
    ids = np.random.default_rng(0).choice(np.array([0, 7, 2**63 - 1], np.uint64), GRID.shape)
    path, _ = EVERY_FORMAT["ome-zarr-0.5"].write(tmp_path, ids)
    convert_volume(
        str(path), str(tmp_path / "a.zarr"), label=True, levels=2, ome_zarr=version, compute=Compute(scheduler)
    )
    fine, coarse = (open_volume(tmp_path / "a.zarr" / f"s{level}") for level in range(2))
    np.testing.assert_array_equal(fine.read(), ids)
    factors = tuple(round(a / b) for a, b in zip(coarse.grid.spacing, fine.grid.spacing, strict=True))
    np.testing.assert_array_equal(coarse.read(), mode(ids, factors))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.zarr", {"ome_zarr": "0.4"}), ("a.zarr", {}), ("a.precomputed", {"timepoint": 1})],
    ids=["0.4", "0.5", "precomputed"],
)
def test_bytes_are_the_same_after_a_run_that_was_cut_off(name, options, source, tmp_path, scheduler, monkeypatch):
    """Beside a run of one worker; the cut-off one ends after two blocks, in the middle of a third."""
    path, array = source
    options = {"chunk_size": CHUNK, "levels": 3, **options}
    convert_volume(str(path), str(tmp_path / "whole" / name), compute=Compute(workers=1), **options)
    output = tmp_path / "resumed" / name

    def cut_off(function, units, **arguments):
        run_blocks(function, list(units)[:2], **arguments)
        (output.with_name(f"{name}.partial") / "output" / name / "s0" / "half.tmp").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.filling.filling.run_blocks", cut_off)
        convert_volume(str(path), str(output), compute=Compute(scheduler), **options)
    assert not output.exists()
    assert convert_volume(str(path), str(output), compute=Compute(scheduler), **options).resumed == 2
    assert content(output) == content(tmp_path / "whole" / name)
    assert not output.with_name(f"{name}.partial").exists()
    assert inspect_volume(str(output), check=True).check.faults == []
    found = open_volume(output)
    for channel in range(2):
        np.testing.assert_array_equal(found.read(channel=channel, timepoint=-1 % found.timepoints), array[1, channel])


@pytest.mark.parametrize(("name", "changed"), [("a.zarr", {"ome_zarr": "0.4"}), ("b.zarr", {})])
def test_unfinished_work_of_another_version_or_output_is_not_taken(
    name, changed, source, tmp_path, scheduler, monkeypatch
):
    path, array = source
    options = {"compute": Compute(scheduler, work_dir=tmp_path / "work"), "channel": 0, "timepoint": 0}

    def cut_off(*positional, **arguments):
        run_blocks(*positional, **arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("teralign.filling.filling.run_blocks", cut_off)
        convert_volume(str(path), str(tmp_path / "a.zarr"), **options)
    assert convert_volume(str(path), str(tmp_path / name), **changed, **options).resumed == 0
    np.testing.assert_array_equal(open_volume(tmp_path / name).read(), array[0, 0])


def test_chunks_that_are_missing_are_zeros(tmp_path, scheduler):
    array = noise((20, 17, 23), "uint16")
    path, _ = EVERY_FORMAT["n5"].write(tmp_path, array)
    shutil.rmtree(path / "0")
    array[:, :, :8] = 0
    convert_volume(str(path), str(tmp_path / "a.zarr"), compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(), array)
