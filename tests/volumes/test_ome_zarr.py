import json

import numpy as np
import pytest
import zarr

from teralign.errors import InputError
from teralign.grids import Grid, Region
from teralign.volumes import open_volume
from volume_files import SPACING, noise, space_axes, write_ome_zarr, write_zarr

SHAPE = (4, 6, 10)


def scale(*values):
    return {"type": "scale", "scale": list(values)}


def translation(*values):
    return {"type": "translation", "translation": list(values)}


def geometry(uri, **options):
    grid = open_volume(uri, **options).grid
    return grid.spacing, grid.origin


def edit_image(group, edit):
    content = json.loads((group / "zarr.json").read_text())
    edit(content["attributes"]["ome"]["multiscales"][0])
    (group / "zarr.json").write_text(json.dumps(content))


@pytest.fixture(params=["0.4", "0.5", "0.6"])
def version(request):
    return request.param


def test_the_image_is_its_finest_level_and_levels_go_by_their_exact_path(tmp_path, version):
    fine, coarse = noise(SHAPE, "uint16"), noise((2, 3, 5), "uint16")
    steps = {"0/full": [scale(2, 1, 1)], "0/half": [scale(4, 2, 2), translation(1, 0.5, 0.5)]}
    path = write_ome_zarr(
        tmp_path / "a.zarr" / "img", {"0/full": fine, "0/half": coarse}, space_axes(), steps, version=version
    )
    for uri in (path, path / "0" / "full"):
        volume = open_volume(uri)
        assert volume.grid == Grid(SHAPE, (2, 1, 1))
        np.testing.assert_array_equal(volume.read(), fine)
    volume = open_volume(path / "0" / "half")
    assert volume.grid == Grid((2, 3, 5), (4, 2, 2), (1, 0.5, 0.5))
    np.testing.assert_array_equal(volume.read(), coarse)


def test_a_scale_that_is_not_there_is_never_replaced_by_another(tmp_path, version):
    arrays = {f"s{n}": noise(SHAPE, "uint8") for n in range(3)}
    path = write_ome_zarr(
        tmp_path / "a.zarr", arrays, space_axes(), {name: [scale(2, 1, 1)] for name in arrays}, version=version
    )
    for wrong in ("2", "s3", "raw_s2"):
        with pytest.raises(InputError, match=f"a.zarr has no scale {wrong}; .*t holds s0, s1, s2"):
            open_volume(path / wrong)


@pytest.mark.parametrize("order", ["zyx", "xyz", "czyx", "tczyx", "zcyx", "yxzct", "xtyzc"])
def test_axes_may_come_in_any_order(order, tmp_path, version):
    full = noise((2, 3, *SHAPE), "uint16")
    sizes = {"t": 3, "c": 5, "z": 2.0, "y": 0.5, "x": 0.25}
    moves = {"t": 9, "c": 9, "z": 1.0, "y": 2.0, "x": 3.0}
    reduced = full[tuple(slice(None) if axis in order else 1 for axis in "tczyx")]
    kept = [axis for axis in "tczyx" if axis in order]
    array = reduced.transpose([kept.index(axis) for axis in order])
    steps = [scale(*(sizes[a] for a in order)), translation(*(moves[a] for a in order))]
    volume = open_volume(
        write_ome_zarr(tmp_path / "a.zarr", {"s0": array}, space_axes(order), {"s0": steps}, version=version)
    )
    assert volume.grid == Grid(SHAPE, (2, 0.5, 0.25), (1, 2, 3))
    assert (volume.timepoints, volume.channels) == (2 if "t" in order else 1, 3 if "c" in order else 1)
    last = {"timepoint": volume.timepoints - 1, "channel": volume.channels - 1}
    wanted = full[1, 2 if "c" in order else 1]
    np.testing.assert_array_equal(volume.read(**last), wanted)
    region = Region((1, 2, 3), (3, 5, 9))
    found = volume.read(region, **last)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, wanted[region.slices])


