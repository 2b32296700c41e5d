"""Stacks whose planes along z were saved as timepoints or channels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile

from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.tasks.convert_volume import convert_volume
from teralign.tasks.inspect_volume import inspect_volume
from teralign.volumes import open_volume, split_uri
from volume_files import SPACING, noise, space_axes, write_ome_zarr

SHAPE = (5, 12, 10)
SIZES = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}


def write_tiff(path, array, axes, *, ome=True, **options):
    if ome:
        metadata = {"axes": axes, **SIZES}
    else:
        metadata = {"axes": axes, "unit": "um", "spacing": 2.0}
        options |= {"imagej": True, "resolution": (4, 2)}
    tifffile.imwrite(path, array, metadata=metadata, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize("axis", ["t", "c"])
def test_a_stack_saved_as_times_or_channels_is_a_volume_when_it_is_said(axis, ome, compression, tmp_path):
    array = noise(SHAPE, "uint16")
    name = "a.ome.tif" if ome else "a.tif"
    path = write_tiff(tmp_path / name, array, f"{axis.upper()}YX", ome=ome, compression=compression)
    plural = {"t": "timepoints", "c": "channels"}[axis]
    with pytest.raises(InputError, match=rf"is a 2-D image with 5 {plural}; .* name it .*{name}:z={axis}\.$"):
        open_volume(path)
    volume = open_volume(f"{path}:z={axis}")
    assert (volume.grid, volume.channels, volume.timepoints) == (Grid(SHAPE, SPACING), 1, 1)
    np.testing.assert_array_equal(volume.read(), array)
    region = Region((1, 2, 3), (4, 9, 8))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read(region), array[region.slices])


def test_the_other_axis_stays_what_it_is(tmp_path):
    array = noise((5, 3, 12, 10), "uint16")
    path = write_tiff(tmp_path / "a.ome.tif", array, "TCYX")
    volume = open_volume(f"{path}:z=t")
    assert (volume.channels, volume.timepoints) == (3, 1)
    np.testing.assert_array_equal(volume.read(channel=1), array[:, 1])
    volume = open_volume(f"{path}:z=c")
    assert (volume.channels, volume.timepoints, volume.grid.shape) == (1, 5, (3, 12, 10))
    np.testing.assert_array_equal(volume.read(timepoint=4), array[4])


@pytest.mark.parametrize("order", ["tyx", "tzyx", "cyx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_it_fits_other_formats(order, version, tmp_path):
    array = noise(SHAPE, "uint16")
    stored = array[:, np.newaxis] if "z" in order else array
    scale = [1.0] + [dict(zip("zyx", SPACING, strict=True))[axis] for axis in order[1:]]
    steps = {"0": [{"type": "scale", "scale": scale}]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"0": stored}, space_axes(order), steps, version=version)
    volume = open_volume(f"{path}:z={order[0]}", spacing=SPACING)
    assert volume.grid == Grid(SHAPE, SPACING)
    np.testing.assert_array_equal(volume.read(), array)
    if "z" not in order:
        with pytest.raises(InputError, match=r"how large its voxels are along z \(they are 0.25 µm along x"):
            open_volume(f"{path}:z={order[0]}")


@pytest.mark.parametrize(
    ("axes", "shape", "axis", "said"),
    [
        ("TZYX", (2, *SHAPE), "t", r"a.ome.tif:z=t has 5 planes along z already; leave out :z=t"),
        ("YX", (12, 10), "t", r"a.ome.tif:z=t has one timepoint only"),
        ("CYX", SHAPE, "t", r"a.ome.tif:z=t has one timepoint only, which makes no planes along z"),
        ("TYX", SHAPE, "y", r"ends in :z=y; only :z=t \(timepoints\) and :z=c \(channels\) are known"),
    ],
)
def test_what_cannot_be_z_is_said(axes, shape, axis, said, tmp_path):
    path = write_tiff(tmp_path / "a.ome.tif", noise(shape, "uint8"), axes)
    with pytest.raises(InputError, match=said):
        open_volume(f"{path}:z={axis}")


def test_the_ending_is_no_part_of_the_container(tmp_path):
    path = write_tiff(tmp_path / "a.ome.tif", noise(SHAPE, "uint8"), "TYX")
    assert split_uri(f"{path}:z=t") == (path, "")
    assert split_uri("s3://bucket/a.zarr/s0:z=t")[1] == "s0"


def test_commands_take_it(tmp_path, scheduler):
    array = noise(SHAPE, "uint16")
    uri = f"{write_tiff(tmp_path / 'a.ome.tif', array, 'TYX')}:z=t"
    assert inspect_volume(uri) is not None
    convert_volume(uri, str(tmp_path / "b.zarr"), compute=Compute(scheduler))
    np.testing.assert_array_equal(open_volume(tmp_path / "b.zarr").read(), array)
