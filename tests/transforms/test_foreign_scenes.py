"""Scenes that others may write, against an interpreter of the specification's text that knows nothing of Teralign."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import interpolate

from teralign.errors import InputError
from teralign.grids import Floats
from teralign.transforms import load_stack, save_map
from teralign.transforms.coordinate_maps import find_coordinate_map
from teralign.volumes.units import micrometres

Json = dict[str, Any]
MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}
POINTS = np.random.default_rng(0).uniform(-8, 8, (60, 3))  # z, y, x in µm


# --- the interpreter ------------------------------------------------------------------------------------------------


def weights(method: str, count: int) -> Callable[[Floats], Floats]:
    nodes, one_at_each = np.arange(count), np.eye(count)
    if count == 1:
        return lambda t: np.ones((len(t), 1))
    if method == "bspline-cubic":
        return interpolate.CubicSpline(nodes, one_at_each, bc_type="natural")
    if method == "linear":
        return interpolate.interp1d(nodes, one_at_each, axis=0)
    return lambda t: one_at_each[np.floor(t + 0.5).astype(int)]


def looked_up(field: Json, root: Path, points: Floats) -> Floats:
    """The vectors (n, M) of a field whose vector axis comes first, at points (n, N)."""
    group = zarr.open_group(root / field["path"], mode="r")
    scale, translation = (
        np.array(step[step["type"]][1:])
        for step in group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0][
            "transformations"
        ]
    )
    values = group["s0"][:]
    index = np.clip((points - translation) / scale, 0, np.array(values.shape[1:]) - 1)
    per_axis = [
        weights(field.get("interpolation", "linear"), n)(t) for n, t in zip(values.shape[1:], index.T, strict=True)
    ]
    letters = "ijk"[: len(per_axis)]
    return np.einsum(",".join(f"p{a}" for a in letters) + f",c{letters}->pc", *per_axis, values, optimize=True)


def applied(content: Json, root: Path, points: Floats) -> Floats:
    """The images of points (n, N) under a transformation."""
    match content["type"]:
        case "identity":
            return points
        case "scale":
            return points * content["scale"]
        case "translation":
            return points + content["translation"]
        case "mapAxis":
            return points[:, content["mapAxis"]]
        case "rotation" | "affine" as kind:
            rows = (
                np.array(content[kind]) if kind in content else zarr.open_array(root / content["path"], mode="r")[:]
            )
            return points @ rows[:, : points.shape[1]].T + (rows[:, -1] if kind == "affine" else 0)
        case "displacements":
            return points + looked_up(content, root, points)
        case "coordinates":
            return looked_up(content, root, points)
        case "sequence":
            for part in content["transformations"]:
                points = applied(part, root, points)
            return points
        case "bijection":
            return applied(content["forward"], root, points)
        case "byDimension":
            parts = content["transformations"]
            found = np.zeros((len(points), sum(len(part["outputAxes"]) for part in parts)))
            for part in parts:
                found[:, part["outputAxes"]] = applied(part["transformation"], root, points[:, part["inputAxes"]])
            return found
    raise AssertionError(content)


# --- writing --------------------------------------------------------------------------------------------------------


def write_field(place: Path, values: Floats, scale: Floats, translation: Floats, kind: str) -> None:
    group = zarr.open_group(place, mode="w")
    axes = [{"name": f"d{i}", "type": "space"} for i in range(values.ndim - 1)]
    vector = {"name": "c", "type": kind, "discrete": True}
    steps = [
        {"type": "scale", "scale": [1.0, *scale.tolist()]},
        {"type": "translation", "translation": [0.0, *translation.tolist()]},
    ]
    sequence = {"type": "sequence", "input": {"path": "s0"}, "output": {"name": "f"}, "transformations": steps}
    image = {
        "coordinateSystems": [{"name": "f", "axes": [vector, *axes]}],
        "datasets": [{"path": "s0", "coordinateTransformations": [sequence]}],
    }
    group.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    group.create_array("s0", data=values)


def system(name: str, axes: str = "zyx", unit: str | None = "micrometer") -> Json:
    own = {} if unit is None else {"unit": unit}
    return {"name": name, "axes": [{"name": axis, "type": "space", **own} for axis in axes]}


def write_scene(place: Path, transformations: list[Json], systems: list[Json]) -> Path:
    group = zarr.open_group(place, mode="a")
    group.attrs["ome"] = {
        "version": "0.6",
        "scene": {"coordinateSystems": systems, "coordinateTransformations": transformations},
    }
    return place


def link(content: Json, source: str = "fixed", target: str = "moving") -> Json:
    return content | {"input": {"name": source}, "output": {"name": target}}


class Maker:
    """Random transformations, whose arrays are written in a folder."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng, self.arrays = root, np.random.default_rng(seed), 0

    def any(self, ndim: int, depth: int = 2) -> Json:
        simple = [self.identity, self.scale, self.translation, self.map_axis, self.rotation, self.affine, self.field]
        nested = [self.sequence, self.sequence, self.bijection, self.by_dimension]
        if depth == 0 or self.rng.random() < 0.2:
            return simple[self.rng.integers(len(simple))](ndim)
        return nested[self.rng.integers(len(nested))](ndim, depth - 1)

    def identity(self, ndim: int) -> Json:
        return {"type": "identity"}

    def scale(self, ndim: int) -> Json:
        return {"type": "scale", "scale": self.rng.uniform(0.5, 2, ndim).tolist()}

    def translation(self, ndim: int) -> Json:
        return {"type": "translation", "translation": self.rng.uniform(-3, 3, ndim).tolist()}

    def map_axis(self, ndim: int) -> Json:
        return {"type": "mapAxis", "mapAxis": self.rng.permutation(ndim).tolist()}

    def rotation(self, ndim: int) -> Json:
        turn = np.linalg.qr(self.rng.normal(size=(ndim, ndim)))[0]
        turn[0] *= np.sign(np.linalg.det(turn))
        return self._matrix("rotation", turn)

    def affine(self, ndim: int) -> Json:
        linear = np.eye(ndim) + self.rng.uniform(-0.2, 0.2, (ndim, ndim))
        return self._matrix("affine", np.hstack([linear, self.rng.uniform(-2, 2, (ndim, 1))]))

    def _matrix(self, kind: str, rows: Floats) -> Json:
        if self.rng.random() < 0.5:
            return {"type": kind, kind: rows.tolist()}
        zarr.create_array(self.root / self._next(), data=rows)
        return {"type": kind, "path": f"arrays/{self.arrays}"}

    def _next(self) -> str:
        self.arrays += 1
        return f"arrays/{self.arrays}"

    def field(self, ndim: int) -> Json:
        kind = str(self.rng.choice(["displacement", "coordinate"]))
        shape = self.rng.integers(2, 6, ndim)
        scale = self.rng.uniform(10, 20, ndim) / shape
        translation = -scale * (shape - 1) / 2 + self.rng.uniform(-1, 1, ndim)
        values = self.rng.uniform(-0.3, 0.3, (ndim, *shape))
        if kind == "coordinate":
            values += np.indices(shape) * scale.reshape(-1, *[1] * ndim) + translation.reshape(-1, *[1] * ndim)
        write_field(self.root / self._next(), values, scale, translation, kind)
        method = str(self.rng.choice(["linear", "bspline-cubic"]))
        return {"type": f"{kind}s", "path": f"arrays/{self.arrays}", "interpolation": method}

    def sequence(self, ndim: int, depth: int) -> Json:
        parts = [self.any(ndim, depth) for _ in range(self.rng.integers(1, 4))]
        return {"type": "sequence", "transformations": parts}

    def bijection(self, ndim: int, depth: int) -> Json:
        return {"type": "bijection", "forward": self.any(ndim, depth), "inverse": {"type": "identity"}}

    def by_dimension(self, ndim: int, depth: int) -> Json:
        inputs, outputs = self.rng.permutation(ndim).tolist(), self.rng.permutation(ndim).tolist()
        cut = int(self.rng.integers(1, ndim)) if ndim > 1 else 1
        groups = [(a, b) for a, b in ((inputs[:cut], outputs[:cut]), (inputs[cut:], outputs[cut:])) if a]
        parts = [{"transformation": self.any(len(a), depth), "inputAxes": a, "outputAxes": b} for a, b in groups]
        return {"type": "byDimension", "transformations": parts}


