"""`make-demo-data`: two imaging rounds of one tissue, and the truth about them."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from teralign import __version__
from teralign.cluster import worker_threads
from teralign.demo import Phantom, View, make_phantom
from teralign.errors import InputError
from teralign.files import writing_folder
from teralign.grids import Floats, Grid, Triple, reverse_axes
from teralign.progress import Progress
from teralign.transforms import Affine, DisplacementField, save_field
from teralign.volumes import create_volume

log = logging.getLogger(__name__)

CHUNK: Triple = (64, 64, 64)
SMALLEST = 48
"""Voxels along an axis: with fewer there is no tissue to speak of in both volumes."""
NODES_PER_KNOT = 16
"""How much finer than its own knots the true map is when written as a field: to within 0.02 µm."""


def make_demo_data(
    output: Path,
    *,
    shape: Triple = (160, 256, 256),
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a fixed and a moving round that look like tissue, the true map between them and landmarks.

    `output` gets fixed.n5 and moving.n5 (scales s0 and s1; the fixed round has `shape` voxels, z, y, x, at s0),
    true_affine.mat with true_transform.zarr (the map as commands take it), true_map.npz (the same, exact),
    landmarks_fixed.csv and landmarks_moving.csv (x,y,z in µm) and demo.json. Nothing appears under that name before
    all is written. Raises InputError when `output` is there already, or the shape is too small.
    """
    if min(shape) < SMALLEST:
        raise InputError(f"--shape {_listed(shape)} is too small: give at least {SMALLEST} voxels along each axis.")
    _check_output(output, overwrite=overwrite)
    phantom = make_phantom(shape, seed)
    facts = _describe(phantom, seed)
    with writing_folder(output, overwrite=overwrite) as folder:
        folder.mkdir()
        for view in (phantom.fixed, phantom.moving):
            _write_round(folder / f"{view.round.name}.n5", view, threads or worker_threads())
        _write_truth(folder, phantom)
        (folder / "demo.json").write_text(json.dumps(facts, indent=1) + "\n")
    return {"output": str(output), **facts["landmarks"]}


def _check_output(output: Path, *, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise InputError(f"{output} exists already; choose another --output, or add --overwrite.")
    if not (output / "demo.json").is_file():
        raise InputError(f"{output} holds no demo data, so --overwrite will not replace it; choose another --output.")


def _write_round(path: Path, view: View, threads: int) -> None:
    """Write one round as N5 with two scales, tile by tile; a tile is several chunks at both scales."""
    writer = create_volume(str(path), grid=view.grid, dtype=np.dtype(np.uint16), chunk_shape=CHUNK, levels=2)
    tile = tuple(2 * n for n in writer.write_shape)
    tiles = list(view.grid.region.split(tile))
    progress = Progress(len(tiles), f"drawing the {view.round.name} round, tiles", log)
    with ThreadPoolExecutor(threads) as pool:
        stored = []
        for files in pool.map(lambda region: writer.write(region, view.render(region)), tiles):
            stored += files
            progress.advance()
        units = writer.levels[1].region.split(writer.write_shape)
        for files in pool.map(lambda region: writer.build_level_region(1, region), units):
            stored += files
    writer.finish(stored)


def _write_truth(folder: Path, phantom: Phantom) -> None:
    """Write the map in both ways, and the landmarks."""
    Affine(phantom.true_map.affine).save(folder / "true_affine.mat")
    save_field(folder / "true_transform.zarr", _true_field(phantom))
    phantom.true_map.save(folder / "true_map.npz")
    for name, points in (("fixed", phantom.landmarks_fixed), ("moving", phantom.landmarks_moving)):
        np.savetxt(folder / f"landmarks_{name}.csv", points[:, ::-1], delimiter=",", fmt="%.5f")


def _true_field(phantom: Phantom) -> DisplacementField:
    """The bend of the true map on nodes over the fixed round: what comes before the affine."""
    grid, spacing = phantom.fixed.grid, phantom.true_map.spacing / NODES_PER_KNOT
    nodes = grid.coarsen([max(1, round(spacing / s)) for s in grid.spacing])
    values = np.empty((*nodes.shape, 3), dtype=np.float32)
    for z in range(nodes.shape[0]):
        index = np.stack(np.meshgrid(z, *map(np.arange, nodes.shape[1:]), indexing="ij"), axis=-1)
        points = nodes.to_physical(index.reshape(-1, 3))
        values[z] = (phantom.true_map.unbend(points) - points).reshape(values[z].shape)
    return DisplacementField(values, nodes)


def _describe(phantom: Phantom, seed: int) -> dict[str, Any]:
    """What demo.json says; lengths in µm, axes x, y, z."""
    fixed, moved = phantom.landmarks_fixed, phantom.landmarks_moving
    slopes = np.linalg.det(phantom.true_map.jacobian(fixed)) if len(fixed) else np.ones(1)
    return {
        "made_by": f"teralign {__version__}",
        "seed": seed,
        "fixed": _geometry(phantom.fixed.grid),
        "moving": _geometry(phantom.moving.grid),
        "rounds": [asdict(phantom.fixed.round), asdict(phantom.moving.round)],
        "cells": len(phantom.scene.cells.centres),
        "vessel_segments": len(phantom.scene.vessels.ends),
        "knot_spacing_um": phantom.true_map.spacing,
        "bend_volume_change": [float(1 / slopes.max()), float(1 / slopes.min())],
        "landmarks": {
            "landmarks": len(fixed),
            "tre_um_before": _error(moved - fixed),
            "tre_um_best_affine": _error(_affine_residual(fixed, moved)),
        },
    }


def _geometry(grid: Grid) -> dict[str, Any]:
    return {"shape": reverse_axes(grid.shape), "spacing_um": reverse_axes(grid.spacing)}


def _affine_residual(fixed: Floats, moved: Floats) -> Floats:
    """What the best affine map of the landmarks leaves over, (n, 3)."""
    padded = np.column_stack([fixed, np.ones(len(fixed))])
    return np.asarray(moved - padded @ np.linalg.lstsq(padded, moved, rcond=None)[0])


def _error(offsets: Floats) -> dict[str, float]:
    """Median and 95th percentile of the lengths of offsets (n, 3)."""
    if len(offsets) == 0:
        return {}
    median, p95 = np.percentile(np.linalg.norm(offsets, axis=1), [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(p95), 4)}


def _listed(shape: Triple) -> str:
    return ",".join(str(n) for n in reverse_axes(shape))
