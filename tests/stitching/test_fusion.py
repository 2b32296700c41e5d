import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from teralign.cluster import Compute
from teralign.correction import FlatField, write_flatfield
from teralign.errors import DataError, InputError
from teralign.grids import Grid, Region
from teralign.stitching.fusion import TileFusion, TileInterpolation, Weights, default_ramps, fused_grid
from teralign.tasks.fuse_tiles import fuse_tiles, plan_fuse_tiles
from teralign.tiles import Tile, TileChannel, TileReader, TileSet, TileSource, write_tiles
from teralign.volumes import open_volume

SPACING = (2.0, 0.5, 0.5)
SHAPE = (6, 20, 24)


class ArrayReader(TileReader):
    """Tiles in memory, by name: their regions that were read are kept."""

    def __init__(self, tiles, arrays):
        super().__init__(tiles, Path())
        self.arrays, self.regions = arrays, []

    def read(self, tile, channel, region):
        self.regions.append((tile.name, channel, region))
        return np.ascontiguousarray(self.arrays[tile.name, channel][region.slices])


def a_scan(places, arrays, channels=1, dtype=np.uint16, **fields):
    """Tiles at places (z, y, x) in voxels; arrays by tile, or by tile and channel."""
    tiles = tuple(
        Tile(f"t{k}", tuple(np.multiply(place, SPACING)), a.shape, sources=(TileSource("x"),) * channels, **fields)
        for k, (place, a) in enumerate(zip(places, arrays, strict=True))
    )
    shifts = [(0.0, 0.0, 0.0)] * channels
    tiles = TileSet(SPACING, tuple(TileChannel(str(c), shift) for c, shift in enumerate(shifts)), tiles)
    named = {(f"t{k}", c): np.asarray(a, dtype) for k, a in enumerate(arrays) for c in range(channels)}
    return ArrayReader(tiles, named)


def fused(reader, weights="cosine", interpolation="cubic", block=(4, 9, 11), light=None, ramps=None, channel=0):
    grid = fused_grid(reader.tiles)
    dtype = next(iter(reader.arrays.values())).dtype
    ramps = ramps or default_ramps(reader.tiles)
    source = TileFusion(reader, grid, dtype, ramps, Weights(weights), TileInterpolation(interpolation), light)
    out = np.zeros(grid.shape, dtype)
    for core in grid.region.split(block):
        part = source.part(core)
        if part is not None:
            out[core.slices] = list(part.make(0))[channel]
    return grid, out


def noise(shape, seed=0, high=60000):
    return np.random.default_rng(seed).integers(1, high, shape).astype(np.uint16)


PLACES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 25), st.integers(0, 30)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=40)
@given(PLACES, st.sampled_from([w.value for w in Weights]), st.integers(0, 3))
def test_tiles_at_whole_voxels_give_the_scene_and_holes_stay_holes(places, weights, seed):
    scene = noise((12, 50, 60), seed)
    arrays = [scene[tuple(slice(p, p + n) for p, n in zip(place, SHAPE, strict=True))] for place in places]
    grid, out = fused(a_scan(places, arrays), weights)
    start = np.rint(np.divide(grid.origin, SPACING)).astype(int)
    expected = np.zeros_like(scene)
    for place, array in zip(places, arrays, strict=True):
        expected[tuple(slice(p, p + n) for p, n in zip(place, array.shape, strict=True))] = array
    assert start.tolist() == np.min(places, axis=0).tolist()
    expected = expected[tuple(slice(a, a + n) for a, n in zip(start, grid.shape, strict=True))]
    assert np.abs(out.astype(int) - expected).max() <= 1  # of 60,000: sums in float32
    assert np.array_equal(out == 0, expected == 0)