@pytest.mark.parametrize(("unit", "factor"), [("micrometer", 1), ("nanometer", 1e-3), ("millimeter", 1e3), (None, 1)])
def test_units_become_micrometres(unit, factor, tmp_path):
    steps = {"s0": [scale(2, 0.5, 0.25), translation(4, 3, 2)]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": noise(SHAPE, "uint8")}, space_axes(unit=unit), steps)
    spacing, origin = geometry(path)
    np.testing.assert_allclose(spacing, np.array([2, 0.5, 0.25]) * factor, rtol=1e-12)
    np.testing.assert_allclose(origin, np.array([4, 3, 2]) * factor, rtol=1e-12)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_transformations_of_the_group_come_after_those_of_the_level(tmp_path, version):
    steps = {"s0": [scale(2, 1, 1), translation(1, 2, 3)]}
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        {"s0": noise(SHAPE, "uint8")},
        space_axes(),
        steps,
        group_transforms=[scale(10, 100, 1000), translation(5, 5, 5)],
        version=version,
    )
    assert geometry(path) == ((20, 100, 1000), (15, 205, 3005))


@pytest.mark.parametrize("version", ["0.6", "0.6rc0", "0.6.dev4"])
def test_an_image_lies_in_the_coordinate_system_that_its_levels_lead_to(version, tmp_path):
    steps = {"s0": [scale(2, 1, 1), translation(1, 2, 3)], "s1": [scale(4, 2, 2)]}
    arrays = {"s0": noise(SHAPE, "uint8"), "s1": noise((2, 3, 5), "uint8")}
    elsewhere = {"type": "scale", "scale": [9, 9, 9], "input": {"name": "own"}, "output": {"name": "atlas"}}
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        arrays,
        space_axes(unit="nanometer"),
        steps,
        group_transforms=[elsewhere],
        version=version,
    )
    other = {"name": "atlas", "axes": space_axes("xyz", unit="millimeter")}
    edit_image(path, lambda image: image["coordinateSystems"].insert(0, other))
    assert geometry(path) == ((0.002, 0.001, 0.001), (0.001, 0.002, 0.003))
    assert geometry(path / "s1") == ((0.004, 0.002, 0.002), (0, 0, 0))
    edit_image(path, lambda image: image["coordinateSystems"].pop())
    with pytest.raises(InputError, match=r"a.zarr has no coordinate system own that its levels lead to"):
        open_volume(path)


