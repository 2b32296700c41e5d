"""Tiles that are turned and stretched a little: the solver on places of known truth, and the commands on images."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy import ndimage, sparse
from scipy.spatial.transform import Rotation

from stitching.scan import SPACING
from stitching.scenes import tissue
from teralign.errors import InputError
from teralign.stitching.align_pairs import PairAligner, pair_blocks
from teralign.stitching.models import PieceEdges, StageOfTiles, TileModel, fit_models, with_mean_of_one
from teralign.stitching.pairs import PairSet, read_pairs, write_pairs
from teralign.stitching.place import place_tiles
from teralign.stitching.solve import factorised
from teralign.tasks.solve_tiles import solve_tiles
from teralign.tasks.tile_verdict import overlaps_of
from teralign.tiles import Tile, TileChannel, TileSet, TileSource, read_tiles, write_tiles
from teralign.tiles.exporting import export_scan
from teralign.tiles.importing import import_scan

SIDE, STEP, DEPTH = 100.0, 80.0, 40.0  # µm
NOISE = 0.05


def matrices(kind: str, count: int, seed: int) -> np.ndarray:
    """Matrices of tiles: 0.3° about z and a third of that about the others, 0.5 % along y and x."""
    rng = np.random.default_rng(seed)
    turned = Rotation.from_rotvec(np.radians(0.3) * rng.normal(size=(count, 3)) * [1, 0.3, 0.3]).as_matrix()
    if kind == "translation":
        return np.tile(np.eye(3), (count, 1, 1))
    if kind == "rigid":
        return turned
    return turned @ (np.eye(3) + 0.005 * rng.normal(size=(count, 3, 3)) * [[0.2, 0, 0], [0, 1, 1], [0, 1, 1]])


def made(kind: str, seed: int, side: int = 4, planes: int = 40):
    """Pieces of a square grid of tiles, the stage, and the true middles and matrices."""
    rng = np.random.default_rng(seed)
    middles = np.array([(0.0, STEP * r, STEP * c) for r in range(side) for c in range(side)])
    true = middles + rng.normal(0, 2, middles.shape)
    maps = matrices(kind, len(middles), seed)
    half = np.array((DEPTH, SIDE, SIDE)) / 2
    ends, places, shifts = [], [], []
    for j, i in itertools.combinations(range(len(middles)), 2):
        low = np.maximum(middles[i], middles[j]) - half
        high = np.minimum(middles[i], middles[j]) + half
        if (high - low).min() <= 0:
            continue
        for point in rng.uniform(low, high, (8 if (high - low).max() > 50 else 2, 3)):
            p = np.linalg.solve(maps[i], point - true[i])
            q = np.linalg.solve(maps[j], point - true[j])
            ends.append((i, j))
            places.append((p, q))
            shifts.append(middles[i] + p - middles[j] - q + rng.normal(0, NOISE, 3))
    count = len(middles)
    edges = PieceEdges(np.array(ends), np.array(places), np.array(shifts), np.full((len(ends), 3), NOISE))
    stage = StageOfTiles(middles, np.zeros((count, 3)), np.full(3, 4.0), np.full(count, planes), np.ones(3))
    return edges, stage, true, maps


def off(middles: np.ndarray, maps: np.ndarray, true: np.ndarray, true_maps: np.ndarray) -> np.ndarray:
    """The errors (n,) µm of corners of tiles, but for a map that all have in common."""
    corners = np.array(np.meshgrid(*[(-s / 2, s / 2) for s in (DEPTH, SIDE, SIDE)])).reshape(3, -1).T
    seen, real = (
        (np.einsum("nab,kb->nka", m, corners) + c[:, None]).reshape(-1, 3)
        for c, m in ((middles, maps), (true, true_maps))
    )
    ones = np.column_stack([seen, np.ones(len(seen))])
    return np.linalg.norm(ones @ np.linalg.lstsq(ones, real, rcond=None)[0] - real, axis=1)


@pytest.mark.parametrize("model", ["rigid", "affine"])
@pytest.mark.parametrize("seed", [1, 2])
def test_turned_and_stretched_tiles_come_to_fit(model, seed):
    edges, stage, true, maps = made(model, seed)
    fitted = fit_models(edges, stage, TileModel(model))
    error = off(stage.middles + fitted.displacements, fitted.matrices, true, maps)
    before = off(true, np.tile(np.eye(3), (len(maps), 1, 1)), true, maps)
    assert fitted.used.mean() > 0.98
    assert np.median(error) < 0.2 and np.median(error) < np.median(before) / 3


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_tiles_that_are_only_moved_are_not_bent(model):
    edges, stage, true, maps = made("translation", 3)
    fitted = fit_models(edges, stage, TileModel(model))
    assert np.abs(fitted.matrices - np.eye(3)).max() < 3e-4, "of 0.05 µm in 100 µm pieces tell no more"
    assert off(stage.middles + fitted.displacements, fitted.matrices, true, maps).max() < 0.1


def test_wrong_pieces_bend_nothing():
    edges, stage, true, maps = made("affine", 4)
    wrong = np.random.default_rng(0).choice(len(edges.tiles), 12, replace=False)
    edges.shifts[wrong] += 9
    fitted = fit_models(edges, stage, TileModel.AFFINE)
    assert not fitted.used[wrong].any() and fitted.used.sum() > len(edges.tiles) - 16
    assert np.median(off(stage.middles + fitted.displacements, fitted.matrices, true, maps)) < 0.15


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_with_few_planes_nothing_depends_on_z(model):
    edges, stage, _, _ = made(model, 5, planes=4)
    fitted = fit_models(edges, stage, TileModel(model))
    assert np.abs(fitted.matrices[:, 1:, 0]).max() < 1e-6, "y and x do not depend on z"
    assert np.abs(fitted.matrices[:, 1, 2]).max() > 1e-3


def test_pivots_stay_on_the_diagonal():
    """Others would undo the order of the unknowns: minutes for a thousand tiles."""
    edges, _, _, _ = made("affine", 7)
    i, j = edges.tiles.T
    columns = np.column_stack([4 * i[:, None] + np.arange(4), 4 * j[:, None] + np.arange(4)])
    ones = np.ones((len(i), 1))
    design = np.zeros((len(i), 4 * 16))
    np.put_along_axis(design, columns, np.hstack([-ones, -edges.places[:, 0], ones, edges.places[:, 1]]), axis=1)
    factors = factorised(sparse.csc_matrix(design.T @ design + np.eye(64)))
    assert np.array_equal(factors.perm_r, factors.perm_c)


def test_what_all_tiles_share_is_taken_out():
    edges, stage, _, _ = made("rigid", 6, side=2)
    fitted = fit_models(edges, stage, TileModel.RIGID)
    components = np.array([0, 0, 0, 1])
    moved, mean = with_mean_of_one(fitted, stage.middles, components, TileModel.RIGID)
    assert np.allclose(Rotation.from_matrix(mean[:3]).mean().as_matrix(), np.eye(3))
    assert np.array_equal(mean[3], fitted.matrices[3]) and np.array_equal(moved[3], fitted.displacements[3])
    same = fitted.displacements[:3].mean(axis=0)
    assert np.allclose(moved[:3].mean(axis=0), same), "about the middle of the group"


SHAPE = (14, 96, 96)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Four tiles turned by up to 1.2° in their planes, their pairs with pieces, and their true maps."""
    folder = tmp_path_factory.mktemp("turned")
    rng, scene = np.random.default_rng(2), tissue((26, 190, 190), seed=5)
    middle = (np.array(SHAPE) - 1) / 2
    tiles, true = [], []
    for k, angle in enumerate((1.0, -0.8, 0.3, -1.2)):
        stage = np.array((5.0, 10 + 68 * (k // 2), 10 + 68 * (k % 2)))
        place, turn = stage + rng.uniform(-2, 2, 3), Rotation.from_rotvec([np.radians(angle), 0, 0]).as_matrix()
        clear = ndimage.affine_transform(scene, turn, place + middle - turn @ middle, SHAPE, order=3)
        voxels = rng.poisson((np.clip(clear, 0, None) + 60) / 5) * 5 + 200
        tifffile.imwrite(folder / f"t{k}.tif", voxels.astype(np.uint16), photometric="minisblack")
        position = tuple(float(v) for v in stage * SPACING)
        tiles.append(Tile(f"t{k}", position, SHAPE, sources=(TileSource(f"t{k}.tif"),), index=(0, k // 2, k % 2)))
        true.append((place, turn))
    found = TileSet(SPACING, (TileChannel("0"),), tuple(tiles))
    write_tiles(folder / "tiles.json", found)
    aligner = PairAligner.of(found, folder, 0, None, pieces=3)
    pairs = PairSet(0, (1.0, 1.0, 1.0), tuple(aligner(block).pair for block in pair_blocks(found)))
    write_pairs(folder / "pairs.json", pairs)
    return folder, true


def apart(tiles: TileSet, true: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The errors in voxels of corners of all tiles, but for what they share."""
    corners = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in SHAPE])).reshape(3, -1).T
    middle = (np.array(SHAPE) - 1) / 2
    seen = np.concatenate([tile.place_of(corners * SPACING) for tile in tiles.tiles]) / SPACING
    real = np.concatenate([(corners - middle) @ turn.T + middle + place for place, turn in true])
    ones = np.column_stack([seen, np.ones(len(seen))])
    return np.linalg.norm(ones @ np.linalg.lstsq(ones, real, rcond=None)[0] - real, axis=1)


def test_turned_tiles_are_found_by_pieces_of_their_overlaps(scan, tmp_path):
    folder, true = scan
    files = folder / "tiles.json", folder / "pairs.json"
    moved = solve_tiles(*files, tmp_path / "moved.json")
    turned = solve_tiles(*files, tmp_path / "turned.json", tile_model="rigid")
    error = apart(read_tiles(tmp_path / "turned.json"), true)
    before = apart(read_tiles(tmp_path / "moved.json"), true)
    assert np.median(error) < 0.25 and np.median(error) < np.median(before) / 3
    assert turned.solution.residual_median_um < moved.solution.residual_median_um
    solved = read_tiles(tmp_path / "turned.json")
    pairs = read_pairs(files[1])
    overlaps = [o for o in overlaps_of(solved, solved.solution, pairs.pairs, "pairs") if o.state == "confirmed"]
    assert len(overlaps) >= 4 and np.median([o.length_um for o in overlaps]) < 0.2, "the verdict knows matrices"


def test_pairs_without_pieces_turn_no_tile(scan, tmp_path):
    folder, _ = scan
    pairs = read_pairs(folder / "pairs.json")
    write_pairs(tmp_path / "pairs.json", replace(pairs, pairs=tuple(replace(p, pieces=()) for p in pairs.pairs)))
    with pytest.raises(InputError, match="run align-tiles with --pieces"):
        solve_tiles(folder / "tiles.json", tmp_path / "pairs.json", tmp_path / "out.json", tile_model="affine")


def test_matrices_are_exported_or_refused(scan, tmp_path):
    folder, _ = scan
    tiles = place_tiles(read_tiles(folder / "tiles.json"), read_pairs(folder / "pairs.json"), TileModel.AFFINE).tiles
    for name, form in (("out.csv", None), ("out.xml", "terastitcher")):
        with pytest.raises(InputError, match="matrix"):
            export_scan(tiles, folder, tmp_path / name, form)
    export_scan(tiles, folder, tmp_path / "big.xml", "bigstitcher")
    back = import_scan(tmp_path / "big.xml", tmp_path)
    for one, other in zip(tiles.tiles, back.tiles, strict=True):
        assert np.allclose(one.matrix, other.matrix) and np.allclose(one.position, other.position)