@pytest.mark.parametrize("weights", [w.value for w in Weights])
def test_bytes_do_not_depend_on_the_blocks(weights):
    places = [(0, 0, 0), (0.3, 1.4, 17.6), (-0.2, 15.7, 0.4)]
    reader = a_scan(places, [noise(SHAPE, k) for k in range(3)])
    results = [fused(reader, weights, block=block)[1] for block in ((100, 100, 100), (4, 9, 11), (1, 7, 100))]
    assert all(np.array_equal(results[0], other) for other in results[1:])


def wave(shape, offset):
    z, y, x = (np.arange(n) + o for n, o in zip(shape, offset, strict=True))
    return 1000 + 300 * (
        np.sin(z / 3)[:, None, None] + np.sin(y / 3)[None, :, None] + np.sin(x / 4 + 1)[None, None, :]
    )


@pytest.mark.parametrize(("interpolation", "most"), [("linear", 14), ("cubic", 1.5)])
def test_positions_between_voxels_are_interpolated(interpolation, most):
    places = [(0, 0, 0), (0.4, 0.35, 15.55), (0, 14.5, 0.25)]
    reader = a_scan(places, [wave(SHAPE, p) for p in places], dtype=np.float32)
    grid, out = fused(reader, interpolation=interpolation)
    truth = wave(grid.shape, np.divide(grid.origin, SPACING))
    inner = np.s_[2:-2, 2:18, 2:36]  # away from the faces, beyond which there is nothing to interpolate
    assert np.abs(out - truth)[inner].max() < most


def test_a_seam_is_no_step():
    """Two tiles of different brightness fade into one another over their overlap."""
    reader = a_scan([(0, 0, 0), (0, 0, 12)], [np.full(SHAPE, 1000), np.full(SHAPE, 2000)])
    for weights in ("linear", "cosine", "distance"):
        _, out = fused(reader, weights)
        line = out[3, 10].astype(int)
        assert np.diff(line).min() >= 0
        assert np.diff(line).max() < 200
    cut = fused(reader, "none")[1][3, 10].astype(int)
    assert np.unique(cut).tolist() == [1000, 2000]
    assert np.flatnonzero(np.diff(cut)).tolist() == [17]  # the middle of the overlap
    assert fused(reader, "max")[1][3, 10, 12] == 2000


def test_uint16_overflow_wrap():
    """What is too bright saturates; what is below 0 becomes 0; the rest is rounded."""
    reader = a_scan([(0, 0, 0)], [np.full(SHAPE, 50000)], gain=(1.5,), offset=(0.0,))
    assert set(np.unique(fused(reader)[1])) == {65535}
    reader = a_scan([(0, 0, 0)], [np.full(SHAPE, 3)], gain=(1.0,), offset=(-10.0,))
    assert set(np.unique(fused(reader)[1])) == {0}
    reader = a_scan([(0, 0, 0)], [np.full(SHAPE, 3)], gain=(1.25,), offset=(0.9,))
    assert set(np.unique(fused(reader)[1])) == {5}


def shading(gain, dark, channels=1):
    """A flat field of one gain (y, x) and dark level."""
    gains = np.broadcast_to(np.float32(gain), (channels, 1, *np.shape(gain))).copy()
    darks = np.full((channels, *np.shape(gain)), dark, np.float32)
    return FlatField(gains, darks, np.zeros(1), tuple(map(str, range(channels))))


def test_gain_field_zeroed_at_far_edges_and_shifted():
    """The light is evened at each voxel of the tile, up to the last ones; tiles are not changed (in place)."""
    gain = 1 + 0.5 * np.linspace(0, 1, SHAPE[1])[:, None] * np.linspace(0, 1, SHAPE[2])[None]
    places = [(0, 0, 0), (0, 0, 18)]
    arrays = [np.rint(1000 * gain + 200) * np.ones(SHAPE) for _ in places]
    reader = a_scan(places, arrays)
    before = {key: array.copy() for key, array in reader.arrays.items()}
    for _ in range(2):  # the second run gives what the first gave
        _, out = fused(reader, light=shading(gain, 200))
        assert np.abs(out.astype(int) - 1000).max() <= 1
    assert all(np.array_equal(reader.arrays[key], array) for key, array in before.items())