def test_sequences_may_lie_in_sequences(tmp_path):
    nested = {"type": "sequence", "transformations": [scale(2, 1, 1), {"type": "identity"}]}
    steps = {"s0": [nested, translation(1, 2, 3)]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": noise(SHAPE, "uint8")}, space_axes(), steps, version="0.6")
    assert geometry(path) == ((2, 1, 1), (1, 2, 3))


@pytest.mark.parametrize(
    ("unit", "steps"),
    [(None, [scale(1, 1, 1)]), (None, [{"type": "identity"}]), (None, []), ("pixel", [scale(1, 1, 1)])],
)
def test_a_voxel_size_that_nobody_measured_is_asked_for(unit, steps, tmp_path):
    arrays = {"s0": noise(SHAPE, "uint8"), "s1": noise((2, 3, 5), "uint8")}
    levels = {"s0": steps, "s1": [*steps, scale(2, 2, 2), translation(0.5, 0.5, 0.5)]}
    path = write_ome_zarr(tmp_path / "a.zarr", arrays, space_axes(unit=unit), levels)
    for name in arrays:
        with pytest.raises(InputError, match=f"{name} does not say how large its voxels are.*; give --spacing"):
            open_volume(path / name)
    assert geometry(path / "s1", spacing=(8, 2, 2)) == ((8, 2, 2), (2, 0.5, 0.5))


def test_units_of_some_axes_leave_a_scale_of_1_along_the_others_unknown(tmp_path):
    axes = [{"name": "z", "type": "space"}, *space_axes("yx")]
    for name, z in (("unknown", 1), ("known", 3)):
        write_ome_zarr(tmp_path / f"{name}.zarr", {"s0": noise(SHAPE, "uint8")}, axes, {"s0": [scale(z, 0.5, 0.25)]})
    with pytest.raises(InputError, match=r"along z \(they are 0.25 µm along x and 0.5 µm along y\)"):
        open_volume(tmp_path / "unknown.zarr")
    assert geometry(tmp_path / "known.zarr") == ((3, 0.5, 0.25), (0, 0, 0))


@pytest.mark.parametrize("steps", [[], [translation(1, 2, 3)]])
def test_units_without_a_scale_say_no_voxel_size(steps, tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": noise(SHAPE, "uint8")}, space_axes(), {"s0": steps})
    with pytest.raises(InputError, match="does not say how large its voxels are; give --spacing X,Y,Z"):
        open_volume(path)


def test_a_scale_without_units_is_taken_for_micrometres_and_said_once(tmp_path, caplog):
    levels = {"s0": [scale(1, 0.5, 0.5)]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": noise(SHAPE, "uint8")}, space_axes(unit=None), levels)
    for _ in range(2):
        assert geometry(path) == ((1, 0.5, 0.5), (0, 0, 0))
    assert caplog.messages == [f"{path} gives its voxel size without a unit; it is taken for µm"]


def test_channel_names_come_from_omero(tmp_path, version):
    array = noise((2, *SHAPE), "uint8")
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    steps = {"s0": [scale(1, 2, 1, 1)]}
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": array}, space_axes("czyx"), steps, omero=omero, version=version)
    assert open_volume(path).channel_names == ("DAPI", "GFP")


def test_plain_arrays_take_their_axes_by_position_or_name(tmp_path):
    root = tmp_path / "a.zarr"
    array = noise((2, 3, *SHAPE), "uint16")
    for version in (2, 3):
        volume = open_volume(write_zarr(root / f"five{version}", array, version), spacing=SPACING)
        assert (volume.timepoints, volume.channels, volume.grid) == (2, 3, Grid(SHAPE, SPACING))
        np.testing.assert_array_equal(volume.read(channel=1, timepoint=1), array[1, 1])
    named = write_zarr(root / "named", array[0], 3, dimension_names=("x", "c", "y", "z"))
    volume = open_volume(named, spacing=SPACING)
    assert (volume.channels, volume.grid.shape) == (4, (10, 6, 3))
    np.testing.assert_array_equal(volume.read(channel=3), array[0][:, 3].transpose(2, 1, 0))
    with pytest.raises(InputError, match=r"named does not say how large its voxels are"):
        open_volume(named)


def test_nested_chunks_that_old_metadata_do_not_mention_are_found(tmp_path):
    array = noise((9, 9, 9), "uint16")
    path = write_zarr(tmp_path / "a.zarr", array, 2, chunk_key_encoding={"name": "v2", "separator": "/"})
    metadata = (path / ".zarray").read_text()
    (path / ".zarray").write_text(metadata.replace('"dimension_separator": "/",', ""))
    np.testing.assert_array_equal(open_volume(path, spacing=SPACING).read(), array)


def test_labels_and_other_arrays_beside_an_image_are_read(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", {"s0": noise(SHAPE, "uint8")}, space_axes(), {"s0": [scale(2, 1, 1)]})
    labels = noise(SHAPE, "uint32")
    write_ome_zarr(path / "labels" / "cells", {"0": labels}, space_axes(), {"0": [scale(4, 1, 1)]})
    volume = open_volume(path / "labels" / "cells" / "0")
    np.testing.assert_array_equal(volume.read(), labels)
    assert volume.grid.spacing == (4, 1, 1)
    loose = write_zarr(path / "loose", labels, 3)
    np.testing.assert_array_equal(open_volume(loose, spacing=SPACING).read(), labels)


def test_lists_the_arrays_of_a_group_without_an_image(tmp_path):
    root = tmp_path / "a.zarr"
    zarr.create_group(root)
    zarr.create_group(root / "raw")
    write_zarr(root / "raw" / "first", noise(SHAPE, "uint8"), 3)
    write_zarr(root / "raw" / "second", noise(SHAPE, "uint8"), 3)
    with pytest.raises(
        InputError, match=r"has no image of its own, so say which array; it holds raw/first, raw/second"
    ):
        open_volume(root)
    with pytest.raises(InputError, match=r"no image or array raw/frist; did you mean raw/first"):
        open_volume(root / "raw" / "frist")


@pytest.mark.parametrize("dtype", ["complex64", "U4"])
def test_values_that_are_no_numbers_are_refused(dtype, tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=SHAPE, dtype=dtype, zarr_format=2)
    with pytest.raises(InputError, match=r"a.zarr (holds complex64 values|cannot be opened)"):
        open_volume(path, spacing=SPACING)


def test_flat_and_empty_images_are_no_volumes(tmp_path):
    flat = write_ome_zarr(
        tmp_path / "a.zarr", {"s0": noise((6, 10), "uint8")}, space_axes("yx"), {"s0": [scale(1, 1)]}
    )
    with pytest.raises(InputError, match=r"a.zarr is a 2-D image; only 3-D volumes can be aligned"):
        open_volume(flat)
    with pytest.raises(InputError, match=r"b.zarr has 2 dimensions; only 3-D volumes"):
        open_volume(write_zarr(tmp_path / "b.zarr", noise((6, 10), "uint8"), 2))
    with pytest.raises(InputError, match=r"has 6 dimensions; at most five"):
        open_volume(write_zarr(tmp_path / "c.zarr", noise((1,) * 6, "uint8"), 2))
    with pytest.raises(InputError, match=r"d.zarr is empty: it has 10 x 0 x 4 voxels"):
        open_volume(write_zarr(tmp_path / "d.zarr", np.zeros((4, 0, 10), "uint8"), 3), spacing=SPACING)


def test_broken_metadata_are_named(tmp_path):
    array = {"s0": noise(SHAPE, "uint8")}
    affine = write_ome_zarr(tmp_path / "a.zarr", array, space_axes(), {"s0": [{"type": "affine", "affine": [1]}]})
    with pytest.raises(InputError, match=r"a.zarr has a transformation of s0 that is no scale or translation of 3"):
        open_volume(affine)
    axes = write_ome_zarr(tmp_path / "b.zarr", array, space_axes("czyx"), {"s0": [scale(1, 1, 1)]})
    with pytest.raises(InputError, match=r"b.zarr declares 4 axes for arrays of 3"):
        open_volume(axes)
    future = write_ome_zarr(tmp_path / "c.zarr", array, space_axes(), {"s0": [scale(2, 1, 1)]}, version="0.9")
    with pytest.raises(InputError, match=r"c.zarr is OME-Zarr 0.9; versions up to 0.6 can be read"):
        open_volume(future)
    negative = write_ome_zarr(tmp_path / "d.zarr", array, space_axes(), {"s0": [scale(-2, 1, 1)]})
    with pytest.raises(InputError, match=r"d.zarr says that its voxels are -2 µm along z"):
        open_volume(negative)
    lost = write_ome_zarr(tmp_path / "e.zarr", array, space_axes(), {"s0": [scale(2, 1, 1)]})
    (lost / "s0" / "zarr.json").unlink()
    with pytest.raises(InputError, match=r"e.zarr declares the scale s0, but its array is missing"):
        open_volume(lost)
    none = write_ome_zarr(tmp_path / "f.zarr", {}, space_axes(), {})
    with pytest.raises(InputError, match=r"f.zarr declares an image without levels"):
        open_volume(none)


@pytest.mark.parametrize("derived", ["0.4-dev-spatialdata", "0.5-dev-spatialdata", "0.4.1"])
def test_versions_derived_from_a_release_are_read(derived, tmp_path):
    steps = {"s0": [scale(2, 1, 1)], "s1": [scale(4, 2, 2)]}
    array = noise(SHAPE, "uint8")
    path = write_ome_zarr(
        tmp_path / "a.zarr",
        {"s0": array, "s1": array[::2, ::2, ::2]},
        space_axes(),
        steps,
        group_transforms=[{"type": "affine", "affine": [[1, 0, 0, 5]], "input": {}, "output": {"name": "global"}}],
        version=derived[:3],
    )
    metadata = next(file for file in (path / "zarr.json", path / ".zattrs") if file.exists())
    metadata.write_text(metadata.read_text().replace(f'"version": "{derived[:3]}"', f'"version": "{derived}"'))
    assert derived in metadata.read_text()
    volume = open_volume(path)
    assert (volume.grid.spacing, volume.scales) == ((2, 1, 1), ("s1",))
    np.testing.assert_array_equal(volume.read(), array)
