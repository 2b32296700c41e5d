"""The blocks in which the remaining error is measured, and the errors of the others from the measured ones near them.

Measuring an error takes most of the time of a deformation. So of many blocks a share is measured, spread evenly. In
the others the error is the mean of the measured ones nearest to it, changed as much as the noise differs: by how far
the residual of the deformation misplaces a single voxel.

The errors of neighbours are averaged as logarithms, with weights that fall with the square of the distance (Shepard
1968): an error that is measured on one imitation scatters by a quarter, and the mean of some scatters less.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from teralign.grids import Bools, Floats

EVERY = 8
"""Of so many blocks one is measured; docs/decisions/2026-11-28-errors-of-some-blocks.md."""
LEAST = 8
"""Blocks that are measured at least: some seconds, and a mean that one of them does not decide."""
_NEAREST = 8  # measured blocks, about those around a block in a run that is large
_STEPS = (
    0.8191725133961645,
    0.6710436067037893,
    0.5497004779019703,
)  # of the sequence R3: any prefix is spread evenly


def choose_blocks(index: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows of the blocks at `index` (n, 3) to be measured, spread evenly over them and always the same."""
    count = min(len(index), max(LEAST, math.ceil(len(index) / EVERY)))
    places = (index * np.array(_STEPS)).sum(axis=1) % 1.0
    return np.sort(np.argsort(places, kind="stable")[:count])


def spread_errors(places: Floats, noise: Floats, errors: Floats) -> Floats:
    """Return the errors (n,) in µm of blocks at `places` (n, 3) µm, some of them measured.

    `noise` (n,) is how far the residual misplaces a voxel, in µm, and `errors` (n,) are NaN where they were not
    measured. Measured errors stay as they are; all are NaN where none was. Noise that is not known changes nothing.
    """
    known: Bools = np.isfinite(errors) & (errors > 0)
    if known.all() or not known.any():
        return errors.copy()
    distance, rows = cKDTree(places[known]).query(places[~known], k=min(_NEAREST, int(known.sum())))
    distance, rows = (a.reshape(int((~known).sum()), -1) for a in (distance, rows))
    weights = 1 / (np.square(distance) + np.finfo(np.float64).tiny)
    weights /= weights.sum(axis=1, keepdims=True)
    usable = np.isfinite(noise) & (noise > 0)
    level = np.log(np.where(usable, noise, 1.0))
    gain = np.where(usable[~known][:, None] & usable[known][rows], level[~known][:, None] - level[known][rows], 0.0)
    result = errors.copy()
    result[~known] = np.exp((weights * (np.log(errors[known])[rows] + gain)).sum(axis=1))
    return np.asarray(result)
