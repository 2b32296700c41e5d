import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import zarr
from random_maps import random_affine, rough_field, smooth_field

from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.transforms import (
    Stack,
    StoredField,
    as_field,
    create_field,
    finish_map,
    load_transform,
    needed_region,
    save_field,
    warp,
)

NODES = Grid((20, 30, 40), (4.0, 3.0, 5.0), (10.0, -7.0, 0.25))
ARRAY = "coordinateTransformations/displacements/s0"


@pytest.fixture
def field():
    return rough_field(np.random.default_rng(0), NODES)


@pytest.fixture
def stored(tmp_path, field):
    return save_field(tmp_path / "transform.zarr", field, chunk_shape=(8, 8, 16))


def finished(writer):
    finish_map(writer.path, Stack((writer.field,)))
    return writer.field


def edit(path, change):
    """Change the OME metadata of a group."""
    file = path / "zarr.json"
    metadata = json.loads(file.read_text())
    change(metadata["attributes"]["ome"])
    file.write_text(json.dumps(metadata))


def test_a_field_comes_back_to_the_bit(stored, field):
    again = load_transform(stored.path)
    assert again.grid == NODES
    assert np.array_equal(again.read().values, field.values)
    assert again.digest() == stored.digest()


def test_the_layout_is_what_ome_zarr_says(stored, field):
    root = zarr.open_group(stored.path, mode="r")
    scene = root.attrs["ome"]["scene"]
    assert root.attrs["ome"]["version"] == "0.6"
    assert [s["name"] for s in scene["coordinateSystems"]] == ["fixed", "moving"]
    (transformation,) = scene["coordinateTransformations"]
    assert transformation["type"] == "displacements"
    assert transformation["input"] == {"name": "fixed"}
    assert transformation["output"] == {"name": "moving"}
    image = root[transformation["path"]]
    (multiscale,) = image.attrs["ome"]["multiscales"]
    axes = multiscale["coordinateSystems"][0]["axes"]
    assert [a["name"] for a in axes] == ["c", "z", "y", "x"]
    assert axes[0] == {"name": "c", "type": "displacement", "discrete": True}
    (dataset,) = multiscale["datasets"]
    scale, translation = dataset["coordinateTransformations"][0]["transformations"]
    assert scale["scale"] == [1.0, *NODES.spacing]
    assert translation["translation"] == [0.0, *NODES.origin]
    array = image[dataset["path"]]
    assert array.dtype == np.float32
    assert array.metadata.dimension_names == ("c", "z", "y", "x")
    assert np.array_equal(np.moveaxis(array[:], 0, -1), field.values)


def test_a_part_is_loaded_with_the_nodes_that_its_points_need_and_no_more(stored, field):
    low, high = NODES.to_physical([4.0, 5.5, 6.2]), NODES.to_physical([7.0, 8.0, 9.9])
    part = stored.load(low, high)
    assert part.region == Region((3, 4, 5), (9, 10, 12))
    points = np.random.default_rng(0).uniform(low, high, (100, 3))
    assert np.array_equal(part.map_points(points), field.map_points(points))
    assert stored.load(low - 1000, low - 900).region == Region((0, 0, 0), (2, 2, 2))


def test_scattered_points_go_where_the_whole_field_takes_them(stored):
    field = stored.read()
    points = np.random.default_rng(0).uniform(-50, 300, (5000, 3))
    assert np.array_equal(stored.map_points(points), field.map_points(points))
    assert stored.map_points(np.empty((0, 3))).shape == (0, 3)


def test_points_come_back_through_a_stored_field(tmp_path):
    rng = np.random.default_rng(0)
    affine, field = random_affine(rng), smooth_field(rng, NODES, 4.0)
    stored = Stack((affine, save_field(tmp_path / "smooth.zarr", field)))
    points = rng.uniform(-20, 150, (3000, 3))
    found, converged = stored.inverse_map_points(stored.map_points(points), threads=2)
    assert converged.all()
    np.testing.assert_allclose(found, points, atol=1e-4)


def test_a_displacement_far_beyond_the_points_is_inverted(tmp_path):
    shift = as_field(Stack((random_affine(np.random.default_rng(0), 0.0, 1.0),)), NODES)
    shift.values[..., 2] += 150.0
    shift.values[..., :20, 2] += 1.0
    stored = save_field(tmp_path / "far.zarr", shift)
    points = np.random.default_rng(0).uniform([10, 0, 0], [80, 70, 180], (200, 3))
    found, converged = stored.inverse_map_points(stored.map_points(points))
    assert converged.all()
    np.testing.assert_allclose(stored.map_points(found), stored.map_points(points), atol=1e-4)


def test_a_warp_through_a_stored_field_is_that_through_memory(stored, field):
    rng = np.random.default_rng(0)
    grid = Grid((30, 32, 34), (2.0, 2.0, 2.0), (12.0, 0.0, 3.0))
    image, affine = rng.integers(0, 999, grid.shape).astype(np.uint16), random_affine(rng)
    whole = warp(image, grid, grid=grid, region=grid.region, transform=Stack((affine, field)))
    stack = Stack((affine, stored))
    for region in grid.region.split((13, 11, 17)):
        needed = needed_region(stack, grid, region, grid)
        part = warp(image[needed.slices], grid, grid=grid, region=region, transform=stack, moving_region=needed)
        assert np.array_equal(part, whole[region.slices])


def _write(writer, region):
    values = rough_field(np.random.default_rng(0), NODES).values
    writer.write(region, values[region.slices])


