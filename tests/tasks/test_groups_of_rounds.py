"""Three rounds of one scene with known maps: their consistency in µm, and all their channels in one volume."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from label_volumes import write
from phantoms import Scene
from teralign.cli.main import load_command, run
from teralign.cluster import Compute
from teralign.errors import DataError
from teralign.grids import Grid
from teralign.provenance import Run
from teralign.report import index_of, read_triangles, run_page
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.compare_rounds import compare_rounds
from teralign.tasks.merge_rounds import merge_rounds
from teralign.transforms import Affine, DisplacementField, save_field
from teralign.volumes import open_volume

GRID = Grid((60, 64, 68), (2.0, 1.5, 1.5))
WRONG = np.array((0.0, 3.0, 4.0))
TURN = np.array([[1.0, 0.02, 0.0], [-0.02, 1.0, 0.03], [0.0, -0.03, 1.0]])
MAPS = {"b": Affine.from_parts(TURN, (1.0, -2.0, 3.0)), "c": Affine.from_parts(TURN.T, (-2.0, 1.5, 1.0))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rounds a, b and c, the true maps between them, and some that are wrong by 5 µm."""
    folder = tmp_path_factory.mktemp("group")
    scene = Scene.cells(np.array(GRID.extent), count=250, radius=7.0, seed=4)
    write(folder / "a.zarr", scene.draw(GRID).array, GRID.spacing)
    for number, (name, affine) in enumerate(MAPS.items(), start=1):
        image = scene.draw(GRID, affine.inverse().map_points, seed=number).array
        write(folder / f"{name}.zarr", image, GRID.spacing)
        affine.save(folder / f"a_{name}.mat")
        Affine.from_parts(affine.matrix[:3, :3], affine.matrix[:3, 3] + WRONG).save(folder / f"wrong_{name}.mat")
    (MAPS["c"] @ MAPS["b"].inverse()).save(folder / "b_c.mat")
    (MAPS["b"] @ MAPS["c"].inverse()).save(folder / "c_b.mat")
    nodes = GRID.nodes((6, 8, 8))
    bump = np.zeros((*nodes.shape, 3), np.float32)
    bump[3:6, 3:5, 3:5] = (6.0, 0.0, 0.0)
    save_field(folder / "bump.zarr", DisplacementField(bump, nodes))
    return folder


def table(folder, *rows, name="rounds.csv"):
    """A table of rounds, with paths relative to it."""
    lines = [f"{fixed}{moving},{fixed}.zarr,{moving}.zarr,{files}" for fixed, moving, files in rows]
    (folder / name).write_text("\n".join(["id,fixed,moving,transform", *lines]) + "\n")
    return folder / name


def test_true_maps_close_a_triangle_and_wrong_ones_do_not(folder, tmp_path):
    true = table(folder, ("a", "b", "a_b.mat"), ("b", "c", "b_c.mat"), ("a", "c", "a_c.mat"))
    found = compare_rounds(true, output=tmp_path / "rounds.json", maps=tmp_path / "maps")
    [triangle] = found.triangles
    assert (triangle.rounds, triangle.closed_by) == (("a.zarr", "b.zarr", "c.zarr"), "maps")
    assert triangle.points > 1000
    assert triangle.max_um < 1e-3
    assert (found.not_closed, len(found.pairs)) == ([], 3)
    assert json.loads((tmp_path / "rounds.json").read_text())["triangles"][0]["closed_by"] == "maps"
    wrong = table(folder, ("a", "b", "a_b.mat"), ("b", "c", "b_c.mat"), ("a", "c", "wrong_c.mat"))
    [triangle] = compare_rounds(wrong, maps=tmp_path / "wrong").triangles
    assert [triangle.median_um, triangle.p95_um] == pytest.approx([5.0, 5.0], rel=1e-4)
    errors = open_volume(triangle.errors_um)
    assert np.nanmedian(errors.read()) == pytest.approx(5.0, rel=1e-4)
    assert errors.grid.extent == pytest.approx(GRID.extent, rel=0.1)


def test_maps_are_inverted_where_a_pair_was_aligned_the_other_way(folder):
    turned = table(folder, ("a", "b", "a_b.mat"), ("c", "b", "c_b.mat"), ("a", "c", "a_c.mat"))
    [triangle] = compare_rounds(turned).triangles
    assert triangle.max_um < 1e-3
    assert triangle.rounds == ("a.zarr", "c.zarr", "b.zarr"), "the way that needs no inverse"
    ring = table(folder, ("a", "b", "a_b.mat"), ("b", "c", "b_c.mat"), ("c", "a", "c_a.mat"))
    MAPS["c"].inverse().save(folder / "c_a.mat")
    [triangle] = compare_rounds(ring).triangles
    assert triangle.max_um < 1e-3


def test_a_local_error_is_found_where_it_is(folder, tmp_path):
    rows = ("a", "b", "a_b.mat;bump.zarr"), ("b", "c", "b_c.mat"), ("a", "c", "a_c.mat")
    [triangle] = compare_rounds(table(folder, *rows), maps=tmp_path / "maps").triangles
    assert triangle.median_um < 0.01
    assert 4 < triangle.max_um < 7
    errors = open_volume(triangle.errors_um)
    worst = errors.grid.to_physical(np.unravel_index(np.nanargmax(errors.read()), errors.grid.shape))
    assert np.linalg.norm(worst - np.array((48.0, 42.0, 42.0))) < 20


