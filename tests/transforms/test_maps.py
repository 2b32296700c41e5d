"""Files of whole maps: what they say, and what comes back."""

import json

import numpy as np
import pytest
from random_maps import random_affine, rough_field

import spec_reader
from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.compose_transforms import compose_transforms
from teralign.tasks.invert_transform import invert_transform
from teralign.transforms import (
    Affine,
    Stack,
    as_field,
    create_field,
    finish_map,
    load_stack,
    load_transform,
    save_field,
    save_map,
)

NODES = Grid((9, 10, 11), (4.0, 3.0, 5.0), (10.0, -7.0, 0.25))
COARSE = Grid((5, 4, 6), (8.0, 9.0, 10.0), (8.0, -9.0, -4.0))
A, B = random_affine(np.random.default_rng(1), 0.05, 9.0), random_affine(np.random.default_rng(2), 0.05, 9.0)
U, V = rough_field(np.random.default_rng(3), NODES), rough_field(np.random.default_rng(4), COARSE)
SMALL = random_affine(np.random.default_rng(6), 0.01, 1.0)
POINTS = np.random.default_rng(5).uniform(-10, 60, (500, 3))


def scene(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["scene"]


def kinds(path):
    (transformation,) = scene(path)["coordinateTransformations"]
    return transformation["type"], [part["type"] for part in transformation.get("transformations", ())]


def mapped(stack):
    """The images of the points, by the transforms in memory: the compiled loops multiply affines beforehand."""
    return stack.load(POINTS.min(axis=0), POINTS.max(axis=0)).map_points(POINTS)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (Stack(), ("identity", [])),
        (Stack((A,)), ("affine", [])),
        (Stack((U,)), ("displacements", [])),
        (Stack((A, B)), ("sequence", ["affine", "affine"])),
        (Stack((A, U)), ("sequence", ["displacements", "affine"])),
        (Stack((V, A, U, B)), ("sequence", ["affine", "displacements", "affine", "displacements"])),
    ],
    ids=["none", "affine", "field", "affines", "affine and field", "fields and affines"],
)
def test_any_stack_comes_back_to_the_bit(tmp_path, stack, said):
    save_map(tmp_path / "map.zarr", stack)
    assert kinds(tmp_path / "map.zarr") == said
    again = load_stack([tmp_path / "map.zarr"])
    assert np.array_equal(mapped(again), mapped(stack))
    assert [type(part.load(POINTS[0], POINTS[0])) for part in again.transforms] == [
        type(part) for part in stack.simplified().transforms
    ]
    copied = save_map(tmp_path / "copy.zarr", again)
    assert np.array_equal(mapped(copied), mapped(stack))


@pytest.mark.parametrize("stack", [Stack(), Stack((A,)), Stack((A, U)), Stack((V, A, U, B))])
def test_a_reader_of_the_specification_alone_maps_points_as_we_do(tmp_path, stack):
    save_map(tmp_path / "map.zarr", stack)
    found = spec_reader.map_points(tmp_path / "map.zarr", POINTS)
    np.testing.assert_allclose(found, mapped(stack), atol=1e-4)


def test_the_reader_of_the_specification_finds_both_directions_of_an_inverse(tmp_path):
    save_map(tmp_path / "map.zarr", Stack((A, as_field(Stack((SMALL,)), NODES))))
    result = invert_transform([tmp_path / "map.zarr"], tmp_path / "inverse.zarr")
    (transformation,) = scene(tmp_path / "inverse.zarr")["coordinateTransformations"]
    assert transformation["type"] == "bijection"
    moving = spec_reader.map_points(tmp_path / "inverse.zarr", NODES.corners())
    wanted = load_stack([tmp_path / "map.zarr"]).map_points(NODES.corners())
    np.testing.assert_allclose(moving, wanted, atol=1e-4)
    back = spec_reader.map_points(tmp_path / "inverse.zarr", moving, "moving", "fixed")
    assert np.linalg.norm(back - NODES.corners(), axis=1).max() < 1.5 * result.residual_um.maximum + 1e-3
    np.testing.assert_allclose(load_stack([tmp_path / "inverse.zarr"]).map_points(moving), back, atol=1e-4)


def test_the_inverse_of_an_inverse_leads_from_fixed_to_moving_again(tmp_path):
    save_map(tmp_path / "map.zarr", Stack((A,)))
    invert_transform([tmp_path / "map.zarr"], tmp_path / "inverse.zarr")
    invert_transform([tmp_path / "inverse.zarr"], tmp_path / "again.zarr")
    compose_transforms([tmp_path / "inverse.zarr"], tmp_path / "composed.zarr")
    ends = {
        name: [
            scene(tmp_path / f"{name}.zarr")["coordinateTransformations"][0][end]["name"]
            for end in ("input", "output")
        ]
        for name in ("map", "inverse", "again", "composed")
    }
    assert ends["map"] == ends["again"] == ["fixed", "moving"]
    assert ends["inverse"] == ends["composed"] == ["moving", "fixed"]


