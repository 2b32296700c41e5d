"""An estimate of the error that a deformation leaves, in µm, in cubes of the fixed image.

The true map is not known, but others can be found: two, between the images at half the resolution, an eighth of the
voxels. One continues from the deformation, the other begins where the deformation began. Three lengths are combined:

    l   how far the first still moves a cube: root mean square; what stands out of the fixed image counts most
    h   the distance of the second from the deformation, likewise
    s   σ_residual / |∇f|: how far the residual of the full images misplaces a single voxel, of edge e

    error = the larger of A · l + K · s and B · h · min(1, s / e)^Q

l sees what the deformation has not reached, s what noise hides from both. Neither sees what is wrong in both alike:
blur, stripes and saturation, which lead to other places from other starts, as h shows. But h is also large where the
second cannot follow fine detail; there the residual is small, and h counts little. The constants are those of pairs
with a known map; see docs/decisions/2026-11-28-remaining-error.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from teralign.grids import Bools, Floats, Grid, Region, Triple, as_float_triple, as_triple
from teralign.registration import DeformConfig, Image, StepReport
from teralign.registration.image import Volume32
from teralign.transforms import Stack, node_positions

CUBE = 32
"""Voxels along the edge of a cube: some cells. Smaller cubes have errors of their own that no estimate follows."""
FACTOR = 1.9
"""The true error of 80 % of cubes is within this factor of the estimate, on pairs with known maps."""
ERROR_MARGIN = 8
"""Voxels around the cubes that the coarse deformations see: half a window."""
_FLOOR, _FLOOR_VOXELS = 0.1, 0.05  # µm, and voxels: smaller errors are not told apart
_LEFT, _NOISE = 1.3, 0.05  # A and K
_APART, _MISMATCH = 1.6, 1.25  # B and Q
_MOST_NOISE = 10.0  # voxels: a larger s says nothing more
_USUAL_NOISE = 0.5  # voxels: s where it is not known
_COARSER = 2  # times the voxels of the images are those that are compared again
_STRIDE = 2  # voxels at half the resolution between the points that are compared
_LEAST = 0.25  # share of a cube's points that both images must show


def cubes_over(grid: Grid) -> Grid:
    """Return the grid of cubes of about `CUBE` voxels that cover `grid`; the last along an axis may reach beyond."""
    factors = _voxels_of_cubes(grid)
    return Grid(
        as_triple(-(-n // f) for n, f in zip(grid.shape, factors, strict=True)),
        as_float_triple(d * f for d, f in zip(grid.spacing, factors, strict=True)),
        as_float_triple(grid.to_physical([(f - 1) / 2 for f in factors])),
    )


def cubes_in(grid: Grid, core: Region) -> Region:
    """Return the cubes of `grid` whose middle voxel lies in `core`: cores that tile the grid share out all cubes."""
    spans = []
    for f, n, a, b in zip(_voxels_of_cubes(grid), grid.shape, core.start, core.stop, strict=True):
        middles = np.minimum(np.arange(-(-n // f)) * f + f // 2, n - 1)
        spans.append((int(np.searchsorted(middles, a)), int(np.searchsorted(middles, b))))
    (z, z_end), (y, y_end), (x, x_end) = spans
    return Region((z, y, x), (z_end, y_end, x_end))


def _voxels_of_cubes(grid: Grid) -> Triple:
    return grid.factors_to(CUBE * _edge(grid))


def _edge(grid: Grid) -> float:
    """Return the edge in µm of a cube of a voxel's volume."""
    return math.cbrt(math.prod(grid.spacing))


def floor_of(grid: Grid) -> float:
    """Return the error in µm below which estimates on the voxels of `grid` are not told apart."""
    return max(_FLOOR, _FLOOR_VOXELS * _edge(grid))


def voxel_error_of(reports: Sequence[StepReport]) -> float | None:
    """Return s in µm as the last deformation of some steps reports it; None if none does."""
    values = (report.details.get("voxel_error_um") for report in reversed(reports))
    return next((float(value) for value in values if value is not None), None)


