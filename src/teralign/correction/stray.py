"""Light that is added to a plane, not multiplied with it: the pattern of blank blocks that no gain explains.

Stray light and glowing glass lie on top of what the gain makes of the tissue: raw = gain · tissue + added. Blank
blocks, which are alike in all planes, then show another pattern than tissue. Subtracting what is blank leaves the
gain times the tissue's excess over blank, so that the gain comes from tissue alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teralign.correction.shading_fit import ShadingFit, fit_shading, polynomials
from teralign.grids import Bools, Floats

_BLANK = 15.0  # per cent of the planes that must be blank at a place: its level is looked for here
_LEAST_BLANK = 0.2  # of the blocks, in all
_LEAST_TISSUE = 0.1  # of the blocks, without which blank ones are all there is
_SCATTER = 0.15  # of the height of blank blocks: more, and they are not blank
_PLANES = 4  # that must show tissue at every place
_WIDE = 4.0  # standard deviations of blank blocks
_TISSUE = 2.0  # times the height of blank blocks above the dark level: tissue is brighter
_DISAGREEMENT = 0.08  # rms of what a gain leaves of blank blocks, as a share of their height above the dark level
_SURE = 3.0  # standard errors of the gain, which it must be more than


@dataclass(frozen=True)
class AddedLight:
    """The blocks' added light (y, x) beside a level that is the same everywhere, and the gain from tissue alone.

    `coefficients` are those of the polynomials of the added light, constant first, in counts.
    """

    coefficients: Floats
    fit: ShadingFit

    def pattern(self, shape: tuple[int, int]) -> Floats:
        """Return the added light (y, x) for planes of this shape, of mean 0, in counts."""
        blank = (polynomials(shape) @ self.coefficients[1:]).reshape(shape) + self.coefficients[0]
        height = float(blank.mean()) - self.fit.dark
        added: Floats = blank - height * self.fit.gain(shape)
        return np.asarray(added - added.mean(), float)


def added_light(blocks: NDArray[np.float32], noise: float, whole: ShadingFit) -> AddedLight | None:
    """Return the added light in the means of blocks (planes, y, x), or None where one gain explains them all.

    `whole` is the fit without it. Its dark level is kept: blank blocks get the light that they have above it.
    """
    blank, scatter = _blank_blocks(blocks, noise)
    if blank.mean() < _LEAST_BLANK:
        return None
    shape = (blocks.shape[1], blocks.shape[2])
    level = np.nanmedian(np.where(blank, blocks, np.nan), axis=0)
    terms = np.column_stack([np.ones(level.size), polynomials(shape)])
    weight = np.sqrt(blank.sum(axis=0).ravel())
    known = np.isfinite(level.ravel()) & (weight > 0)
    coefficients = np.linalg.lstsq(
        terms[known] * weight[known, None], level.ravel()[known] * weight[known], rcond=1e-6
    )[0]
    excess = blocks - (terms @ coefficients).reshape(shape).astype(np.float32)
    height = float(np.nanmedian(level)) - whole.dark
    tissue = excess > _TISSUE * height
    if scatter > _SCATTER * height or tissue.mean() < _LEAST_TISSUE or tissue.sum(axis=0).min() < _PLANES:
        return None
    fit = fit_shading(excess, scatter, 0.0, _TISSUE * height)
    # without added light, blank blocks are a dark level and a multiple of the gain
    known_light = np.column_stack([np.ones(level.size), fit.gain(shape).ravel()])
    blank_light = terms @ coefficients
    rest = blank_light - known_light @ np.linalg.lstsq(known_light, blank_light, rcond=1e-6)[0]
    if rest.std() < max(_DISAGREEMENT, _SURE * fit.error) * height:
        return None
    return AddedLight(coefficients, ShadingFit(fit.coefficients, whole.dark, fit.error, whole.dark_error))


def _blank_blocks(blocks: NDArray[np.float32], noise: float) -> tuple[Bools, float]:
    """Return which blocks (planes, y, x) are as dim as the dimmest at their place, and the scatter of those."""
    level = np.nanpercentile(blocks, _BLANK, axis=0)
    below = blocks - level
    scatter = max(noise, 1.4826 * float(np.nanmedian(-below[below < 0])))
    for _ in range(3):
        blank = np.abs(blocks - level) < _WIDE * scatter
        level = np.nanmedian(np.where(blank, blocks, np.nan), axis=0)
        scatter = max(noise, 1.4826 * float(np.median(np.abs((blocks - level)[blank]))))
    return np.abs(blocks - level) < _WIDE * scatter, scatter
