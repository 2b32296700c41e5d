"""`transform-points`: a table of points through transforms, from the fixed to the moving volume or back."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teralign.cluster import worker_threads
from teralign.grids import Floats, Grid
from teralign.progress import counted
from teralign.tasks.inputs import check_new_file
from teralign.tasks.node_grids import covered_grid
from teralign.transforms import Stack, load_stack, read_point_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TransformedPoints:
    """The table that was written, and facts about its points.

    `space` is the volume of the mapped points, fixed or moving. `not_converged` points have no inverse and are nan.
    `outside` points lie outside the part of the fixed volume that the field covers, by up to `max_outside_um`: there
    the field continues with its nearest value. Both are None for affines, which cover all of space.
    """

    output: str
    points: int
    space: str
    not_converged: int
    outside: int | None
    max_outside_um: float | None


def transform_points(
    points: str | Path,
    *,
    transforms: Sequence[str | Path],
    output: str | Path,
    inverse: bool = False,
    expansion: float = 1.0,
    threads: int | None = None,
    overwrite: bool = False,
) -> TransformedPoints:
    """Map points of the fixed volume to the moving volume, or with `inverse` from moving to fixed.

    `points` is a table (`teralign.transforms.PointTable`): columns named x, y and z, in µm, or the first three where
    there is no header; other columns are kept. `transforms` are files, outermost first. The given points are in µm of
    the expanded sample, and are divided by its `expansion`; the new ones are in µm of the sample before expansion.
    `output` has the same rows in the same order, with the new x, y and z in their place, and `fixed` or `moving` in a
    column `space` if there is a header. A point whose inverse does not converge becomes nan.

    Logs a warning for a table whose column `space` names the other volume, and if the field does not cover most
    points. Raises InputError for a table whose columns are not clear, and for a row that is not a point, with its
    line.
    """
    stack, output = load_stack(transforms), Path(output)
    table = read_point_table(Path(points))
    check_new_file(output, overwrite=overwrite)
    source, space = ("moving", "fixed") if inverse else ("fixed", "moving")
    if table.space == space:
        log.warning(
            "the points %s are of the %s volume by their column space, but are mapped as points of the %s volume; %s",
            points,
            table.space,
            source,
            "leave out --inverse" if inverse else "add --inverse",
        )
    log.info("Mapping %s of the %s volume to the %s volume", counted(len(table.points), "point"), source, space)
    given = table.points / expansion
    mapped, converged = _mapped(stack, given, inverse=inverse, threads=threads or worker_threads())
    lost = int((~converged).sum())
    if lost:
        log.warning("%d of %s have no inverse here; written as nan", lost, counted(len(mapped), "point"))
    distances = _distances_outside(stack, (mapped if inverse else given)[converged])
    table.moved(mapped, space).save(output)
    if distances is None:
        return TransformedPoints(str(output), len(mapped), space, lost, None, None)
    outside, farthest = int((distances > 0).sum()), float(distances.max(initial=0.0))
    if outside > len(distances) / 2:
        log.warning(
            "%d of %s lie outside the part of the fixed volume that the field covers, by up to %.0f µm: check "
            "that they are points of the %s volume, in µm",
            outside,
            counted(len(mapped), "point"),
            farthest,
            source,
        )
    return TransformedPoints(str(output), len(mapped), space, lost, outside, round(farthest, 3))


def _mapped(stack: Stack, points: Floats, *, inverse: bool, threads: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the images (n, 3) of the points, nan where there is none, and a mask (n,) of those that there are."""
    if not inverse:
        return stack.map_points(points, threads=threads), np.ones(len(points), dtype=bool)
    mapped, converged = stack.inverse_map_points(points, threads=threads)
    mapped[~converged] = math.nan
    return mapped, converged


def _distances_outside(stack: Stack, fixed_points: Floats) -> Floats | None:
    """Return how far (µm) points (n, 3) of the fixed volume lie outside the fields; None without fields."""
    if not stack.grids:
        return None
    low, high = _extent(covered_grid(stack))
    beyond = np.maximum(np.maximum(low - fixed_points, fixed_points - high), 0)
    distances: Floats = np.linalg.norm(beyond, axis=1)
    return distances


def _extent(nodes: Grid) -> tuple[Floats, Floats]:
    """Return the low and high corner of the cells around the nodes: a node stands for half its spacing around it."""
    half = np.array(nodes.spacing) / 2
    return nodes.origin - half, nodes.to_physical(np.array(nodes.shape) - 1) + half