def test_the_gain_comes_after_the_light():
    reader = a_scan([(0, 0, 0)], [np.full(SHAPE, 600)], gain=(2.0,), offset=(7.0,))
    assert set(np.unique(fused(reader, light=shading(np.full(SHAPE[1:], 2.0), 200))[1])) == {407}


@pytest.mark.parametrize("dark", [0, 200])
def test_what_earlier_tiles_have_bleached_is_made_as_bright_as_it_was(dark):
    """Three tiles in a row; the last was imaged first, and the place that all share was lit twice."""
    places = [(0, 0, 0), (0, 0, 10), (0, 0, 16)]
    orders = [1, 2, 0]
    lit = np.zeros((SHAPE[1], 40), int)
    arrays = {}
    for k in np.argsort(orders):
        box = np.s_[:, places[k][2] : places[k][2] + SHAPE[2]]
        arrays[int(k)] = np.rint(1000 * 0.9 ** lit[box] + dark) * np.ones(SHAPE)
        lit[box] += 1
    reader = a_scan(places, [arrays[k] for k in range(3)])
    tiles = tuple(replace(tile, order=n) for tile, n in zip(reader.tiles.tiles, orders, strict=True))
    light = shading(np.ones(SHAPE[1:]), dark) if dark else None
    seen = {}
    for loss in (0.0, 0.1):
        reader.tiles = replace(reader.tiles, tiles=tiles, lit_loss=(loss,))
        seen[loss] = fused(reader, light=light)[1].astype(int)
    assert np.ptp(seen[0.0]) > 50
    assert np.abs(seen[0.1] - 1000).max() <= 1


def test_all_channels_are_fused_with_their_shifts():
    scene = noise((8, 40, 50))
    reader = a_scan([(0, 0, 0), (0, 0, 16)], [scene[:6, :20, :24], scene[:6, :20, 16:40]], channels=2)
    shifted = (TileChannel("0"), TileChannel("1", (2.0, 0.0, 1.5)))  # a plane, and 3 voxels along x
    reader = ArrayReader(replace(reader.tiles, channels=shifted), reader.arrays)
    grid, one = fused(reader, channel=0)
    _, other = fused(reader, channel=1)
    assert grid.shape == (7, 20, 43)
    np.testing.assert_allclose(one[:6, :, :40].astype(int), scene[:6, :20, :40], atol=1)
    np.testing.assert_allclose(other[1:, :, 3:].astype(int), scene[:6, :20, :40], atol=1)
    assert not other[0].any()
    assert not other[:, :, :3].any()


def test_a_matrix_of_a_tile_maps_it():
    """A tile turned by 90 degrees about its first voxel, and one scaled by 2 along x."""
    array = noise((3, 8, 8), high=1000)
    turn = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))  # y' = -x, x' = y
    _, out = fused(a_scan([(0, 0, 0)], [array], matrix=turn))
    np.testing.assert_array_equal(out, np.rot90(array, 1, axes=(1, 2)))
    scale = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 2.0))
    _, out = fused(a_scan([(0, 0, 0)], [array], matrix=scale), interpolation="linear")
    np.testing.assert_array_equal(out[:, :, ::2], array)
    middle = (array[:, :, 1:].astype(float) + array[:, :, :-1]) / 2
    assert np.abs(out[:, :, 1:-1:2] - middle).max() <= 0.5


def test_the_identity_as_a_matrix_changes_nothing():
    places = [(0, 0, 0), (0.25, 0.4, 16.75)]
    arrays = [noise(SHAPE, k, high=1000) for k in (0, 1)]
    identity = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    for weights, how in itertools.product(Weights, TileInterpolation):
        one = fused(a_scan(places, arrays), weights, how)[1]
        other = fused(a_scan(places, arrays, matrix=identity), weights, how)[1]
        assert np.abs(one.astype(int) - other).max() <= 1


