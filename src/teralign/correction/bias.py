"""The slow change of brightness over a whole volume: found by N4, and taken out at full resolution.

N4 (Tustison et al., IEEE Trans. Med. Imaging 2010) sees the volume at a coarse scale. Its field is kept on that grid,
in µm, and interpolated linearly along each axis; beyond the outermost centres of coarse voxels, where half a coarse
voxel of the volume lies, the outermost slope goes on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teralign.compiling import compiled_fast
from teralign.errors import InputError
from teralign.grids import Bools, FloatTriple, Grid, Region

_LEAST_CELLS = 4  # along an axis for N4, whose splines are cubic; thinner volumes are repeated
_ITERATIONS = (50, 50, 50, 50)  # at each finer grid of control points
_N4_CONVERGED = 1e-3
_LEAST_SHARE = 0.02  # of the volume that must be tissue
_TWO_CLASSES = 0.85  # share of the variance that is between two classes; 0.75 if all logs are equally frequent
_RANGE = (0.1, 10.0)  # of the gain: beyond it is noise where nothing is


def estimate_bias(volume: NDArray[np.float32], spacing: FloatTriple) -> NDArray[np.float32]:
    """Return the gain (z, y, x) that takes the bias out of a coarse volume: corrected = volume · gain.

    Its geometric mean over the tissue, the bright class where there are two, is 1. Voxels of 0 hold no data.
    Raises InputError when there is hardly any tissue.
    """
    import SimpleITK

    positive = np.isfinite(volume) & (volume > 0)
    if positive.mean() < _LEAST_SHARE:
        raise InputError("the bias cannot be estimated: hardly a voxel of the volume is above 0.")
    floor = float(np.percentile(volume[positive], 0.5))
    filled = np.maximum(np.nan_to_num(volume, nan=0.0), floor)
    tissue = _tissue(filled, positive)
    repeats = [-(-_LEAST_CELLS // n) for n in volume.shape]
    image, mask = (
        SimpleITK.GetImageFromArray(np.tile(array, repeats)) for array in (filled, tissue.astype(np.uint8))
    )
    for part in (image, mask):
        part.SetSpacing([float(size) for size in reversed(spacing)])
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.SetConvergenceThreshold(_N4_CONVERGED)
    n4.Execute(image, mask)
    log = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))[tuple(slice(n) for n in volume.shape)]
    gain = np.exp(log[tissue].mean() - log).clip(*_RANGE)
    return np.asarray(gain, np.float32)


def _tissue(volume: NDArray[np.float32], positive: Bools) -> Bools:
    """Return where the volume is tissue: above Otsu's threshold of the logs if they have two classes, else all of it.

    A volume that is tissue throughout must not be cut where the bias makes it dim.
    """
    logs = np.log(volume[positive])
    counts, edges = np.histogram(logs, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    low = np.cumsum(counts * centres) / np.maximum(below, 1)
    high = np.cumsum((counts * centres)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (low[:-1] - high[1:]) ** 2 / logs.size**2
    best = int(np.argmax(between))
    tissue: Bools = positive & (np.log(volume) > edges[best + 1])
    two = between[best] > _TWO_CLASSES * logs.var() and tissue.mean() >= _LEAST_SHARE
    return tissue if two else positive


def apply_bias(
    voxels: NDArray[np.generic], grid: Grid, region: Region, gain: NDArray[np.float32], coarse: Grid
) -> NDArray[np.float32]:
    """Return the voxels (z, y, x) of a region of `grid` times the gain, which lies on the grid `coarse`."""
    made = np.empty(voxels.shape, np.float32)
    z, y, x = (_places(grid, region, coarse, axis) for axis in range(3))
    _multiply(voxels, gain, *z, *y, *x, made)
    return made


def _places(grid: Grid, region: Region, coarse: Grid, axis: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return for the voxels of a region along an axis the coarse voxel below, and the share of the next one."""
    position = grid.origin[axis] + np.arange(region.start[axis], region.stop[axis]) * grid.spacing[axis]
    place = (position - coarse.origin[axis]) / coarse.spacing[axis]
    below = np.clip(np.floor(place), 0, max(coarse.shape[axis] - 2, 0)).astype(np.intp)
    share = np.clip(place - below, -0.5, 1.5) if coarse.shape[axis] > 1 else np.zeros(len(place))
    return below, share.astype(np.float32)


@compiled_fast
def _multiply(
    voxels: NDArray[np.generic],
    gain: NDArray[np.float32],
    z_below: NDArray[np.intp],
    z_share: NDArray[np.float32],
    y_below: NDArray[np.intp],
    y_share: NDArray[np.float32],
    x_below: NDArray[np.intp],
    x_share: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write voxels times the gain, interpolated linearly along each axis."""
    row = np.empty(gain.shape[2] + 1, np.float32)  # one more, so that a single coarse voxel has a next one
    for z in range(voxels.shape[0]):
        k = z_below[z]
        k_next = min(k + 1, gain.shape[0] - 1)
        for y in range(voxels.shape[1]):
            j = y_below[y]
            j_next = min(j + 1, gain.shape[1] - 1)
            for i in range(gain.shape[2]):
                near = gain[k, j, i] + y_share[y] * (gain[k, j_next, i] - gain[k, j, i])
                far = gain[k_next, j, i] + y_share[y] * (gain[k_next, j_next, i] - gain[k_next, j, i])
                row[i] = near + z_share[z] * (far - near)
            row[gain.shape[2]] = row[gain.shape[2] - 1]
            for x in range(voxels.shape[2]):
                i = x_below[x]
                out[z, y, x] = np.float32(voxels[z, y, x]) * (row[i] + x_share[x] * (row[i + 1] - row[i]))