# --- tests ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_any_transformation_maps_as_the_text_says(tmp_path_factory, seed: int) -> None:
    root = tmp_path_factory.mktemp("scene") / "scene.zarr"
    zarr.open_group(root, mode="w")
    maker = Maker(root, seed)
    content = maker.any(3, 3)
    units = [str(unit) for unit in maker.rng.choice(["nanometer", "micrometer", "millimeter"], 2)]
    orders = ["".join(maker.rng.permutation(list("zyx"))) for _ in range(2)]
    # The numbers of the transformation are made for points within ±10: so are those of the systems.
    lengths = [MICROMETRES[unit] for unit in units]
    write_scene(root, [link(content)], [system("fixed", orders[0], units[0]), system("moving", orders[1], units[1])])
    given_points = POINTS[:, ["zyx".index(axis) for axis in orders[0]]]
    expected = applied(content, root, given_points)[:, [orders[1].index(axis) for axis in "zyx"]]
    stack = load_stack([root])
    np.testing.assert_allclose(stack.map_points(POINTS * lengths[0]) / lengths[1], expected, atol=2e-4)
    low, high = stack.bounds(*(np.array([POINTS.min(0), POINTS.max(0)]) * lengths[0]))
    assert (
        (expected * lengths[1] >= low - 1e-3 * lengths[1]) & (expected * lengths[1] <= high + 1e-3 * lengths[1])
    ).all()


