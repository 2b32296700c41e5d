"""Tables of points, there and back."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from teralign.errors import InputError
from teralign.grids import Grid
from teralign.tasks.invert_transform import invert_transform
from teralign.tasks.transform_points import transform_points
from teralign.transforms import CHUNK_SHAPE, Affine, DisplacementField, load_stack, load_transform, save_field
from teralign.transforms.sampling import inverse_field


@pytest.fixture
def transforms(tmp_path):
    Affine.from_parts(np.diag([1.1, 0.9, 1.0]), (5.0, 0.0, -2.0)).save(tmp_path / "a.mat")
    nodes = Grid((12, 12, 12), (8.0, 8.0, 8.0))
    z, y, x = np.meshgrid(*[np.linspace(0, np.pi, 12)] * 3, indexing="ij")
    values = np.stack([2 * np.sin(x), 3 * np.sin(z), np.sin(y)], -1).astype(np.float32)
    save_field(tmp_path / "u.zarr", DisplacementField(values, nodes))
    return [tmp_path / "a.mat", tmp_path / "u.zarr"]


def test_points_are_xyz_and_their_rows_stay(tmp_path, transforms):
    (tmp_path / "in.csv").write_text("x,y,z,gene,count\n10,20,30,Slc17a7,4\n1,2,3,Gad1,1\n")
    result = transform_points(tmp_path / "in.csv", transforms=transforms[:1], output=tmp_path / "out.csv")
    assert result.points == 2
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "x,y,z,gene,count,space"
    assert lines[1] == "8.000000,18.000000,38.000000,Slc17a7,4,moving"
    assert lines[2].endswith(",Gad1,1,moving")


def test_a_spreadsheets_mark_makes_no_header_of_the_first_point(tmp_path, transforms):
    (tmp_path / "in.csv").write_text("10,20,30\n1,2,3\n", encoding="utf-8-sig")
    result = transform_points(tmp_path / "in.csv", transforms=transforms[:1], output=tmp_path / "out.csv")
    assert result.points == 2


def test_there_and_back(tmp_path, transforms):
    points = np.random.default_rng(0).uniform(10, 70, (500, 3))
    np.savetxt(tmp_path / "in.csv", points, delimiter=",")
    transform_points(tmp_path / "in.csv", transforms=transforms, output=tmp_path / "there.csv")
    result = transform_points(
        tmp_path / "there.csv", transforms=transforms, output=tmp_path / "back.csv", inverse=True
    )
    assert result.not_converged == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / "back.csv", delimiter=","), points, atol=1e-4)


def test_the_table_and_the_result_say_of_which_volume_the_points_are(tmp_path, transforms):
    (tmp_path / "in.csv").write_text("x,y,z\n30,40,50\n")
    there = transform_points(str(tmp_path / "in.csv"), transforms=transforms, output=str(tmp_path / "there.csv"))
    back = transform_points(tmp_path / "there.csv", transforms=transforms, output=tmp_path / "back.csv", inverse=True)
    assert (there.space, back.space) == ("moving", "fixed")
    assert (tmp_path / "there.csv").read_text().splitlines()[1].endswith(",moving")
    assert (tmp_path / "back.csv").read_text() == "x,y,z,space\n30.000000,40.000000,50.000000,fixed\n"


@pytest.mark.parametrize(("space", "inverse"), [("moving", False), ("fixed", True)])
def test_points_of_the_other_volume_get_a_warning(tmp_path, transforms, caplog, space, inverse):
    (tmp_path / "in.csv").write_text(f"x,y,z,space\n30,40,50,{space}\n")
    options = {"transforms": transforms, "output": tmp_path / "o.csv", "inverse": inverse, "overwrite": True}
    transform_points(tmp_path / "in.csv", **options)
    assert f"are of the {space} volume by their column space" in caplog.text
    caplog.clear()
    transform_points(tmp_path / "in.csv", **options | {"inverse": not inverse})
    assert "by their column space" not in caplog.text


def test_points_outside_what_the_field_covers_are_counted_and_most_of_them_warned_of(tmp_path, transforms, caplog):
    field = transforms[1:]  # nodes 8 µm apart, from 0 to 88 µm
    rows = "".join(f"{x},40,50\n" for x in (10, 50, 91.9, 92.1, 192))
    (tmp_path / "in.csv").write_text("x,y,z\n" + rows)
    result = transform_points(tmp_path / "in.csv", transforms=field, output=tmp_path / "a.csv")
    assert (result.outside, result.max_outside_um) == (2, 100.0)
    assert "lie outside" not in caplog.text
    (tmp_path / "in.csv").write_text("x,y,z\n-500,40,50\n200,40,50\n1,2,3\n")
    for inverse in (False, True):
        result = transform_points(
            tmp_path / "in.csv", transforms=field, output=tmp_path / f"{inverse}.csv", inverse=inverse
        )
        assert result.outside == 2
        assert "2 of 3 points lie outside the part of the fixed volume" in caplog.text
        assert f"points of the {'moving' if inverse else 'fixed'} volume, in µm" in caplog.text
        caplog.clear()
    result = transform_points(tmp_path / "in.csv", transforms=transforms[:1], output=tmp_path / "b.csv")
    assert (result.outside, result.max_outside_um) == (None, None)


def test_the_inverse_of_affines_is_an_affine(tmp_path, transforms):
    invert_transform(transforms[:1], tmp_path / "b.mat")
    both = load_transform(tmp_path / "b.mat") @ load_transform(transforms[0])
    np.testing.assert_allclose(both.matrix, np.eye(4), atol=1e-12)
    said = json.loads((tmp_path / "b.residual.json").read_text())
    assert said["residual_um"] == {"mean": 0, "p95": 0, "maximum": 0}
    assert said["lost_share"] == 0


def test_the_inverse_of_a_field_maps_back(tmp_path, transforms):
    result = invert_transform(transforms, tmp_path / "back.zarr")
    assert 0 < result.residual_um.mean < result.residual_um.p95 < 0.3
    said = json.loads((tmp_path / "back.residual.json").read_text())
    assert said["residual_um"] == asdict(result.residual_um)
    assert said["lost_share"] == 0
    points = np.random.default_rng(0).uniform(15, 65, (200, 3))
    affine, field = (load_transform(t) for t in transforms)
    there = affine.map_points(field.map_points(points))
    back = load_transform(tmp_path / "back.zarr").map_points(there)
    assert np.linalg.norm(back - points, axis=1).max() < 0.5


def test_the_report_counts_nodes_without_an_inverse(tmp_path):
    nodes = Grid((12, 14, 16), (4.0, 4.0, 4.0))
    tangle = np.random.default_rng(0).normal(size=(*nodes.shape, 3)) * 8
    save_field(tmp_path / "tangle.zarr", DisplacementField(tangle, nodes))
    result = invert_transform([tmp_path / "tangle.zarr"], tmp_path / "back.zarr")
    grid = load_transform(tmp_path / "back.zarr").grid
    assert result.lost_share == result.lost_nodes / grid.region.size
    assert result.lost_share > 0
    assert result.grid.shape == grid.shape[::-1]


def test_an_inverse_of_many_chunks_is_whole(tmp_path):
    nodes = Grid((70, 6, 66), (8.0, 8.0, 8.0))
    values = np.random.default_rng(0).uniform(-1, 1, (*nodes.shape, 3)).astype(np.float32)
    save_field(tmp_path / "u.zarr", DisplacementField(values, nodes))
    invert_transform([tmp_path / "u.zarr"], tmp_path / "parts.zarr")
    parts = load_transform(tmp_path / "parts.zarr")
    assert [n > side for n, side in zip(parts.grid.shape, CHUNK_SHAPE, strict=True)] == [True, False, True]
    whole, _ = inverse_field(load_stack([tmp_path / "u.zarr"]), parts.grid)
    assert np.array_equal(parts.read().values, whole.values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2,3\n4,5\n", "line 2 .* is not a point"),
        ("1,2,3\n4,x,6\n", "line 2 .* is not a point"),
        ("x,y,z\n1,2,nan\n", "line 2 .* is not finite"),
    ],
)
def test_a_line_that_is_no_point_is_named(tmp_path, transforms, text, sentence):
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        transform_points(tmp_path / "in.csv", transforms=transforms, output=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_an_empty_table_stays_empty(tmp_path, transforms):
    (tmp_path / "in.csv").write_text("")
    assert transform_points(tmp_path / "in.csv", transforms=transforms, output=tmp_path / "o.csv").points == 0
    assert (tmp_path / "o.csv").read_text() == ""
