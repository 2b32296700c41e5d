import itertools
import json
import pickle
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from teralign.errors import DataError, InputError
from teralign.grids import Region
from teralign.results import schema_of
from teralign.tiles import Solution, Tile, TileChannel, TileReader, TileSet, TileSource, read_tiles, write_tiles
from teralign.tiles.schema import TILE_SCHEMAS

DOCS = Path(__file__).parents[2] / "docs" / "schemas"
NUMBER = st.floats(-1e5, 1e5)


def a_tile(name, position, shape=(4, 8, 8), **fields):
    return Tile(name, tuple(position), shape, sources=(TileSource(f"{name}.tif"),), **fields)


def a_set(*tiles, spacing=(2.0, 1.0, 1.0)):
    return TileSet(spacing, (TileChannel("0"),), tiles)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=6), st.booleans())
def test_what_is_written_is_read(tmp_path_factory, positions, solved):
    solution = Solution("least squares", 2, 1, 3, 1, 1, 0.1, None, "good") if solved else None
    tiles = replace(
        a_set(*(a_tile(f"t{k}", p, stage=p, index=(0, k, 1), gain=(1.5,)) for k, p in enumerate(positions))),
        solution=solution,
    )
    path = tmp_path_factory.mktemp("tiles") / "tiles.json"
    write_tiles(path, tiles)
    assert read_tiles(path) == tiles
    jsonschema.Draft202012Validator(json.loads((DOCS / "tiles.schema.json").read_text())).validate(
        json.loads(path.read_text())
    )


@pytest.mark.parametrize("name", TILE_SCHEMAS)
def test_the_schemas_of_the_documentation_are_those_of_the_code(name):
    """If not: python -m teralign.tiles.schema docs/schemas."""
    assert json.loads((DOCS / name).read_text()) == json.loads(json.dumps(schema_of(TILE_SCHEMAS[name])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(colour=1), "unknown key 'colour'"),
        (lambda d: d["tiles"][0].update(colour=1), "unknown key 'colour' at tiles.0"),
        (lambda d: d.pop("spacing"), "lacks the key 'spacing'"),
        (lambda d: d["tiles"][0].pop("shape"), "lacks the key 'shape' at tiles.0"),
        (lambda d: d.update(spacing=[1, 0, 1]), "three positive numbers"),
        (lambda d: d["tiles"].append(d["tiles"][0]), "two tiles are called a"),
        (lambda d: d["tiles"][0].update(shape=[0, 1, 1]), "holds no voxel"),
        (lambda d: d["tiles"][0].update(sources=[]), "needs 1"),
        (lambda d: d["tiles"][0].update(gain=[1, 2]), "2 values of gain"),
        (lambda d: d.update(kind="pairs"), "no document of tiles"),
        (lambda d: d.update(format=9), "has the format 9"),
        (lambda d: d["tiles"][0].update(position=[0, 0, "far"]), "tiles.0.position"),
        (lambda d: d.update(tiles=[]), "at least one tile"),
    ],
)
def test_a_file_that_is_none_is_named_in_one_sentence(tmp_path, change, words):
    path = tmp_path / "tiles.json"
    write_tiles(path, a_set(a_tile("a", (0, 0, 0))))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words) as raised:
        read_tiles(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no"):
        read_tiles(tmp_path / "tiles.json")


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(-30, 30)] * 3, *[st.integers(1, 20)] * 3), max_size=25), st.integers(1, 50))
def test_overlapping_pairs_are_those_of_the_boxes(boxes, least):
    spacing = np.array([2.0, 1.0, 0.5])
    tiles = [a_tile(str(k), np.array(b[:3]) * spacing, tuple(b[3:])) for k, b in enumerate(boxes)]
    if not tiles:
        return
    found = a_set(*tiles, spacing=tuple(spacing)).overlapping(least)
    expected = []
    for (i, a), (j, b) in itertools.combinations(enumerate(boxes), 2):
        one, other = (Region(tuple(q[:3]), tuple(np.add(q[:3], q[3:]).tolist())) for q in (a, b))
        if one.intersect(other).size >= least:
            expected.append((tiles[i], tiles[j]))
    assert found == expected


