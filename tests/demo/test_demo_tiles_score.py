"""The score of stitched demo tiles is that of known errors, wherever all tiles of a round lie."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from teralign.cli.demo_tiles_score import demo_tiles_score as command
from teralign.errors import InputError
from teralign.tasks.demo_tiles_score import demo_tiles_score
from teralign.tasks.make_demo_data import make_demo_data
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, write_tiles
from teralign.transforms import Affine, Stack, load_stack, save_map

SPACING = (0.84, 0.92, 0.92)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score") / "demo"
    make_demo_data(folder, shape=(48, 60, 72), seed=3, tiles=2)
    return folder


def solved(demo, name, errors, offset=(0.0, 0.0, 0.0)):
    """A solution with `errors` (n, 3) voxels of its tiles, all of them moved by `offset` µm."""
    facts = json.loads((demo / "tiles_truth.json").read_text())[name]
    tiles = [
        Tile(
            name=f"tile_{t['row']}_{t['column']}",
            position=tuple((np.array(t["true"]) + np.array(error) * SPACING + offset).tolist()),
            shape=tuple(facts["shape"]),
            sources=(TileSource("elsewhere"),),
            index=(0, t["row"], t["column"]),
            stage=tuple(t["stage"]),
        )
        for t, error in zip(facts["tiles"], errors, strict=True)
    ]
    return TileSet(SPACING, (TileChannel("0"),), tuple(tiles))


def written(demo, tmp_path, errors, offsets=((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))):
    paths = []
    for name, offset in zip(("fixed", "moving"), offsets, strict=True):
        paths.append(tmp_path / f"{name}.json")
        write_tiles(paths[-1], solved(demo, name, errors, offset))
    return paths


def test_errors_are_those_that_were_made(demo, tmp_path):
    errors = [(0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 3, 4)]
    found = demo_tiles_score(demo, *written(demo, tmp_path, errors, ((5.0, 1.0, 2.0), (0.0, 0.0, 9.0))))
    assert found.fixed.solved_error.largest == found.moving.solved_error.largest == pytest.approx(5.0)
    assert found.fixed.solved_error.median == pytest.approx(0.0, abs=1e-6)
    assert found.fixed.stage_error.median > 0.5
    assert found.tre_um_stitched is None and found.tre_ratio is None


def test_an_alignment_of_stitched_rounds_is_scored_where_they_lie(demo, tmp_path):
    """The true map between rounds that lie elsewhere has the error of the true map."""
    offsets = ((5.0, 1.0, 2.0), (0.0, -3.0, 9.0))
    paths = written(demo, tmp_path, np.zeros((4, 3)), offsets)
    truth = demo / "true_transform.zarr"
    back, forth = np.eye(4), np.eye(4)
    back[:3, 3], forth[:3, 3] = np.negative(offsets[0]), offsets[1]
    moved = Stack((Affine(forth), *load_stack([truth]).transforms, Affine(back)))
    save_map(tmp_path / "moved.zarr", moved)
    found = demo_tiles_score(demo, *paths, aligned=tmp_path / "moved.zarr", whole=truth)
    assert found.tre_um_stitched.median < 0.05 and found.tre_um_whole.median < 0.05
    assert found.tre_ratio == pytest.approx(1.0, abs=0.05)
    wrong = demo_tiles_score(demo, *paths, aligned=truth, whole=truth)
    assert wrong.tre_um_stitched.median > 5


def test_the_command_prints_the_score(demo, tmp_path):
    paths = written(demo, tmp_path, np.zeros((4, 3)))
    result = CliRunner().invoke(command, [str(demo), *map(str, paths)])
    assert json.loads(result.stdout)["moving"]["solved_error"]["largest"] == pytest.approx(0, abs=1e-6)


def test_tiles_of_another_scan_are_refused(demo, tmp_path):
    paths = written(demo, tmp_path, np.zeros((4, 3)))
    tiles = solved(demo, "fixed", np.zeros((4, 3)))
    fewer = replace(tiles, tiles=tiles.tiles[:3])
    write_tiles(paths[0], fewer)
    with pytest.raises(InputError, match="not those of the demo data"):
        demo_tiles_score(demo, *paths)


def test_demo_data_without_tiles_are_refused(tmp_path):
    with pytest.raises(InputError, match="with --tiles"):
        demo_tiles_score(tmp_path, "fixed.json", "moving.json")


def test_an_alignment_that_is_not_there_is_named(demo, tmp_path):
    paths = written(demo, tmp_path, np.zeros((4, 3)))
    with pytest.raises(InputError, match=r"no missing\.zarr"):
        demo_tiles_score(demo, *paths, aligned="missing.zarr")
