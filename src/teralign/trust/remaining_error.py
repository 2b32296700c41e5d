"""An estimate of the error that a deformation leaves, in µm, in cubes of the fixed image.

The true map is not known. Two lengths tell of it:

    e   the error of the same deformation on an imitation of the images, whose map is known (`imitation`), in a piece
        of a block: noise, blur, light and smoothing cost there what they cost here
    l   how far another deformation still moves a cube, from the one that was found on and between the images at half
        the resolution: root mean square; what stands out of the fixed image counts most

    error = the larger of A · e and B · l

An imitation does not know whether the deformation arrived: where it was given up, or spoilt, l is the larger. A
and B are those of pairs with a known map; see docs/decisions/2026-11-28-remaining-error.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from teralign.grids import Bools, Floats, Grid, Region, Triple, as_float_triple, as_triple
from teralign.registration import DeformConfig, Image
from teralign.registration.image import Volume32
from teralign.transforms import Stack, node_positions
from teralign.trust.imitation import measure_on_imitation

CUBE = 32
"""Voxels along the edge of a cube: some cells. Smaller cubes have errors of their own that no estimate follows."""
FACTOR = 1.5
"""The true error of 80 % of blocks is within this factor of the estimate, on pairs with known maps."""
ERROR_MARGIN = 8
"""Voxels around the cubes that the coarse deformation and the imitation see: half a window."""
_FLOOR, _FLOOR_VOXELS = 0.1, 0.05  # µm, and voxels: smaller errors are not told apart
_IMITATED = 1.05  # A: a piece has no faces, and what is imitated is never all
_LEFT = 0.8  # B: where parts are missing, l is too large
_PIECE = 48  # voxels along the edge of a piece that is imitated
_PART = 4  # cubes along the edge of what a piece stands for: a block of the usual size
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


def estimate_errors(
    fixed: Image,
    moving: Image,
    *,
    transform: Stack,
    config: DeformConfig,
    cubes: Grid,
    region: Region,
    threads: int = 1,
) -> Volume32:
    """Return the estimated errors (z, y, x) in µm, root mean squares over the cubes `region` of `cubes`.

    The images are those between which `transform` was found, the fixed one as far as `ERROR_MARGIN` voxels around the
    cubes at least. `config` is that of the deformation. NaN where the images do not show enough to tell. The number
    of threads does not change the result.
    """
    fixed, moving = fixed.finite(), moving.finite()
    left = _still_moved(fixed, moving, transform, config, cubes, region, threads)
    errors = np.full(region.shape, np.nan, np.float32)
    for part in _parts(region):
        here = part.relative_to(region).slices
        if np.isfinite(left[here]).any():
            piece = typical_piece(fixed, cubes.crop(part), edge=piece_edge(fixed.grid))
            level = _imitated_error(fixed, moving, piece, transform, config, threads)
            errors[here] = np.fmax(np.float32(_IMITATED * level), np.float32(_LEFT) * left[here])
    errors[~np.isfinite(left)] = np.nan
    return np.maximum(errors, np.float32(floor_of(fixed.grid)))


def error_of_piece(fixed: Image, moving: Image, piece: Region, transform: Stack, *, threads: int = 1) -> float:
    """Return the estimated error of a map whose steps are not known, in µm, in `piece` of a fixed image.

    It is what the default deformation would leave, or what it would still move. NaN where the images do not show
    enough to tell.
    """
    fixed, moving, whole = fixed.finite(), moving.finite(), fixed.grid.crop(piece)
    config = DeformConfig().with_window_for(_edge(fixed.grid))
    one = Grid((1, 1, 1), as_float_triple(whole.extent), as_float_triple(whole.centre))
    left = _still_moved(fixed, moving, transform, config, one, one.region, threads)
    if not np.isfinite(left).any():
        return math.nan
    level = _imitated_error(fixed, moving, piece, transform, config, threads)
    return float(np.fmax(_IMITATED * level, _LEFT * left.item()))


def _imitated_error(
    fixed: Image, moving: Image, piece: Region, transform: Stack, config: DeformConfig, threads: int
) -> float:
    """Return e in a piece, in µm: a root mean square, what stands out counts most; NaN where nothing is shown."""
    around = fixed.crop(piece.grow((ERROR_MARGIN,) * 3).intersect(fixed.grid.region))
    # All levels and steps: a block that was refined owes what it has to those before it.
    whole = config.model_copy(update={"shrink_factors": None, "iterations": None})
    measured = measure_on_imitation(around, moving, transform=transform, config=whole, threads=threads)
    if measured is None:
        return math.nan
    grid, points = fixed.grid.crop(piece), measured.points
    low, high = grid.to_physical((0, 0, 0)), grid.to_physical(np.array(grid.shape) - 1)
    known = measured.known & ((points >= low) & (points <= high)).all(axis=1)
    if not known.any():
        return math.nan
    weights = _foreground(around.sample(points)[0], known)
    return math.sqrt(float(np.average(measured.squares[known], weights=weights[known])))


def piece_edge(grid: Grid) -> float:
    """Return the edge in µm of the pieces of a volume that are imitated."""
    return _PIECE * _edge(grid)


def typical_piece(fixed: Image, within: Grid, *, edge: float) -> Region:
    """Return voxels of an image, `edge` µm an axis, in the box of the voxels of `within`.

    Half of what stands out of the image there lies in pieces that show less of it, and half in those that show more.
    """
    half = np.array(within.spacing) / 2
    low, high = within.to_physical((0, 0, 0)) - half, within.to_physical(np.array(within.shape) - 1) + half
    box = fixed.grid.touching(low, high)
    array = fixed.array[box.slices].astype(np.float32)
    lively = np.abs(array - np.median(array))
    if fixed.mask is not None:
        lively *= fixed.mask[box.slices]
    size = [min(n, f) for n, f in zip(box.shape, fixed.grid.factors_to(edge), strict=True)]
    sums = ndimage.uniform_filter(lively, size, mode="constant")
    # A box of n voxels around voxel i begins at i − n // 2.
    inside = sums[tuple(slice(n // 2, n // 2 + have - n + 1) for n, have in zip(size, box.shape, strict=True))]
    order = np.argsort(inside, axis=None, kind="stable")
    shares = np.cumsum(np.maximum(inside.ravel()[order], 0), dtype=np.float64)
    middle = order[min(int(np.searchsorted(shares, shares[-1] / 2)), order.size - 1)]
    corner = np.unravel_index(int(middle), inside.shape)
    start = [a + int(c) for a, c in zip(box.start, corner, strict=True)]
    return Region(as_triple(start), as_triple(a + n for a, n in zip(start, size, strict=True)))


def _parts(region: Region) -> Iterator[Region]:
    """Yield parts of about `_PART` cubes an axis, as even as can be."""
    size = as_triple(-(-n // max(1, round(n / _PART))) for n in region.shape)
    for part in Region.whole(region.shape).split(size) if region.size else ():
        corners = ([a + n for a, n in zip(region.start, end, strict=True)] for end in (part.start, part.stop))
        yield Region(*map(as_triple, corners))


def _still_moved(
    fixed: Image, moving: Image, whole: Stack, config: DeformConfig, cubes: Grid, region: Region, threads: int
) -> Volume32:
    """Return l in the cubes `region`, in µm; NaN where the images do not show enough to tell."""
    from teralign.registration.deform import deform_further

    spacing = _COARSER * min(fixed.grid.spacing)
    small, other = fixed.downsample_to(spacing), moving.downsample_to(spacing)
    plain = config.model_copy(update={"metric": None, "engine": "gauss_newton", "iterations": None})
    nodes = small.grid.nodes((_STRIDE,) * 3)
    # Even if worse: where a field is kept, nothing was compared.
    further = deform_further(
        small, other, whole, plain.at_stage(_COARSER), nodes, even_if_worse=True, threads=threads
    )
    if further is None:
        return np.full(region.shape, np.nan, np.float32)
    points = node_positions(nodes)
    values, shown = small.sample(points)
    known = shown & other.sample(whole.map_points(points, threads=threads))[1]
    squares = np.square(further.values.reshape(-1, 3)).sum(axis=1)
    means = _means_in_cubes(points, squares, known, cubes, nodes, _foreground(values, known))
    return _cropped(np.sqrt(means), cubes, region, points)


def cubes_shown(fixed: Image, moving: Image, *, transform: Stack, cubes: Grid, region: Region) -> Bools:
    """Return the cubes (z, y, x) in which both images show enough to tell an error, without estimating it."""
    nodes = fixed.grid.nodes((2 * _STRIDE,) * 3)
    points = node_positions(nodes)
    known = fixed.sample(points)[1] & moving.sample(transform.map_points(points))[1]
    means = _means_in_cubes(points, np.zeros(len(points)), known, cubes, nodes)
    return np.isfinite(_cropped(means, cubes, region, points))


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