def test_ten_thousand_tiles_have_their_neighbours():
    tiles = [a_tile(f"{r},{c}", (0, r * 7.0, c * 7.0)) for r in range(100) for c in range(100)]
    assert len(a_set(*tiles).overlapping()) == 2 * 100 * 99 + 2 * 99 * 99


def test_tiles_that_are_not_there_overlap_none():
    there, gone = a_tile("a", (0, 0, 0)), replace(a_tile("b", (0, 0, 4)), state="absent", sources=())
    assert a_set(there, gone).overlapping() == []
    assert a_set(there, gone).present == (there,)
    with pytest.raises(InputError, match="no tile c"):
        a_set(there, gone).by_name("c")


def test_voxels_are_read_by_region_in_any_process(tmp_path):
    voxels = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="minisblack", metadata={"axes": "ZYX"})
    tile = a_tile("a", (0, 0, 0))
    reader = pickle.loads(pickle.dumps(TileReader(a_set(tile), tmp_path)))
    region = Region((1, 2, 3), (3, 7, 8))
    np.testing.assert_array_equal(reader.read(tile, 0, region), voxels[region.slices])


def test_planes_of_a_pattern_are_a_tile_beside_other_files(tmp_path):
    for z in range(12):
        for channel in (0, 1):
            tifffile.imwrite(tmp_path / f"CHN0{channel}_PLN{z}.tif", np.full((8, 8), 100 * channel + z, np.uint16))
    (tmp_path / "strange.bin").write_bytes(b"x")
    tile = replace(a_tile("a", (0, 0, 0), (12, 8, 8)), sources=(TileSource(".", planes="CHN01_*.tif"),))
    found = TileReader(a_set(tile), tmp_path).read(tile, 0, Region.whole((12, 8, 8)))
    assert found[:, 0, 0].tolist() == [100 + z for z in range(12)]


def test_slices_of_a_stack_are_tiles(tmp_path):
    voxels = np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8)
    tifffile.imwrite(tmp_path / "all.tif", voxels, photometric="minisblack", metadata={"axes": "ZYX"})
    tile = replace(a_tile("b", (0, 0, 0), (1, 8, 8)), sources=(TileSource("all.tif", z_range=(1, 2)),))
    found = TileReader(a_set(tile), tmp_path).read(tile, 0, Region.whole((1, 8, 8)))
    np.testing.assert_array_equal(found, voxels[1:2])


def test_a_flat_image_is_a_tile_of_one_plane(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 7, np.uint16))
    tile = a_tile("a", (0, 0, 0), (1, 8, 8))
    assert TileReader(a_set(tile), tmp_path).read(tile, 0, Region.whole((1, 8, 8))).tolist() == [[[7] * 8] * 8]


def test_a_tile_that_cannot_be_read_is_named(tmp_path):
    tile = a_tile("a", (0, 0, 0))
    (tmp_path / "a.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"the tile a cannot be read: .*a\.tif"):
        TileReader(a_set(tile), tmp_path).read(tile, 0, Region.whole((4, 8, 8)))


def test_a_scan_of_more_tiles_than_files_may_be_open(tmp_path):
    tiles = [a_tile(f"t{k}", (0, 0, 8.0 * k), (1, 8, 8)) for k in range(200)]
    for k, tile in enumerate(tiles):
        tifffile.imwrite(tmp_path / f"{tile.name}.tif", np.full((8, 8), k, np.uint16))
    reader, before = TileReader(a_set(*tiles), tmp_path), len(list(Path("/proc/self/fd").iterdir()))
    values = [reader.read(tile, 0, Region((0, 0, 0), (1, 1, 1))).item() for tile in tiles]
    assert values == list(range(200))
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 2 * 70  # a file and its map in memory