def test_processes_write_chunks_at_the_same_time(tmp_path, field):
    writer = create_field(tmp_path / "field.zarr", NODES, (8, 8, 16))
    regions = list(NODES.region.split(writer.chunk_shape))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write, [writer] * len(regions), regions))
    assert np.array_equal(finished(writer).read().values, field.values)


def test_a_field_that_is_not_finished_cannot_be_opened_and_can_be_resumed(tmp_path, field):
    path = tmp_path / "field.zarr"
    create_field(path, NODES).write(NODES.region, field.values)
    with pytest.raises(InputError, match="or an unfinished one"):
        load_transform(path)
    with pytest.raises(InputError, match="exists already"):
        create_field(path, NODES)
    assert np.array_equal(finished(create_field(path, NODES, resume=True)).read().values, field.values)
    with pytest.raises(InputError, match="cannot be created"):
        create_field(path, Grid((9, 9, 9), NODES.spacing), resume=True)


def test_saving_replaces_a_field_only_when_asked_to(stored, field):
    with pytest.raises(InputError, match="exists already"):
        save_field(stored.path, field)
    other = rough_field(np.random.default_rng(1), Grid((3, 4, 5), (1, 1, 1)))
    assert np.array_equal(save_field(stored.path, other, overwrite=True).read().values, other.values)
    assert [p.name for p in stored.path.parent.iterdir()] == [stored.path.name]


def test_an_array_that_cannot_be_opened_is_a_sentence(stored):
    metadata = stored.path / ARRAY / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"blosc"', '"of-mine"'))
    with pytest.raises(DataError, match=r'"of-mine" is not registered\.$'):
        StoredField.open(stored.path).read()


def test_missing_and_corrupt_chunks_are_errors_and_never_zeros(stored):
    first, second, *_ = sorted(p for p in (stored.path / ARRAY / "c").rglob("*") if p.is_file())
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        StoredField.open(stored.path).read()
    second.write_bytes(b"")
    first.unlink()
    with pytest.raises(DataError):
        StoredField.open(stored.path).read()
    with pytest.raises(DataError, match="missing nodes"):
        StoredField.open(stored.path).read(Region((0, 0, 0), (2, 2, 2)))


def test_it_goes_to_another_process_and_opens_there(stored):
    stored.read()
    again = pickle.loads(pickle.dumps(stored))
    assert np.array_equal(again.read().values, stored.read().values)


@pytest.mark.parametrize("old", [False, True])
def test_a_vector_axis_at_the_end_is_read_by_its_axes(tmp_path, field, old):
    """As another tool may write it: a bare image, the vector axis last, scale and translation as separate steps."""
    group = zarr.create_group(tmp_path / "theirs.zarr")
    space = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    axes = [*space, {"name": "c", "type": "displacement"}]
    steps = [
        {"type": "scale", "scale": [*NODES.spacing, 1.0]},
        {"type": "translation", "translation": [*NODES.origin, 0]},
    ]
    multiscale = {"datasets": [{"path": "0", "coordinateTransformations": steps}]}
    multiscale |= {"axes": axes} if old else {"coordinateSystems": [{"name": "physical", "axes": axes}]}
    group.attrs["ome"] = {"version": "0.5" if old else "0.6", "multiscales": [multiscale]}
    group.create_array("0", data=field.values, chunks=(10, 10, 10, 3))
    theirs = load_transform(tmp_path / "theirs.zarr")
    assert theirs.grid == NODES
    assert np.array_equal(theirs.read().values, field.values)


def test_the_way_forward_of_a_bijection_is_read(stored, field):
    def wrap(ome):
        forward = ome["scene"]["coordinateTransformations"][0]
        ome["scene"]["coordinateTransformations"] = [{"type": "bijection", "forward": forward, "inverse": forward}]

    edit(stored.path, wrap)
    assert np.array_equal(load_transform(stored.path).read().values, field.values)


def _axes(ome):
    return ome["multiscales"][0]["coordinateSystems"][0]["axes"]


@pytest.mark.parametrize(
    ("where", "change", "words"),
    [
        ("", lambda ome: ome.pop("scene"), "neither a scene nor multiscales"),
        ("", lambda ome: ome["scene"].update(coordinateTransformations=[]), "without transformations"),
        ("", lambda ome: ome["scene"]["coordinateTransformations"][0].update(type="spline"), "not supported: spline"),
        ("", lambda ome: ome["scene"]["coordinateTransformations"][0].pop("path"), "invalid OME-Zarr metadata"),
        (
            "",
            lambda ome: ome["scene"]["coordinateTransformations"][0].update(interpolation="sinc"),
            "only nearest, linear",
        ),
        (ARRAY[:-3], lambda ome: _axes(ome).reverse(), "a component for each other axis"),
        (
            ARRAY[:-3],
            lambda ome: [a.update(unit="nanometer") for a in _axes(ome)[1:]],
            "in nanometer, but its points are in micrometer",
        ),
        (ARRAY[:-3], lambda ome: ome["multiscales"][0]["datasets"][0].update(path="s1"), "cannot be read"),
        (ARRAY[:-3], lambda ome: ome["multiscales"][0].pop("datasets"), "without levels"),
        (ARRAY[:-3], lambda ome: _axes(ome).pop(), "a component for each other axis"),
    ],
)
def test_metadata_that_is_not_understood_is_refused(stored, where, change, words):
    edit(stored.path / where, change)
    with pytest.raises(InputError, match=words) as caught:
        load_transform(stored.path)
    assert str(stored.path) in str(caught.value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be created"):
        create_field(Path(tmp_path / "file" / "field.zarr"), NODES)