@pytest.mark.parametrize("stack", [Stack(), Stack((A,)), Stack((U,)), Stack((V, A, U))])
def test_the_schemas_of_the_specification_pass(tmp_path, stack):
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="the schemas of OME-Zarr come with ngff-zarr")
    save_map(tmp_path / "map.zarr", stack)
    attributes = json.loads((tmp_path / "map.zarr" / "zarr.json").read_text())["attributes"]
    ngff_zarr.validate(attributes, version="0.6", model="scene")
    for image in sorted((tmp_path / "map.zarr").glob("coordinateTransformations/displacements*/zarr.json")):
        ngff_zarr.validate(json.loads(image.read_text())["attributes"], version="0.6", model="image")


def test_a_sequence_is_in_order_of_application_and_maps_fixed_to_moving(tmp_path):
    save_map(tmp_path / "map.zarr", Stack((A, U)))
    (transformation,) = scene(tmp_path / "map.zarr")["coordinateTransformations"]
    assert (transformation["input"], transformation["output"]) == ({"name": "fixed"}, {"name": "moving"})
    field, affine = transformation["transformations"]
    assert field["path"] == "coordinateTransformations/displacements"
    assert np.array_equal(affine["affine"], A.matrix[:3])


def test_a_field_is_completed_by_its_start_whose_fields_are_copied(tmp_path):
    save_field(tmp_path / "start.zarr", V)
    start = load_stack([tmp_path / "start.zarr"]) @ A
    writer = create_field(tmp_path / "whole.zarr", NODES)
    writer.write(NODES.region, U.values)
    finish_map(writer.path, start @ writer.field)
    assert np.array_equal(writer.field.read().values, U.values)
    (tmp_path / "start.zarr").rename(tmp_path / "gone")
    whole = load_stack([tmp_path / "whole.zarr"])
    assert np.array_equal(mapped(whole), mapped(Stack((V, A, U))))


def test_a_file_of_one_field_is_that_field_alone_under_an_affine_given_outside(tmp_path):
    A.save(tmp_path / "a.mat")
    save_field(tmp_path / "u.zarr", U)
    stack = load_stack([tmp_path / "a.mat", tmp_path / "u.zarr"])
    assert np.array_equal(mapped(stack), mapped(Stack((A, U))))


def test_an_affine_that_the_map_ends_with_is_refused_outside_it(tmp_path):
    A.save(tmp_path / "affine.mat")
    B.save(tmp_path / "other.mat")
    save_map(tmp_path / "transform.zarr", Stack((A, U)))
    with pytest.raises(InputError, match=r"whole map.*leave out affine\.mat"):
        load_stack([tmp_path / "affine.mat", tmp_path / "transform.zarr"])
    further = load_stack([tmp_path / "other.mat", tmp_path / "transform.zarr"])
    assert np.array_equal(mapped(further), mapped(Stack((B, A, U))))


def test_affines_whose_product_the_map_ends_with_are_refused_outside_it(tmp_path):
    A.save(tmp_path / "a.mat")
    B.save(tmp_path / "b.mat")
    save_map(tmp_path / "transform.zarr", Stack((A @ B, U)))
    with pytest.raises(InputError, match=r"a\.mat and .*b\.mat already; leave out a\.mat and b\.mat"):
        load_stack([tmp_path / "a.mat", tmp_path / "b.mat", tmp_path / "transform.zarr"])
    other_order = load_stack([tmp_path / "b.mat", tmp_path / "a.mat", tmp_path / "transform.zarr"])
    assert len(other_order.transforms) == 4


def test_a_map_of_several_parts_is_no_single_transform(tmp_path):
    save_map(tmp_path / "map.zarr", Stack((A, U)))
    with pytest.raises(InputError, match="2 parts"):
        load_transform(tmp_path / "map.zarr")
    save_map(tmp_path / "affine.zarr", Stack((A,)))
    assert isinstance(load_transform(tmp_path / "affine.zarr"), Affine)


def test_a_map_that_exists_is_replaced_only_when_asked_to(tmp_path):
    save_map(tmp_path / "map.zarr", Stack((A,)))
    with pytest.raises(InputError, match="exists already"):
        save_map(tmp_path / "map.zarr", Stack())
    assert save_map(tmp_path / "map.zarr", Stack(), overwrite=True).transforms == ()
