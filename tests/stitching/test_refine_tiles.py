"""`refine-tiles`, and fusion by what it finds, on bent tiles of known truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from stitching.bent import OVERLAP, SHAPE, disagreement, make_bent_scan
from stitching.scan import SPACING
from teralign.cluster import Compute
from teralign.errors import DataError, InputError
from teralign.grids import Region
from teralign.stitching.align_pairs import PairAligner, pair_blocks
from teralign.stitching.fusion import TileFusion, default_ramps, fused_grid
from teralign.stitching.pairs import PairSet, write_pairs
from teralign.stitching.refine_pairs import OverlapBlock, blended, overlap_blocks, strides_for
from teralign.stitching.refinement import (
    RefinedPair,
    Refinement,
    places_digest,
    read_refinement,
    write_refinement,
)
from teralign.tasks.fuse_tiles import fuse_tiles
from teralign.tasks.refine_tiles import plan_refine_tiles, refine_tiles
from teralign.tasks.solve_tiles import solve_tiles
from teralign.tiles import Tile, TileChannel, TileReader, TileSet, TileSource, read_tiles, write_tiles
from teralign.volumes import open_volume

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
COMPUTE = Compute(workers=1, worker_cpus=1)


def solved_scan(folder: Path, amplitude: float, **options):
    """Two tiles, their pair, and where they are, in files; returns the solved tiles, the truth, and the wobble."""
    tiles, truth, wobble = make_bent_scan(folder, amplitude, **options)
    aligner = PairAligner.of(tiles, folder, 0, None)
    pairs = tuple(aligner(block).pair for block in pair_blocks(tiles))
    write_pairs(folder / "pairs.json", PairSet(0, (1.0, 1.0, 1.0), pairs))
    solve_tiles(folder / "tiles.json", folder / "pairs.json", folder / "solved.json")
    return read_tiles(folder / "solved.json"), truth, wobble


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bent")
    tiles, truth, _ = solved_scan(folder, 2.0)
    found = refine_tiles(folder / "solved.json", folder / "pairs.json", folder / "refinement", compute=COMPUTE)
    return folder, tiles, truth, found


def overlap_points(tiles: TileSet, count: int = 2000) -> np.ndarray:
    """Points of the overlap of two tiles, but for a rim of two voxels."""
    one, other = tiles.tiles
    low = np.maximum(one.position, other.position) + 2 * np.array(SPACING)
    high = np.minimum(one.position, other.position) + (np.array(SHAPE) - 3) * SPACING
    return np.random.default_rng(0).uniform(low, high, (count, 3))


def test_bent_tiles_come_to_agree(bent):
    folder, tiles, truth, found = bent
    points = overlap_points(tiles)
    bends = read_refinement(folder / "refinement", tiles)
    before = disagreement(tiles, truth, {}, points)
    after = disagreement(tiles, truth, bends.at(tiles.tiles, points), points)
    assert np.median(before) > 0.8 and np.percentile(before, 95) > 1.5
    assert np.median(after) < 0.12 and np.percentile(after, 95) < 0.4
    assert (found.pairs, found.bent, found.reasons) == (1, 1, {})
    assert found.correlation > found.correlation_before + 0.05
    document = json.loads((folder / "refinement" / "refinement.json").read_text())
    schema = json.loads((SCHEMAS / "refinement.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


def test_straight_tiles_are_left_as_they_are(tmp_path):
    solved_scan(tmp_path, 0.0, seed=3, snr=4.0)
    files = tmp_path / "solved.json", tmp_path / "pairs.json"
    found = refine_tiles(*files, tmp_path / "refinement", wobble=True, compute=COMPUTE)
    assert (found.pairs, found.bent, found.wobbling) == (1, 0, 0)
    for name, options in (("plain", {}), ("refined", {"refinement": tmp_path / "refinement"})):
        fuse_tiles(files[0], tmp_path / f"{name}.zarr", compute=COMPUTE, **options)
    volumes = [open_volume(tmp_path / f"{name}.zarr") for name in ("plain", "refined")]
    plain, refined = (volume.read(volume.grid.region) for volume in volumes)
    assert np.array_equal(plain, refined)


def fused(folder, tiles, bends, block):
    grid = fused_grid(tiles)
    source = TileFusion(TileReader(tiles, folder), grid, np.dtype(np.uint16), default_ramps(tiles), bends=bends)
    out = np.zeros(grid.shape, np.uint16)
    for core in grid.region.split(block):
        if (part := source.part(core)) is not None:
            out[core.slices] = next(iter(part.make(0)))
    return out


def test_fusion_samples_bent_tiles_and_nothing_else(bent):
    folder, tiles, _, _ = bent
    bends = read_refinement(folder / "refinement", tiles)
    plain = fused(folder, tiles, None, (64, 64, 64))
    whole = fused(folder, tiles, bends, (100, 200, 200))
    parts = fused(folder, tiles, bends, (9, 31, 37))
    assert np.abs(whole.astype(int) - parts).max() <= 1, "blocks agree at their faces, but for rounding"
    assert np.array_equal(plain == 0, whole == 0), "holes stay holes"
    seam = np.s_[4:-4, 4:-4, SHAPE[2] - OVERLAP + 8 : SHAPE[2] - 8]
    assert whole[seam].std() > 1.03 * plain[seam].std(), "a seam of tiles that agree is sharper"
    alone = np.s_[2:-2, 2:-2, 2 : SHAPE[2] - OVERLAP - 8]
    assert np.abs(plain[alone].astype(int) - whole[alone]).max() <= 1


def test_blocks_of_a_pair_are_blended_into_its_field():
    one, other = (Tile(n, (0.0, 0.0, x), (12, 90, 300), sources=()) for n, x in (("a", 0.0), ("b", 20.0)))
    (block,) = overlap_blocks(3, one, other, SPACING)
    assert block.whole == Region((0, 0, 40), (12, 90, 300)) and block.name == "p000_000003_00000"
    parts = [
        OverlapBlock(3, k, one, other, block.whole, Region((0, 0, a), (12, 90, b)))
        for k, (a, b) in enumerate([(40, 186), (154, 300)])
    ]
    ones = [np.ones((*part.nodes(SPACING).shape, 3), np.float32) for part in parts]
    assert np.allclose(blended(parts, iter(ones), SPACING), 1)
    ramp = blended(parts, iter([ones[0], None]), SPACING)[0, 0, :, 0]
    assert ramp[0] == 1 and ramp[-1] == 0 and (np.diff(ramp) <= 0).all() and np.diff(ramp).min() > -0.4


def made_bends(folder: Path, tiles: TileSet, fields):
    """Bends by a displacement (3,) voxels of each pair of names."""
    (folder / "fields").mkdir(parents=True)
    pairs = []
    for n, ((fixed, moving), moved) in enumerate(fields.items()):
        np.save(
            folder / "fields" / f"{n}.npy", np.broadcast_to(np.float32(np.multiply(moved, SPACING)), (2, 2, 2, 3))
        )
        size = float(np.linalg.norm(moved))
        at = (0, 0, 0), strides_for(SPACING)
        pairs.append(RefinedPair(fixed, moving, "", 0.5, 0.6, size, size, f"{n}.npy", *at))
    write_refinement(folder, Refinement(0, places_digest(tiles), tuple(pairs)))
    return read_refinement(folder, tiles)


def test_where_three_tiles_lie_all_agree(tmp_path):
    """The content of three turned tiles differs by steps that fit together; all show one thing everywhere."""
    turn = ((1.0, 0.0, 0.0), (0.0, 0.8, 0.6), (0.0, -0.6, 0.8))
    tiles = TileSet(
        SPACING,
        (TileChannel("0"),),
        tuple(
            Tile(name, place, (10, 60, 60), sources=(TileSource(name),), matrix=matrix)
            for name, place, matrix in (
                ("a", (0.0, 0.0, 0.0), None),
                ("b", (0.0, 0.0, 8.0), None),
                ("c", (0.0, 12.0, -6.0), turn),
            )
        ),
    )
    steps = {"a": np.zeros(3), "b": np.array((0.5, -1.0, 2.0)), "c": np.array((-0.5, 1.5, 0.7))}
    apart = {pair: steps[pair[1]] - steps[pair[0]] for pair in (("a", "b"), ("a", "c"), ("b", "c"))}
    bends = made_bends(tmp_path / "made", tiles, apart)
    points = np.random.default_rng(0).uniform((0, 0, -5), (18, 40, 40), (2000, 3))
    within = [(points - t.position) @ np.linalg.inv(t.linear).T / SPACING for t in tiles.tiles]
    depth = np.array([np.minimum(at, np.array(tiles.tiles[0].shape) - 1 - at).min(axis=1) for at in within])
    inside = depth >= 0
    moved = bends.at(tiles.tiles, points)
    assert inside.all(axis=0).sum() > 20
    seen = np.array([moved[t.name] @ t.linear.T / SPACING - steps[t.name] for t in tiles.tiles])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = inside[a] & inside[b]
        assert np.abs(seen[a] - seen[b])[both].max() < 1e-4
    alone = (depth > -0.5).sum(axis=0) == 1
    assert all(np.all(moved[t.name][alone & where] == 0) for t, where in zip(tiles.tiles, inside, strict=True))


def test_what_does_not_belong_together_is_refused(bent, tmp_path):
    folder, tiles, _, _ = bent
    moved = replace(tiles, tiles=(replace(tiles.tiles[0], position=(0.0, 0.0, 0.0)), tiles.tiles[1]))
    write_tiles(folder / "moved.json", moved)
    with pytest.raises(InputError, match="run refine-tiles on these again"):
        fuse_tiles(folder / "moved.json", tmp_path / "out.zarr", refinement=folder / "refinement", compute=COMPUTE)
    with pytest.raises(InputError, match="give the document that solve-tiles wrote"):
        refine_tiles(folder / "tiles.json", folder / "pairs.json", tmp_path / "out", compute=COMPUTE)
    with pytest.raises(InputError, match="exists already"):
        refine_tiles(folder / "solved.json", folder / "pairs.json", folder / "refinement", compute=COMPUTE)
    lost = made_bends(tmp_path / "lost", tiles, {("t00", "t01"): np.ones(3)})
    (tmp_path / "lost" / "fields" / "0.npy").write_bytes(b"none")
    with pytest.raises(DataError, match="run refine-tiles again"):
        lost.at(tiles.tiles, overlap_points(tiles))


def test_the_plan_counts_blocks(bent, tmp_path):
    folder, _, _, _ = bent
    plan = plan_refine_tiles(folder / "solved.json", folder / "pairs.json", tmp_path / "out", compute=COMPUTE)
    assert plan.blocks == {"refine": 1} and plan.largest_block == "t00 and t01"
    assert not (tmp_path / "out").exists()