@pytest.mark.parametrize(("moving", "low", "high"), [("a_c.mat", 0.0, 0.4), ("wrong_c.mat", 4.5, 5.5)])
def test_a_star_is_closed_by_the_images_of_its_ends(folder, moving, low, high):
    star = table(folder, ("a", "b", "a_b.mat"), ("a", "c", moving))
    assert compare_rounds(star).not_closed == [("a.zarr", "b.zarr", "c.zarr")]
    found = compare_rounds(star, close_triangles=True)
    [triangle] = found.triangles
    assert triangle.closed_by == "images"
    assert low <= triangle.median_um <= triangle.p95_um <= high
    assert found.not_closed == []


def test_all_channels_are_merged_on_the_fixed_grid(folder, tmp_path):
    star = table(folder, ("a", "b", "a_b.mat;bump.zarr"), ("a", "c", "a_c.mat"))
    compute = Compute(workers=1, worker_mem_gb=1)
    merged = merge_rounds(star, tmp_path / "all.zarr", compute=compute)
    assert merged.channels == 3
    found = open_volume(tmp_path / "all.zarr")
    assert found.channel_names == ("a", "ab", "ac")
    assert found.grid == open_volume(folder / "a.zarr").grid
    np.testing.assert_array_equal(found.read(channel=0), open_volume(folder / "a.zarr").read())
    files = [folder / "a_b.mat", folder / "bump.zarr"]
    apply_transform(
        str(folder / "a.zarr"), str(folder / "b.zarr"), transforms=files, output=tmp_path / "b.zarr", compute=compute
    )
    np.testing.assert_array_equal(found.read(channel=1), open_volume(tmp_path / "b.zarr").read())
    for display, channel in zip(found.display, range(3), strict=True):
        voxels = found.read(channel=channel)
        assert voxels.min() <= display.window[2] < display.window[3] <= voxels.max()


def test_the_index_of_a_run_shows_the_largest_error_first(folder, tmp_path):
    rows = ("a", "b", "a_b.mat"), ("b", "c", "b_c.mat"), ("a", "c", "wrong_c.mat"), ("a", "d", "a_b.mat")
    write(folder / "d.zarr", np.ones(GRID.shape, np.uint8), GRID.spacing)
    compare_rounds(table(folder, *rows), output=tmp_path / "rounds.json")
    triangles = read_triangles(tmp_path / "rounds.json")
    index = index_of([], [], Run(inputs={}, parameters={}), triangles=list(reversed(triangles)))
    assert [one.closed_by for one in index.triangles] == ["maps", "nothing", "nothing"]
    page = run_page(index, {}, "rounds")
    assert "Consistency of rounds" in page
    assert "a.zarr – b.zarr – c.zarr" in re.sub("<[^>]+>", "", page)
    assert "5.0" in page
    (tmp_path / "rounds.json").write_text("{}")
    with pytest.raises(DataError, match=r"not the rounds\.json"):
        read_triangles(tmp_path / "rounds.json")


def test_a_person_reads_a_table(folder, capsys):
    star = table(folder, ("a", "b", "a_b.mat"), ("a", "c", "a_c.mat"))
    assert run(load_command("compare-rounds"), [str(star)], name="compare-rounds") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["not_closed"] == [["a.zarr", "b.zarr", "c.zarr"]]
    assert "a.zarr – b.zarr – c.zarr" in err
    assert "--close-triangles" in err


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("compare-rounds", "id,fixed,moving\nx,a.zarr,b.zarr\n", ["no column transform"]),
        ("compare-rounds", "id,fixed,moving,transform\n", ["no rows"]),
        ("compare-rounds", "id,fixed,moving,transform\nx,a.zarr,,a_b.mat\n", ["line 2", "no moving"]),
        ("compare-rounds", "id,fixed,moving,transform\nx,a.zarr,b.zarr,a_b.mat\n", ["2 volumes", "three"]),
        ("compare-rounds", "id,fixed,moving,transform,colour\nx,a.zarr,b.zarr,a_b.mat,red\n", ["'colour'"]),
        (
            "compare-rounds",
            "id,fixed,moving,transform\nx,a.zarr,b.zarr,a_b.mat\nx,a.zarr,c.zarr,a_c.mat\n",
            ["two rows with the id x"],
        ),
        (
            "compare-rounds",
            "id,fixed,moving,transform\nx,a.zarr,b.zarr,none.mat\ny,a.zarr,c.zarr,a_c.mat\n",
            ["there is no transform", "none.mat"],
        ),
        (
            "merge-rounds",
            "id,fixed,moving,transform\nx,a.zarr,b.zarr,a_b.mat\ny,b.zarr,c.zarr,b_c.mat\n",
            ["several fixed volumes"],
        ),
        (
            "merge-rounds",
            "id,fixed,moving,transform,moving_channel\nx,a.zarr,b.zarr,a_b.mat,-1\n",
            ["moving_channel"],
        ),
    ],
)
def test_bad_tables_are_one_sentence(folder, tmp_path, capsys, command, text, words):
    (folder / "bad.csv").write_text(text)
    output = [str(tmp_path / "all.zarr")] if command == "merge-rounds" else []
    code = run(load_command(command), [str(folder / "bad.csv"), *output], name=command)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    for word in words:
        assert word in err