def test_turned_tiles_show_the_scene_to_a_part_of_its_contrast():
    """Two tiles of one smooth scene, turned by 2 degrees each way; cubic is closer than linear."""
    axes = np.meshgrid(*[np.arange(n, dtype=float) for n in (8, 60, 90)], indexing="ij")
    place = np.stack(axes, axis=-1)

    def scene(p):
        return 3000 + 1000 * np.sin(p[..., 1] / 1.3) * np.cos(p[..., 2] / 1.6) + 100 * p[..., 0]

    starts, arrays, tiles = ((0.0, 4.0, 6.0), (0.0, 6.0, 34.0)), [], []
    for k, (start, angle) in enumerate(zip(starts, (2.0, -2.0), strict=True)):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        matrix = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])  # y and x have one spacing
        local = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in (8, 40, 44)], indexing="ij"), axis=-1)
        arrays.append(np.rint(scene(local @ matrix.T + start)).astype(np.uint16))
        position = tuple(float(v) for v in np.multiply(start, SPACING))
        rows = tuple(tuple(float(v) for v in row) for row in matrix)
        tiles.append(Tile(f"t{k}", position, (8, 40, 44), sources=(TileSource("x"),), matrix=rows))
    reader = ArrayReader(
        TileSet(SPACING, (TileChannel("0"),), tuple(tiles)), {(f"t{k}", 0): a for k, a in enumerate(arrays)}
    )
    error = {}
    for how in TileInterpolation:
        grid, out = fused(reader, "cosine", how)
        real = scene(place[: grid.shape[0]][:, : grid.shape[1], : grid.shape[2]] + np.divide(grid.origin, SPACING))
        error[how] = np.abs(out - real)[out > 0]
    assert np.median(error[TileInterpolation.CUBIC]) < 25 and np.percentile(error[TileInterpolation.CUBIC], 99) < 120
    assert np.median(error[TileInterpolation.CUBIC]) < np.median(error[TileInterpolation.LINEAR]) / 3


def test_a_block_reads_each_tile_once():
    places = [(0, 0, 0), (0, 0.5, 17.5)]
    reader = a_scan(places, [noise(SHAPE, k) for k in (0, 1)])
    source = TileFusion(reader, fused_grid(reader.tiles), np.dtype(np.uint16), (4, 4, 7))
    list(source.part(Region((0, 0, 8), (6, 20, 32))).make(0))
    assert sorted(name for name, _, _ in reader.regions) == ["t0", "t1"]
    read = {name: region for name, _, region in reader.regions}
    assert read["t0"].shape == (6, 20, 16)
    assert read["t1"].shape[2] <= 15 + 3


def test_tiles_that_are_absent_leave_a_hole():
    reader = a_scan([(0, 0, 0), (0, 0, 24), (0, 0, 48)], [np.full(SHAPE, 9)] * 3)
    tiles = list(reader.tiles.tiles)
    tiles[1] = replace(tiles[1], state="absent", sources=())
    _, out = fused(ArrayReader(replace(reader.tiles, tiles=tuple(tiles)), reader.arrays))
    assert np.unique(out[:, :, 24:48]).tolist() == [0]
    assert np.unique(out[:, :, :24]).tolist() == [9]


