"""Positions of a grid of tiles from shifts of known truth, wrong ones among them."""

from __future__ import annotations

import numpy as np
import pytest

from teralign.stitching.solve import ShiftEdges, Solved, solve_positions
from teralign.stitching.stage_errors import Regressors, learn_errors

STEP = 100.0


def grid(rows: int, columns: int) -> np.ndarray:
    """The index (layer, row, column) of each tile."""
    return np.array([(0, r, c) for r in range(rows) for c in range(columns)])


def neighbours(index: np.ndarray) -> np.ndarray:
    place = {tuple(i): n for n, i in enumerate(index.tolist())}
    pairs = [(n, place.get((0, r + a, c + b))) for (_, r, c), n in place.items() for a, b in ((0, 1), (1, 0))]
    return np.array([pair for pair in pairs if pair[1] is not None])


def edges(truth: np.ndarray, pairs: np.ndarray, noise: float, seed: int = 0) -> ShiftEdges:
    rng = np.random.default_rng(seed)
    shifts = truth[pairs[:, 1]] - truth[pairs[:, 0]] + rng.normal(0, noise, (len(pairs), 3))
    return ShiftEdges(pairs, shifts, np.full((len(pairs), 3), max(noise, 0.05)))


def solve(index: np.ndarray, given: ShiftEdges) -> Solved:
    return solve_positions(given, Regressors.of(index * STEP, index, np.arange(len(index), dtype=float)))


def errors_of(solved: Solved, truth: np.ndarray) -> np.ndarray:
    """Lengths of the errors after the common shift is taken out."""
    d = solved.displacements - truth
    return np.asarray(np.linalg.norm(d - np.median(d[solved.held], axis=0), axis=1))


def test_positions_are_better_than_single_shifts():
    index = grid(8, 8)
    truth = np.random.default_rng(1).normal(0, 4, (64, 3))
    solved = solve(index, edges(truth, neighbours(index), 0.1))
    assert solved.used.all() and solved.held.all() and (solved.components == 0).all()
    assert np.median(errors_of(solved, truth)) < 0.15 and errors_of(solved, truth).max() < 0.4


@pytest.mark.parametrize("seed", range(4))
def test_wrong_edges_are_removed_and_move_nothing(seed: int):
    index = grid(6, 7)
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 3, (42, 3))
    given = edges(truth, neighbours(index), 0.1, seed)
    wrong = rng.choice(len(given.tiles), 8, replace=False)
    given.shifts[wrong] += rng.uniform(5, 20, (8, 3)) * rng.choice([-1, 1], (8, 3))
    solved = solve(index, given)
    assert set(np.flatnonzero(~solved.used)) == set(wrong)
    assert errors_of(solved, truth).max() < 0.5


def test_a_wrong_edge_that_alone_holds_a_tile_does_not_throw_it_off():
    index = grid(5, 5)
    truth = np.random.default_rng(2).normal(0, 1, (25, 3))
    pairs = neighbours(index)
    pairs = pairs[~((pairs == 24).any(axis=1) & (pairs != 19).all(axis=1))]  # tile 24 keeps its edge to 19 only
    given = edges(truth, pairs, 0.05)
    given.shifts[(pairs == 24).any(axis=1)] += (0, 30, 0)
    solved = solve(index, given)
    assert not solved.held[24] and errors_of(solved, truth)[24] < 6


def test_a_right_edge_that_alone_connects_two_groups_of_few_tiles_is_kept():
    """Most tiles lie where the stage says, so the usual error looks small; the two that it connects do not."""
    index = grid(2, 6)
    truth = np.random.default_rng(8).normal(0, 0.2, (12, 3))
    truth[[2, 3, 0, 11], 0] += (-1.7, 1.7, 1.5, -1.5)
    pairs = neighbours(index)
    left = index[:, 2] < 3
    pairs = pairs[(left[pairs[:, 0]] == left[pairs[:, 1]]) | (pairs == (2, 3)).all(axis=1)]
    solved = solve(index, edges(truth, pairs, 0.05))
    assert solved.used.all() and (solved.components == 0).all()
    assert errors_of(solved, truth).max() < 0.3


def test_tiles_without_edges_follow_backlash_rotation_and_step():
    index = grid(9, 9)
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 0.4, (81, 3))
    truth[:, 2] += 6 * (index[:, 1] % 2) + 0.6 * index[:, 1]
    truth[:, 1] -= 0.6 * index[:, 2]
    pairs = neighbours(index)
    lone = np.array([0, 8, 40, 72])
    pairs = pairs[~np.isin(pairs, lone).any(axis=1)]
    solved = solve(index, edges(truth, pairs, 0.05))
    assert set(np.flatnonzero(~solved.held)) == set(lone)
    stage = truth - np.median(truth[solved.held], axis=0)
    assert errors_of(solved, truth)[lone].mean() < 0.5 * np.linalg.norm(stage[lone], axis=1).mean()