def estimate_errors(
    fixed: Image,
    moving: Image,
    *,
    start: Stack,
    found: Stack,
    config: DeformConfig,
    voxel_error: float | None,
    cubes: Grid,
    region: Region,
    threads: int = 1,
) -> Volume32:
    """Return the estimated errors (z, y, x) in µm, root mean squares over the cubes `region` of `cubes`.

    The images are those between which `found` was, x_moving = start(found(x)), the fixed one as far as `ERROR_MARGIN`
    voxels around the cubes at least. `config` is that of the deformation, and `voxel_error` its s in µm, if known.
    NaN where the images do not show enough to tell. The number of threads does not change the result.
    """
    from teralign.registration.deform import deform_further

    spacing, whole, edge = _COARSER * min(fixed.grid.spacing), start @ found, _edge(fixed.grid)
    small, other = fixed.downsample_to(spacing).finite(), moving.downsample_to(spacing).finite()
    plain = config.model_copy(update={"metric": None, "engine": "gauss_newton", "iterations": None})
    nodes = small.grid.nodes((_STRIDE,) * 3)
    # Even if worse: where a field is kept, nothing was compared.
    further, afresh = (
        deform_further(small, other, begin, plain.at_stage(_COARSER), nodes, even_if_worse=True, threads=threads)
        for begin in (whole, start)
    )
    if further is None or afresh is None:
        return np.full(region.shape, np.nan, np.float32)
    points = node_positions(nodes)
    ends = found.map_points(points, threads=threads)
    values, shown = small.sample(points)
    known = shown & other.sample(start.map_points(ends, threads=threads))[1]
    weights = _foreground(values, known)
    left, apart = (
        np.sqrt(_means_in_cubes(points, np.square(miss).sum(axis=1), known, cubes, nodes, weights))
        for miss in (further.values.reshape(-1, 3), ends - points - afresh.values.reshape(-1, 3))
    )
    error = _combine(left, apart, _USUAL_NOISE * edge if voxel_error is None else voxel_error, edge)
    return _cropped(np.maximum(error, floor_of(fixed.grid)), cubes, region, points)


def displacements_in_cubes(
    fixed: Image, moving: Image, transform: Stack, cubes: Grid, *, threads: int = 1
) -> Volume32:
    """Return by how many µm the default deformation would still move the cubes (z, y, x), after `transform`.

    NaN where the images do not show enough to tell.
    """
    from teralign.registration.deform import deform_further

    fixed, moving = fixed.finite(), moving.finite()
    nodes = fixed.grid.nodes((2 * _STRIDE,) * 3)
    field = deform_further(fixed, moving, transform, DeformConfig(), nodes, threads=threads)
    if field is None:
        return np.full(cubes.shape, np.nan, np.float32)
    points = node_positions(nodes)
    known = fixed.sample(points)[1] & moving.sample(transform.map_points(points, threads=threads))[1]
    squares = np.square(field.values.reshape(-1, 3)).sum(axis=1, dtype=np.float64)
    return _cropped(np.sqrt(_means_in_cubes(points, squares, known, cubes, nodes)), cubes, cubes.region, points)


def _combine(left: Floats, apart: Floats, noise: float, edge: float) -> Floats:
    """Return the errors of cubes in µm, from l, h (NaN where they are not known) and s in µm."""
    unlike = min(1.0, noise / edge) ** _MISMATCH
    error: Floats = np.maximum(_LEFT * left + _NOISE * min(noise, _MOST_NOISE * edge), _APART * unlike * apart)
    return error


def _foreground(values: Volume32, known: Bools) -> Floats:
    """Return weights of points by how far their values lie from the median of those that are known."""
    middle = float(np.median(values[known])) if known.any() else 0.0
    weights = np.abs(values.astype(np.float64) - middle)
    return np.asarray(weights + 0.01 * weights.mean() + np.finfo(np.float32).tiny)


def _means_in_cubes(
    points: Floats, values: Floats, known: Bools, cubes: Grid, nodes: Grid, weights: Floats | None = None
) -> Floats:
    """Return the means of `values` (n,) of the known points (n, 3) in each cube near them; NaN with too few."""
    index, first, shape = _cube_of(points, cubes)
    flat = np.ravel_multi_index(tuple((index - first).T), shape)
    size = math.prod(shape)
    counts = np.bincount(flat[known], minlength=size)
    weights = np.ones(len(values)) if weights is None else weights
    sums = np.bincount(flat[known], (weights * values)[known], minlength=size)
    totals = np.bincount(flat[known], weights[known], minlength=size)
    whole = math.prod(c / n for c, n in zip(cubes.spacing, nodes.spacing, strict=True))
    # A cube at a face of the images holds fewer points.
    enough = counts >= max(1.0, _LEAST * min(whole, float(np.bincount(flat, minlength=size).max())))
    means: Floats = np.where(enough, sums / np.where(enough, totals, 1), np.nan).reshape(shape)
    return means


def _cube_of(points: Floats, cubes: Grid) -> tuple[Floats, Floats, Triple]:
    """Return the indices (n, 3) of the cubes of points, the smallest index (3,), and the shape they span."""
    index = np.floor(cubes.to_index(points) + 0.5).astype(int)
    index = np.clip(index, 0, np.array(cubes.shape) - 1)
    first = index.min(axis=0)
    return index, first, as_triple(index.max(axis=0) - first + 1)


def _cropped(errors: Floats, cubes: Grid, region: Region, points: Floats) -> Volume32:
    """Return the errors of the cubes `region`, NaN for those without points."""
    _, first, shape = _cube_of(points, cubes)
    own = Region(as_triple(first), as_triple(first + np.array(shape)))
    part = own.intersect(region)
    result = np.full(region.shape, np.nan, np.float32)
    if part.size:
        result[part.relative_to(region).slices] = errors[part.relative_to(own).slices]
    return result
