"""Slices of tiles that are shifted against one another: found in overlaps, solved, and put back."""

from __future__ import annotations

import numpy as np
import pytest

from stitching.bent import SHAPE
from stitching.test_refine_tiles import COMPUTE, fused, solved_scan
from teralign.grids import Region
from teralign.stitching.refinement import read_refinement
from teralign.stitching.straighten import straightened
from teralign.stitching.wobble import SliceShifts, solve_wobble
from teralign.tasks.refine_tiles import refine_tiles


def told(wobble: np.ndarray, error: float, seed: int = 0) -> list[SliceShifts]:
    """What the pairs of a square of 3 × 3 tiles of slices (9, nz, 2) tell, the second of each two slices later."""
    rng, count = np.random.default_rng(seed), wobble.shape[1]
    pairs = []
    for a in range(9):
        for b in (*([a + 1] if a % 3 < 2 else []), *([a + 3] if a < 6 else [])):
            slices = np.flatnonzero(rng.random(count - 2) < 0.8)
            shifts = wobble[b, slices + 2] - wobble[a, slices] + error * rng.normal(size=(len(slices), 2))
            shifts[rng.random(len(slices)) < 0.05] += 5
            pairs.append(
                SliceShifts(
                    a * count + slices, b * count + slices + 2, shifts - np.median(shifts, axis=0), 0 * shifts + error
                )
            )
    return pairs


def test_wobble_is_solved_from_all_pairs_and_wrong_slices_do_not_count():
    wobble = np.random.default_rng(1).normal(size=(9, 80, 2)) * (1.2, 0.0)
    found = solve_wobble(told(wobble, 0.15), 9 * 80).reshape(9, 80, 2)
    first = [2 * (t // 3 + t % 3) for t in range(9)]  # slices that lie at one place of the tissue
    left = np.array([(found - wobble)[t, k : k + 72, 0] for t, k in enumerate(first)])
    left -= np.median(left, axis=1, keepdims=True)  # of which positions take care
    left -= np.median(left, axis=0)  # what all tiles share, no overlap tells
    assert np.median(np.abs(left)) < 0.25 and np.median(np.abs(wobble[..., 0])) > 0.7
    assert not found[..., 1].any(), "an axis that does not wobble is left"


def test_slices_that_scatter_by_their_errors_are_left():
    assert not solve_wobble(told(np.zeros((9, 80, 2)), 0.2), 9 * 80).any()
    assert not solve_wobble([], 20).any()


def wave(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 1000 + 300 * np.sin(y / 3 + z) * np.cos(x / 4)


def test_slices_are_put_back_as_they_are_read():
    wobble = np.random.default_rng(0).uniform(-2.5, 2.5, (6, 2))
    z, y, x = np.indices((6, 30, 40)).astype(float)
    stored = wave(z, y + wobble[:, :1, None], x + wobble[:, 1:, None]).astype(np.float32)
    region = Region((1, 0, 5), (5, 20, 40))
    found = straightened(lambda part: stored[part.slices], region, stored.shape, wobble)
    inner = np.s_[:, 5:, :-5]  # beyond faces the last voxels are repeated
    assert np.abs(found - wave(z, y, x)[region.slices])[inner].max() < 3
    whole = straightened(lambda part: stored[part.slices], Region.whole(stored.shape), stored.shape, wobble)
    assert np.array_equal(whole[region.slices], found)


@pytest.fixture(scope="module")
def wobbling(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wobbling")
    tiles, _, wobble = solved_scan(folder, 0.0, seed=4, wobble=1.0)
    files = folder / "solved.json", folder / "pairs.json", folder / "refinement"
    return folder, tiles, wobble, refine_tiles(*files, wobble=True, compute=COMPUTE)


def test_slices_of_two_tiles_come_to_agree(wobbling):
    folder, tiles, wobble, found = wobbling
    assert found.wobbling == 2
    stored = np.load(folder / "refinement" / "wobble.npy").reshape(2, SHAPE[0], 2)
    apart = wobble["t01"] - wobble["t00"]
    left = apart - (stored[1] - stored[0])
    before, after = (np.median(np.linalg.norm(d - np.median(d, axis=0), axis=1)) for d in (apart, left))
    assert after < 0.25 < 1.0 < before
    plain = fused(folder, tiles, None, (64, 64, 64))
    straight = fused(folder, tiles, read_refinement(folder / "refinement", tiles), (64, 64, 64))
    seam = np.s_[3:-3, 6:-6, SHAPE[2] - 20 : SHAPE[2] - 8]
    assert straight[seam].std() > 1.02 * plain[seam].std()
    assert np.array_equal(plain == 0, straight == 0)