@pytest.mark.parametrize("seed", range(5))
def test_chance_errors_teach_nothing(seed: int):
    """A tile without edges stays where the stage says, within what the mean of the others tells."""
    index = grid(5, 5)
    truth = np.random.default_rng(seed).normal(0, 3, (25, 3))
    pairs = neighbours(index)
    pairs = pairs[~(pairs == 12).any(axis=1)]
    solved = solve(index, edges(truth, pairs, 0.05))
    common = truth[solved.held].mean(axis=0)
    assert np.abs(solved.predicted[12] - solved.predicted[solved.held].mean(axis=0)).max() < 2.5, common


@pytest.mark.parametrize("seed", [16, 17, 32])  # where what is learnt alone would throw one off
def test_no_tile_is_thrown_off_by_what_is_learnt(seed: int):
    """Backlash is learnt, but chance errors are as large: none lies more than 3 voxels further off than it was."""
    index = grid(4, 4)
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.normal(size=(16, 3)), -2, 2) * 3.7
    truth[:, 2] += 7 * (index[:, 1] % 2)
    lone = np.array([0, 3, 10, 12])
    pairs = neighbours(index)
    pairs = pairs[~np.isin(pairs, lone).any(axis=1)]
    solved = solve(index, edges(truth, pairs, 0.05))
    stage = np.linalg.norm(truth - np.median(truth[solved.held], axis=0), axis=1)
    assert (errors_of(solved, truth)[lone] < stage[lone] + 3).all()


def test_what_is_learnt_brings_hardly_a_tile_further_off():
    """Over stages of every mixture of backlash and chance: fewer than one tile in thirty by more than 0.1 voxel."""
    index = grid(4, 5)
    lone = np.array([0, 4, 7, 15])
    pairs = neighbours(index)
    pairs = pairs[~np.isin(pairs, lone).any(axis=1)]
    further, gained = [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        truth = np.clip(rng.normal(size=(20, 3)), -2, 2) * rng.uniform(0.3, 4)
        truth[:, 2] += rng.uniform(0, 8) * (index[:, 1] % 2)
        solved = solve(index, edges(truth, pairs, 0.05))
        stage = np.linalg.norm(truth - np.median(truth[solved.held], axis=0), axis=1)[lone]
        further.append(errors_of(solved, truth)[lone] - stage)
        gained.append(stage.mean())
    assert (np.array(further) > 0.1).mean() < 1 / 30
    assert np.mean(further) < -0.03 * np.mean(gained)


def test_components_are_numbered_by_size_and_placed_by_the_stage():
    index = grid(4, 8)
    truth = np.random.default_rng(4).normal(0, 0.5, (32, 3))
    pairs = neighbours(index)
    left = index[:, 2] < 5
    pairs = pairs[left[pairs[:, 0]] == left[pairs[:, 1]]]
    solved = solve(index, edges(truth, pairs, 0.02))
    assert (solved.components == np.where(left, 0, 1)).all()
    assert errors_of(solved, truth).max() < 1.5


def test_an_axis_without_measure_stays_at_the_stage():
    index = grid(4, 4)
    truth = np.random.default_rng(5).normal(0, 2, (16, 3))
    given = edges(truth, neighbours(index), 0.05)
    given.errors[:, 0] = np.inf
    given.shifts[:, 0] = 50
    solved = solve(index, given)
    assert np.abs(solved.displacements[:, 0]).max() < 1e-6 and solved.used.all()


def test_without_edges_nothing_moves():
    index = grid(3, 3)
    solved = solve(index, ShiftEdges(np.zeros((0, 2), int), np.zeros((0, 3)), np.zeros((0, 3))))
    assert not solved.held.any() and not solved.displacements.any()
    assert sorted(solved.components) == list(range(9))


def test_what_is_learnt_of_chance_leaves_no_tile_further_off():
    """Over many stages whose errors are chance, tiles without edges lie as near as the stage has them."""
    index = grid(4, 6)
    regressors = Regressors.of(index * STEP, index, None)
    lone = np.isin(np.arange(24), [0, 5, 14, 18])
    stage, learnt = [], []
    for seed in range(60):
        errors = np.random.default_rng(seed).normal(0, 3, 24)
        found = learn_errors(regressors, errors, ~lone, np.zeros(24, int), 0.25)
        centre = errors[~lone].mean()
        stage.append(np.abs(errors - centre)[lone])
        learnt.append(np.abs(errors - found.predicted)[lone])
    assert np.mean(learnt) < 1.01 * np.mean(stage)