@pytest.mark.parametrize("method", ["nearest", "linear", "bspline-cubic"])
@pytest.mark.parametrize("kind", ["displacement", "coordinate"])
def test_a_field_is_copied_into_a_map_as_it_is(tmp_path: Path, kind: str, method: str) -> None:
    root, rng = tmp_path / "scene.zarr", np.random.default_rng(3)
    zarr.open_group(root, mode="w")
    scale, translation = np.array([3.0, 4.0, 5.0]), np.array([-8.0, -9.0, -10.0])
    nodes = np.indices((6, 5, 4)) * scale.reshape(3, 1, 1, 1) + translation.reshape(3, 1, 1, 1)
    values = rng.uniform(-1, 1, (3, 6, 5, 4)) + (nodes if kind == "coordinate" else 0)
    write_field(root / "f", values.astype(np.float32), scale, translation, kind)
    content = {"type": f"{kind}s", "path": "f", "interpolation": method}
    write_scene(root, [link(content)], [system("fixed"), system("moving")])
    stack = load_stack([root])
    np.testing.assert_allclose(stack.map_points(POINTS), applied(content, root, POINTS), atol=1e-4)
    copied = save_map(tmp_path / "copy.zarr", stack)
    assert np.array_equal(copied.map_points(POINTS), stack.map_points(POINTS))
    if method != "nearest":
        found, converged = stack.inverse_map_points(stack.map_points(POINTS[:20] / 2))
        assert converged.all()
        np.testing.assert_allclose(found, POINTS[:20] / 2, atol=1e-3)


def test_a_cubic_field_is_the_same_whatever_region_is_read(tmp_path: Path) -> None:
    root, rng = tmp_path / "scene.zarr", np.random.default_rng(4)
    write_field(root / "f", rng.normal(size=(3, 150, 4, 4)), np.ones(3), np.zeros(3), "displacement")
    content = {"type": "displacements", "path": "f", "interpolation": "bspline-cubic"}
    write_scene(root, [link(content)], [system("fixed"), system("moving")])
    field = load_stack([root]).transforms[0]
    points = rng.uniform([60, 0, 0], [70, 3, 3], (200, 3))
    near = field.load(points.min(axis=0), points.max(axis=0))
    whole = field.load([0, 0, 0], [149, 3, 3])
    assert near.values.shape[0] < 20
    assert np.array_equal(near.map_points(points), whole.map_points(points))
    np.testing.assert_allclose(near.map_points(points), applied(content, root, points), atol=1e-5)


def test_a_field_of_a_draft_is_an_array_with_its_vectors_last(tmp_path: Path) -> None:
    root, rng = tmp_path / "scene.zarr", np.random.default_rng(5)
    group = zarr.open_group(root, mode="w")
    values = rng.uniform(-1, 1, (5, 6, 7, 3))
    array = group.create_array("dfield", data=values)
    axes = [*system("", "zyx")["axes"], {"name": "d", "type": "displacement", "discrete": True}]
    array.attrs.update(
        coordinateSystems=[{"name": "the field", "axes": axes}],
        coordinateTransformations=[{"type": "scale", "scale": [2, 3, 4, 1], "output": "the field"}],
    )
    content = {"type": "displacements", "path": "dfield", "input": "in", "output": "out"}
    write_scene(root, [content], [system("in"), system("out")])
    nodes = np.array([[2.0, 3.0, 4.0], [4.0, 0.0, 8.0]])
    expected = nodes + values[[1, 2], [1, 0], [1, 2]]
    np.testing.assert_allclose(load_stack([root]).map_points(nodes), expected, atol=1e-6)


