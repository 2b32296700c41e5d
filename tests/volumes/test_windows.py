"""Display windows from the voxels of a coarse level."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.cluster import Compute
from teralign.grids import Grid
from teralign.tasks.convert_volume import convert_volume
from teralign.volumes import Chunking, create_volume, open_volume
from teralign.volumes.windows import window_of
from volume_files import space_axes, write_ome_zarr

GRID = Grid((24, 60, 44), (1.0, 1.0, 1.0))


def written(folder, arrays, **options):
    """The volume of (t, z, y, x) arrays of each channel, and its writer."""
    timepoints = arrays[0].shape[0]
    names = tuple(f"channel {c}" for c in range(len(arrays)))
    writer = create_volume(
        folder / "a.zarr",
        grid=GRID,
        dtype=arrays[0].dtype,
        channels=len(arrays),
        channel_names=names,
        timepoints=timepoints,
        chunking=Chunking((16, 16, 16)),
        **options,
    )
    for c, t in np.ndindex(len(arrays), timepoints):
        for unit in GRID.region.split(writer.write_shape):
            writer.write(unit, np.ascontiguousarray(arrays[c][t][unit.slices]), channel=c, timepoint=t)
        for level, grid in enumerate(writer.levels[1:], 1):
            for unit in grid.region.split(writer.write_shape):
                writer.build_level_region(level, unit, channel=c, timepoint=t)
    writer.declare_windows()
    return open_volume(folder / "a.zarr"), writer


def values(seed, dtype, low, high):
    return np.random.default_rng(seed).uniform(low, high, (2, *GRID.shape)).astype(dtype)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("dtype", "limits"), [("uint16", (0, 65535)), ("int8", (-128, 127))])
def test_integers_are_shown_from_0_1_to_99_9_percent_of_the_coarsest_level(dtype, limits, version, tmp_path):
    volume, writer = written(
        tmp_path, [values(0, dtype, 20, 90), values(1, dtype, 5, 12)], levels=2, ome_zarr=version
    )
    for channel, settings in enumerate(volume.display):
        coarse = np.stack(
            [writer.read(writer.levels[1].region, level=1, channel=channel, timepoint=t) for t in (0, 1)]
        )
        expected = np.rint(np.percentile(coarse, (0.1, 99.9)))
        assert settings.window == (*limits, *expected)
    assert volume.display[0].window[2] > volume.display[1].window[3]


def test_floats_have_the_limits_of_their_finite_voxels(tmp_path):
    array = values(0, "float32", -3, 7)
    array[0, 0, 0, :5] = np.nan
    array[1, 0, 0, :5] = np.inf
    volume, _ = written(tmp_path, [array], levels=1)
    finite = array[np.isfinite(array)]
    expected = (finite.min(), finite.max(), *np.percentile(finite, (0.1, 99.9)))
    np.testing.assert_allclose(volume.display[0].window, expected, rtol=1e-6)


def test_a_few_bright_voxels_are_not_lost_in_the_background(tmp_path):
    array = np.zeros((1, *GRID.shape), np.uint16)
    array[0, 3, 4, 5] = 700
    volume, _ = written(tmp_path, [array], levels=1)
    assert volume.display[0].window == (0, 65535, 0, 700)


def test_a_constant_image_has_the_whole_range(tmp_path):
    volume, _ = written(tmp_path, [np.full((1, *GRID.shape), 9, np.uint16)], levels=1)
    assert volume.display[0].window == (0, 65535, 0, 65535)


@pytest.mark.parametrize("edges", [(0, 9, 4, 4), (0, 9, 8, 2), (0, float("nan"), 0, 1), (0, float("inf"), 0, 1)])
def test_windows_of_others_that_show_nothing_are_those_of_the_voxels(edges, tmp_path, scheduler):
    window = dict(zip(("min", "max", "start", "end"), edges, strict=True))
    array = values(0, "uint16", 20, 90)[0]
    steps = {"0": [{"type": "scale", "scale": list(GRID.spacing)}]}
    omero = {"channels": [{"label": "DAPI", "color": "FF0000", "window": window}]}
    write_ome_zarr(tmp_path / "theirs.zarr", {"0": array}, space_axes(), steps, omero=omero)
    convert_volume(tmp_path / "theirs.zarr", tmp_path / "ours.zarr", levels=1, compute=Compute(scheduler))
    (shown,) = open_volume(tmp_path / "ours.zarr").display
    assert (shown.colour, shown.window) == ("FF0000", (0, 65535, *np.rint(np.percentile(array, (0.1, 99.9)))))


def test_labels_have_no_window(tmp_path):
    volume, _ = written(tmp_path, [values(0, "uint16", 0, 9)], levels=2, label=True)
    assert volume.display[0].window is None
    assert "omero" not in (tmp_path / "a.zarr" / "zarr.json").read_text()


def test_a_large_level_is_sampled_evenly():
    array, read = values(0, "uint16", 20, 900), []

    def recorded(region, timepoint):
        read.append((timepoint, region.start))
        return array[timepoint][region.slices]

    window = window_of(recorded, GRID, (16, 16, 16), 2, array.dtype, max_voxels=6 * 16**3)
    np.testing.assert_allclose(window[2:], np.percentile(array, (0.1, 99.9)), atol=5)
    assert len(read) == 6
    assert {timepoint for timepoint, _ in read} == {0, 1}
