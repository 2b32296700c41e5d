"""An estimate of the error that a deformation leaves, in µm, in cubes of the fixed image.

The true map is not known, but others can be found: here two, between the images at half the resolution, an eighth of
the voxels, from the same start. One maps fixed to moving points as the deformation does, the other, with the roles
exchanged, back. Where all agree, little is left to find. Four numbers are combined, as lengths in voxels (the edge of
a cube of a voxel's volume); the first belongs to a cube, the others to all cubes around it:

    h   the distance of the deformation from the coarse one, root mean square
    f   what is left of a way forth by the deformation and back by the coarse one, the median of the cubes
    c   what is left of a way forth and back by the coarse ones, the median of the cubes
    s   σ_residual / |∇f|: how far the residual of the full images misplaces a single voxel

    error = A · h^P · f^Q / c^R · s^S

h sees detail too fine to follow, and residuals that are no noise (blur, stripes, saturation). f over c says which of
the two differs from the way back: where the coarse ones agree with each other only (c far below f), the fine one
is wrong, else the coarse one. s adds noise, which h sees too little of, since both share it. The constants are those
of pairs with a known map; see docs/decisions/2026-11-28-remaining-error.md.
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
FACTOR = 1.6
"""The true error of 80 % of cubes is within this factor of the estimate, on pairs with known maps."""
ERROR_MARGIN = 8
"""Voxels around the cubes that the coarse deformations see: half a window."""
_FLOOR, _FLOOR_VOXELS = 0.1, 0.05  # µm, and voxels: smaller errors are not told apart
_SCALE, _DISTANCE, _BACK, _COARSE, _NOISE = 0.42, 0.65, 1.56, 1.70, 0.62  # A, P, Q, R and S
# f over c at most: on made pairs it is 0.5 to 2, and without bound where neither coarse deformation left its start.
_MOST_APART = 2.0
_COARSE_NOISE = 3.3  # times s of the images at half the resolution, where that of the full ones is not known
_STRIDE = 2  # voxels at half the resolution between the points that are compared
_LEAST = 0.25  # share of a cube's points that both images must show
_LEAST_LENGTH, _MOST_LENGTH = 0.01, 100.0  # voxels: lengths beyond say nothing more


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
    from teralign.registration.deform import coarse_deformations

    half = 2 * min(fixed.grid.spacing)
    small, other = fixed.downsample_to(half).finite(), moving.downsample_to(half).finite()
    nodes = small.grid.nodes((_STRIDE,) * 3)
    coarse = coarse_deformations(small, other, config, start, nodes, threads=threads)
    if coarse is None:
        return np.full(region.shape, np.nan, np.float32)
    points, edge = node_positions(nodes), _edge(fixed.grid)
    ends = found.map_points(points, threads=threads)
    known = small.sample(points)[1] & other.sample(start.map_points(ends, threads=threads))[1]
    coarse_ends = points + coarse.forth.values.reshape(-1, 3)
    misses = (
        ends - coarse_ends,
        coarse.back.map_points(ends, threads=threads) - points,
        coarse.back.map_points(coarse_ends, threads=threads) - points,
    )
    lengths = [np.sqrt(_means_in_cubes(points, np.square(miss).sum(axis=1), known, cubes, nodes)) for miss in misses]
    noise = coarse.voxel_error / _COARSE_NOISE if voxel_error is None else voxel_error
    error = edge * _combine(*(length / edge for length in lengths), noise=noise / edge)
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
    field = deform_further(fixed, moving, transform, nodes, threads=threads)
    if field is None:
        return np.full(cubes.shape, np.nan, np.float32)
    points = node_positions(nodes)
    known = fixed.sample(points)[1] & moving.sample(transform.map_points(points, threads=threads))[1]
    squares = np.square(field.values.reshape(-1, 3)).sum(axis=1, dtype=np.float64)
    return _cropped(np.sqrt(_means_in_cubes(points, squares, known, cubes, nodes)), cubes, cubes.region, points)


def _combine(distance: Floats, back: Floats, coarse: Floats, *, noise: float) -> Floats:
    """Return the errors of cubes in voxels, from h, f, c (NaN where they are not known) and s in voxels."""
    if not np.isfinite(distance).any():
        return distance

    def within(length: Floats | float) -> Floats:
        return np.clip(length, _LEAST_LENGTH, _MOST_LENGTH)

    way_back = within(float(np.nanmedian(back)))
    way_of_both = np.maximum(within(float(np.nanmedian(coarse))), way_back / _MOST_APART)
    around = way_back**_BACK / way_of_both**_COARSE
    error: Floats = _SCALE * within(distance) ** _DISTANCE * around * within(noise) ** _NOISE
    return error


def _means_in_cubes(points: Floats, values: Floats, known: Bools, cubes: Grid, nodes: Grid) -> Floats:
    """Return the means of `values` (n,) of the known points (n, 3) in each cube near them; NaN with too few."""
    index, first, shape = _cube_of(points, cubes)
    flat = np.ravel_multi_index(tuple((index - first).T), shape)
    size = math.prod(shape)
    counts = np.bincount(flat[known], minlength=size)
    sums = np.bincount(flat[known], values[known], minlength=size)
    whole = math.prod(c / n for c, n in zip(cubes.spacing, nodes.spacing, strict=True))
    # A cube at a face of the images holds fewer points.
    enough = counts >= max(1.0, _LEAST * min(whole, float(np.bincount(flat, minlength=size).max())))
    means: Floats = np.where(enough, sums / np.maximum(counts, 1), np.nan).reshape(shape)
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
