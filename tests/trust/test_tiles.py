"""The error of stitched positions is told from loops, and the verdict separates what stitched from what did not."""

import numpy as np
import pytest

from teralign.trust import Overlaps, StitchingFacts, Verdict, judge_tiles, position_errors

SPACING = (1.0, 0.5, 0.5)


def lattice(rows, columns):
    """The edges (e, 2) between neighbours of a grid of tiles."""
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1)
    down = np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1)
    return np.concatenate([across, down])


def solved(edges, count, sigma, seed):
    """The errors (n, 3) of positions solved from edges that are off by `sigma` voxels, and the residuals."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((len(edges), count))
    matrix[np.arange(len(edges)), edges[:, 1]] = 1
    matrix[np.arange(len(edges)), edges[:, 0]] = -1
    off = rng.normal(size=(len(edges), 3)) * sigma * np.array(SPACING)
    found = np.linalg.lstsq(matrix, off, rcond=None)[0]
    return found - found.mean(axis=0), matrix @ found - off


@pytest.mark.parametrize(("rows", "columns", "sigma"), [(4, 4, 0.1), (8, 8, 0.4), (3, 12, 1.5)])
def test_estimated_errors_are_the_true_ones(rows, columns, sigma):
    count, edges = rows * columns, lattice(rows, columns)
    ratios = []
    for seed in range(6):
        true, residuals = solved(edges, count, sigma, seed)
        found = position_errors(count, edges, residuals, np.full((len(edges), 3), (0.3 / sigma) ** 2), SPACING)
        ratios.append(np.sqrt(np.mean(np.sum(true**2, axis=1))) / np.sqrt(np.mean(found**2)))
    assert 0.6 < np.median(ratios) < 1.4


def test_edges_without_a_loop_tell_nothing():
    edges = np.array([(0, 1), (1, 2), (2, 3)])
    found = position_errors(4, edges, np.zeros((3, 3)), np.ones((3, 3)), SPACING)
    assert np.isnan(found).all()
    assert np.isnan(position_errors(4, edges[:0], np.zeros((0, 3)), np.ones((0, 3)), SPACING)).all()


def test_a_tile_that_no_edge_holds_has_no_error_and_the_rest_has():
    edges = lattice(3, 3)
    found = position_errors(10, edges, np.zeros((len(edges), 3)), np.ones((len(edges), 3)), SPACING)
    assert np.isnan(found[9]) and np.isfinite(found[:9]).all()


def test_ten_thousand_tiles_take_a_moment():
    edges = lattice(100, 100)
    rng = np.random.default_rng(0)
    found = position_errors(10_000, edges, 0.05 * rng.normal(size=(len(edges), 3)), np.ones((len(edges), 3)), SPACING)
    assert np.isfinite(found).all()


def facts(**changes):
    """What a good stitching of 4 x 4 tiles has, with changes."""
    given = {
        "overlaps": Overlaps(confirmed=38, removed=1, not_found=3, without_content=0),
        "tiles": 16,
        "held": 16,
        "components": 1,
        "directions": {"z": (0, 0), "y": (12, 12), "x": (11, 12)},
        "errors": np.full(16, 0.05),
        "voxel": 0.5,
        "before": 0.4,
        "after": 0.9,
    }
    return StitchingFacts(**(given | changes))


def test_a_good_stitching_has_no_reasons_and_an_error():
    found = judge_tiles(facts())
    assert found.verdict is Verdict.GOOD and not found.reasons and not found.advice
    assert found.error_um.median == pytest.approx(0.05) and (found.confirmed, found.examined) == (38, 42)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"overlaps": Overlaps(9, 2, 31, 0)}, Verdict.BAD, "only 9 of 42"),
        ({"directions": {"z": (0, 0), "y": (12, 12), "x": (1, 12)}}, Verdict.BAD, "neighbours along x"),
        ({"overlaps": Overlaps(25, 0, 17, 0)}, Verdict.DOUBTFUL, "only 25 of 42"),
        ({"overlaps": Overlaps(0, 0, 0, 42)}, Verdict.UNKNOWN, "no overlap shows enough"),
        ({"held": 14}, Verdict.DOUBTFUL, "2 of 16 tiles"),
        ({"overlaps": Overlaps(34, 8, 0, 0)}, Verdict.DOUBTFUL, "8 of 42 shifts"),
        ({"errors": np.full(16, 0.8)}, Verdict.DOUBTFUL, "off by 1.6 voxels"),
        ({"errors": np.full(16, 2.0)}, Verdict.BAD, "off by 4 voxels"),
        ({"errors": np.full(16, np.nan)}, Verdict.DOUBTFUL, "no loop"),
        ({"before": 0.9, "after": 0.8}, Verdict.BAD, "less alike"),
    ],
)
def test_each_fault_has_its_verdict_and_its_reason(changes, verdict, reason):
    found = judge_tiles(facts(**changes))
    assert found.verdict is verdict
    assert reason.lower() in " ".join(found.reasons).lower()
    assert found.sentence.startswith(verdict.value.capitalize())


def test_tiles_that_lie_elsewhere_get_advice():
    (advice,) = judge_tiles(facts(overlaps=Overlaps(9, 2, 31, 0))).advice
    assert "order" in advice.sentence and "mirrored" in advice.sentence


def test_tiles_of_one_plane_have_no_error_along_z():
    edges = lattice(4, 4)
    _, residuals = solved(edges, 16, 0.3, 0)
    weights = np.ones((len(edges), 3)) * (0, 1, 1)
    assert np.isnan(position_errors(16, edges, residuals, weights, SPACING)).all()
    assert (position_errors(16, edges, residuals, weights, SPACING, axes=(1, 2)) < 0.5).all()