def test_other_axes_are_left_out(tmp_path: Path) -> None:
    content = {
        "type": "sequence",
        "transformations": [
            {"type": "scale", "scale": [1, 2, 3, 4]},
            {"type": "translation", "translation": [5, 1, 1, 1]},
            {"type": "projectAxis", "droppedInputs": [0]},
        ],
    }
    channel = {"name": "c", "type": "channel"}
    four = {"name": "fixed", "axes": [channel, *system("")["axes"]]}
    root = write_scene(tmp_path / "s.zarr", [link(content)], [four, system("moving")])
    np.testing.assert_allclose(load_stack([root]).map_points([[1, 1, 1]]), [[3, 4, 5]])


def test_the_way_leads_through_systems_images_and_inverses(tmp_path: Path) -> None:
    """fixed image → its world ← a moving image whose own transformation leads from the array's system to world."""
    root = tmp_path / "scene.zarr"
    for name, factor in (("fix", 2.0), ("mov", 4.0)):
        image = zarr.open_group(root / name, mode="w")
        to_atlas = {
            "type": "scale",
            "scale": [factor] * 3,
            "input": {"name": "physical"},
            "output": {"name": "atlas"},
        }
        level = {"type": "scale", "scale": [9, 9, 9], "input": {"path": "s0"}, "output": {"name": "physical"}}
        image.attrs["ome"] = {
            "version": "0.6",
            "multiscales": [
                {
                    "coordinateSystems": [system("physical"), system("atlas")],
                    "datasets": [{"path": "s0", "coordinateTransformations": [level]}],
                    "coordinateTransformations": [to_atlas],
                }
            ],
        }
    shift = {"type": "translation", "translation": [1, 2, 3]}
    both = [
        shift | {"input": {"path": "fix", "name": "atlas"}, "output": {"name": "moving"}},
        {"type": "identity", "input": {"path": "fix", "name": "physical"}, "output": {"name": "fixed"}},
        {"type": "identity", "input": {"path": "mov", "name": "atlas"}, "output": {"name": "moving"}},
    ]
    write_scene(root, both, [system("fixed"), system("moving")])
    np.testing.assert_allclose(load_stack([root]).map_points([[1, 1, 1]]), [[3, 4, 5]])
    one = [shift | {"input": {"path": "fix"}, "output": {"path": "mov", "name": "atlas"}}]
    write_scene(root, one, [])
    np.testing.assert_allclose(load_stack([root]).map_points([[1, 1, 1]]), [[2, 3, 4]])
    voxels = find_coordinate_map(root, "fix/s0", "fix/atlas").map_coordinates(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(voxels, [[18, 36, 54]])
    # An image alone leads from its own system to its other one.
    np.testing.assert_allclose(load_stack([root / "mov"]).map_points([[1, 1, 1]]), [[4, 4, 4]])


OME_UNITS = [
    "angstrom",
    "attometer",
    "centimeter",
    "decimeter",
    "exameter",
    "femtometer",
    "foot",
    "gigameter",
    "hectometer",
    "inch",
    "kilometer",
    "megameter",
    "meter",
    "micrometer",
    "mile",
    "millimeter",
    "nanometer",
    "parsec",
    "petameter",
    "picometer",
    "terameter",
    "yard",
    "yoctometer",
    "yottameter",
    "zeptometer",
    "zettameter",
]


@pytest.mark.parametrize("unit", OME_UNITS)
def test_points_are_converted_from_every_unit_that_the_text_lists(tmp_path: Path, unit: str) -> None:
    systems = [system("fixed", unit=unit), system("moving")]
    root = write_scene(tmp_path / "s.zarr", [link({"type": "identity"})], systems)
    length = micrometres(unit)
    assert length is not None
    np.testing.assert_allclose(load_stack([root]).map_points([[1, 2, 3]]), np.array([[1, 2, 3]]) / length)


SCALE = {"type": "scale", "scale": [2, 2, 2]}


@pytest.mark.parametrize(
    ("links", "systems", "words"),
    [
        ([link(SCALE, "a", "b"), link(SCALE, "c", "d")], "abcd", "name that of the fixed volume fixed"),
        ([link(SCALE), link(SCALE)], ["fixed", "moving"], "2 ways from fixed to moving"),
        ([link(SCALE, "fixed", "a"), link(SCALE, "b", "moving")], ["fixed", "moving", "a", "b"], "no way from fixed"),
        ([link({"type": "scale", "scale": [1, 2]})], ["fixed", "moving"], "2 numbers does not fit 3 axes"),
        ([link(SCALE)], [], "does not give the axes of the coordinate system fixed"),
        ([link({"type": "affine", "affine": [[1, 0, 0, 0]] * 3})], ["fixed", "moving"], "flattens space"),
        ([link({"type": "affine", "path": "no"})], ["fixed", "moving"], "matrix no, which cannot be read"),
        ([link({"type": "displacements", "path": "no"})], ["fixed", "moving"], "cannot be read"),
        ([link({"type": "demons"})], ["fixed", "moving"], "not supported: demons"),
        ([], [], "without transformations"),
        ([link(SCALE, "fixed", "fixed")], ["fixed"], "leads from the coordinate system fixed to itself"),
        ("all", ["fixed", "moving"], "'all' is no list of transformations"),
        (["all"], ["fixed", "moving"], "'all' is no transformation"),
        ([SCALE | {"input": 1}], ["fixed", "moving"], "1 is no reference to a coordinate system"),
        ([link({"type": "scale"})], ["fixed", "moving"], "'scale' is missing"),
        ([link({"type": "scale", "scale": "222"})], ["fixed", "moving"], "'222' is no list of numbers"),
        ([link({"type": "scale", "scale": [10**400, 1, 1]})], ["fixed", "moving"], "not all finite"),
        ([link({"type": "affine", "affine": [[]] * 3})], ["fixed", "moving"], "rows that do not fit"),
        (
            [link({"type": "rotation", "rotation": np.diag([1, 1, 2]).tolist()})],
            ["fixed", "moving"],
            "rotation scales",
        ),
        ([link({"type": "rotation", "rotation": np.diag([-1, 1, 1]).tolist()})], ["fixed", "moving"], "mirrors"),
        ([link({"type": "displacements", "path": None})], ["fixed", "moving"], "None is no path"),
        ([link(SCALE, "a" * 5000)], ["moving"], "does not give the axes"),
    ],
)
def test_what_has_no_clear_meaning_is_refused_in_one_sentence(tmp_path, links, systems, words) -> None:
    root = write_scene(tmp_path / "s.zarr", links, [system(name) for name in systems])
    with pytest.raises(InputError, match=words) as refused:
        load_stack([root])
    assert str(root) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert json.loads((root / "zarr.json").read_text())


def test_a_scene_of_a_later_version_is_refused(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "s.zarr", [link(SCALE)], [system("fixed"), system("moving")])
    metadata = root / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"0.6"', '"0.7"'))
    with pytest.raises(InputError, match=r"is OME-Zarr 0\.7; versions up to 0\.6 can be read"):
        load_stack([root])


def test_a_system_that_is_declared_twice_must_have_the_same_axes(tmp_path: Path) -> None:
    fixed, moving, other = system("fixed"), system("moving"), system("fixed", "xyz", "nanometer")
    root = write_scene(tmp_path / "s.zarr", [link(SCALE)], [fixed, moving, fixed])
    np.testing.assert_allclose(load_stack([root]).map_points([[1, 2, 3]]), [[2, 4, 6]])
    write_scene(root, [link(SCALE)], [fixed, moving, other])
    with pytest.raises(InputError, match="fixed is declared twice, with different axes"):
        load_stack([root])


@pytest.mark.parametrize(
    ("shape", "origin", "words"),
    [((0, 4, 4), 0.0, "is empty: its shape is 3, 0, 4, 4"), ((4, 4, 4), np.nan, "a translation of finite numbers")],
)
def test_a_field_without_nodes_or_without_a_place_is_refused(tmp_path: Path, shape, origin, words) -> None:
    root = tmp_path / "s.zarr"
    write_field(root / "f", np.zeros((3, *shape)), np.ones(3), np.full(3, origin), "displacement")
    write_scene(root, [link({"type": "displacements", "path": "f"})], [system("fixed"), system("moving")])
    with pytest.raises(InputError, match=words):
        load_stack([root])


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        (system("fixed", "zzx"), "two axes of one name: z, z, x"),
        (system("fixed", "yx"), "three axes of space, not y"),
        (system("fixed", unit="pixel"), "'pixel' is not a known length"),
        ({"name": "fixed", "axes": [{"name": f"dim_{i}", "type": "array"} for i in range(3)]}, "three axes of space"),
    ],
)
def test_axes_that_are_not_of_space_are_refused(tmp_path, fixed, words) -> None:
    root = write_scene(tmp_path / "s.zarr", [link({"type": "identity"})], [fixed, fixed | {"name": "moving"}])
    with pytest.raises(InputError, match=words):
        load_stack([root])