def test_ramps_are_the_overlaps_of_neighbours():
    places = [(0, r * 15.0, c * 18.0) for r in range(3) for c in range(3)]
    reader = a_scan(places, [np.ones(SHAPE)] * 9)
    assert default_ramps(reader.tiles)[1:] == (5, 6)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Two tiles of two channels on disk, long in y."""
    folder = tmp_path_factory.mktemp("scan")
    scene = noise((5, 700, 40), high=3000)
    tiles = []
    for k, start in enumerate((0, 330)):
        for channel in (0, 1):
            part = scene[:, start : start + 370] // (channel + 1)
            tifffile.imwrite(folder / f"t{k}_{channel}.tif", part, photometric="minisblack")
        sources = tuple(TileSource(f"t{k}_{channel}.tif") for channel in (0, 1))
        tiles.append(Tile(f"t{k}", (0, start * 0.5, 0), (5, 370, 40), sources=sources))
    write_tiles(folder / "tiles.json", TileSet(SPACING, (TileChannel("red"), TileChannel("blue")), tuple(tiles)))
    return folder, scene


@pytest.mark.parametrize("ending", ["zarr", "n5", "precomputed", "tif"])
def test_a_volume_of_every_format(scan, tmp_path, ending):
    folder, scene = scan
    made = fuse_tiles(folder / "tiles.json", tmp_path / f"out.{ending}")
    assert made.channels == 2
    volume = open_volume(tmp_path / f"out.{ending}" / {"zarr": "s0", "n5": "s0"}.get(ending, ""))
    assert volume.grid == Grid(scene.shape, SPACING)
    for channel in (0, 1):
        found = volume.read(channel=channel).astype(int)
        assert np.abs(found - scene // (channel + 1)).max() <= 1


def test_mip_count_from_x_only(scan, tmp_path):
    """The number of scales follows from the longest side, here y."""
    fuse_tiles(scan[0] / "tiles.json", tmp_path / "out.zarr")
    assert (tmp_path / "out.zarr" / "s2").is_dir()
    assert max(open_volume(tmp_path / "out.zarr" / "s2").grid.shape) <= 256


def test_workers_and_this_process_give_the_same_bytes(scan, tmp_path):
    for name, compute in (("one", Compute()), ("two", Compute(workers=2, worker_cpus=1))):
        fuse_tiles(scan[0] / "tiles.json", tmp_path / name / "a.zarr", compute=compute, chunk_size=(5, 64, 40))
    folders = [tmp_path / name / "a.zarr" for name in ("one", "two")]
    one, other = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert one == other


def test_dry_run_writes_nothing_and_an_output_is_not_replaced_unasked(scan, tmp_path):
    plan = plan_fuse_tiles(scan[0] / "tiles.json", tmp_path / "out.zarr")
    assert plan.write_bytes > 5 * 700 * 40 * 2 * 2
    assert list(tmp_path.iterdir()) == []
    fuse_tiles(scan[0] / "tiles.json", tmp_path / "out.zarr")
    with pytest.raises(InputError, match="exists"):
        fuse_tiles(scan[0] / "tiles.json", tmp_path / "out.zarr")


def test_a_tile_that_changed_is_named_before_any_work(scan, tmp_path):
    folder, _ = scan
    content = json.loads((folder / "tiles.json").read_text())
    content["tiles"][1]["shape"] = [5, 300, 40]
    (folder / "other.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="the tile t1 should have the shape"):
        fuse_tiles(folder / "other.json", tmp_path / "out.zarr")
    for tile in content["tiles"]:
        tile.update(state="unreadable")
    (folder / "other.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no tile of .* is present"):
        fuse_tiles(folder / "other.json", tmp_path / "out.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_flat_field_of_a_file(scan, tmp_path):
    folder, scene = scan
    write_flatfield(tmp_path / "flat.npz", shading(np.full((370, 40), 2.0), 0, channels=2))
    fuse_tiles(folder / "tiles.json", tmp_path / "out.zarr", flatfield=tmp_path / "flat.npz")
    found = open_volume(tmp_path / "out.zarr" / "s0").read().astype(int)
    assert np.abs(found - scene / 2).max() <= 1
    write_flatfield(tmp_path / "other.npz", shading(np.full((300, 40), 2.0), 0, channels=2))
    with pytest.raises(InputError, match="estimate it from these tiles"):
        fuse_tiles(folder / "tiles.json", tmp_path / "b.zarr", flatfield=tmp_path / "other.npz")
