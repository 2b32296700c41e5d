"""`make-demo-data`: two imaging rounds of one tissue, and the true transform between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign import __version__
from teralign.cluster import worker_threads
from teralign.demo import Phantom, Round, View, make_phantom
from teralign.errors import InputError
from teralign.files import writing_folder
from teralign.grids import Floats, Grid, Triple, reverse_axes
from teralign.progress import Progress
from teralign.results import write_json
from teralign.tasks.demo_tiles import write_demo_tiles
from teralign.transforms import Affine, DisplacementField, Stack, save_map
from teralign.volumes import Chunking, create_volume

log = logging.getLogger(__name__)

CHUNK: Triple = (64, 64, 64)
MIN_VOXELS = 48
"""Along each axis; smaller volumes share too little tissue."""
NODES_PER_KNOT = 16
"""Nodes of the written field for each knot of the true map, which makes it exact to 0.02 µm."""


@dataclass(frozen=True)
class DemoData:
    """The folder of demo data, its landmarks, and their distances in µm, as in `LandmarkFacts`."""

    output: str
    landmarks: int
    tre_um_before: Mapping[str, float]
    tre_um_best_affine: Mapping[str, float]


@dataclass(frozen=True)
class RoundGeometry:
    """Voxels and their size in µm of one round, both (x, y, z)."""

    shape: Sequence[int]
    spacing_um: Sequence[float]

    @classmethod
    def of(cls, grid: Grid) -> RoundGeometry:
        """Return the geometry of a grid."""
        return cls(reverse_axes(grid.shape), reverse_axes(grid.spacing))


@dataclass(frozen=True)
class LandmarkFacts:
    """The number of landmarks, and their distances in µm (median, p95) before alignment and after the best affine."""

    landmarks: int
    tre_um_before: Mapping[str, float]
    tre_um_best_affine: Mapping[str, float]


@dataclass(frozen=True)
class DemoFacts:
    """The content of demo.json; `bend_volume_change` is the range of the field's Jacobian determinant."""

    made_by: str
    seed: int
    fixed: RoundGeometry
    moving: RoundGeometry
    rounds: tuple[Round, Round]
    cells: int
    vessel_segments: int
    knot_spacing_um: float
    bend_volume_change: tuple[float, float]
    landmarks: LandmarkFacts


def make_demo_data(
    output: str | Path,
    *,
    shape: Triple = (160, 256, 256),
    seed: int = 0,
    tiles: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> DemoData:
    """Write a fixed and a moving round that look like tissue, the true transform between them and landmarks.

    `output` gets fixed.n5 and moving.n5 (scales s0 and s1; the fixed round has `shape` voxels, z, y, x, at s0),
    true_transform.zarr (the whole map as commands take it), true_affine.mat (its affine), true_map.npz (the map,
    exact), landmarks_fixed.csv and landmarks_moving.csv (x,y,z in µm) and demo.json. With `tiles`, it also gets
    fixed_tiles and moving_tiles, each round as that many rows and columns of overlapping tiles, and
    tiles_truth.json. The folder appears under its name when all is written. Raises InputError when `output` exists,
    or the shape is too small.
    """
    output = Path(output)
    if min(shape) < MIN_VOXELS:
        raise InputError(f"--shape {_listed(shape)} is too small: give at least {MIN_VOXELS} voxels along each axis.")
    _check_output(output, overwrite=overwrite)
    phantom = make_phantom(shape, seed)
    facts = _describe(phantom, seed)
    with writing_folder(output, overwrite=overwrite) as folder:
        folder.mkdir()
        for view in (phantom.fixed, phantom.moving):
            _write_round(folder / f"{view.round.name}.n5", view, threads or worker_threads())
        _write_truth(folder, phantom)
        if tiles is not None:
            write_demo_tiles(folder, phantom, tiles, seed, threads or worker_threads())
        write_json(folder / "demo.json", facts)
    found = facts.landmarks
    return DemoData(str(output), found.landmarks, found.tre_um_before, found.tre_um_best_affine)


def _check_output(output: Path, *, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise InputError(f"{output} exists already; choose another --output, or add --overwrite.")
    if not (output / "demo.json").is_file():
        raise InputError(f"{output} is not demo data, so --overwrite does not replace it; choose another --output.")


def _write_round(path: Path, view: View, threads: int) -> None:
    """Write one round as N5 with two scales, tile by tile; a tile is whole chunks at both scales."""
    writer = create_volume(str(path), grid=view.grid, dtype=np.dtype(np.uint16), chunking=Chunking(CHUNK), levels=2)
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
    """Write the true transform, for commands and exact, and the landmarks."""
    affine = Affine(phantom.true_map.affine)
    affine.save(folder / "true_affine.mat")
    save_map(folder / "true_transform.zarr", Stack((affine, _true_field(phantom))))
    phantom.true_map.save(folder / "true_map.npz")
    for name, points in (("fixed", phantom.landmarks_fixed), ("moving", phantom.landmarks_moving)):
        np.savetxt(folder / f"landmarks_{name}.csv", points[:, ::-1], delimiter=",", fmt="%.5f")


def _true_field(phantom: Phantom) -> DisplacementField:
    """Return the nonlinear part of the true map, applied before the affine, on nodes over the fixed round."""
    grid, spacing = phantom.fixed.grid, phantom.true_map.spacing / NODES_PER_KNOT
    nodes = grid.nodes([max(1, round(spacing / s)) for s in grid.spacing])
    values = np.empty((*nodes.shape, 3), dtype=np.float32)
    for z in range(nodes.shape[0]):
        index = np.stack(np.meshgrid(z, *map(np.arange, nodes.shape[1:]), indexing="ij"), axis=-1)
        points = nodes.to_physical(index.reshape(-1, 3))
        values[z] = (phantom.true_map.unbend(points) - points).reshape(values[z].shape)
    return DisplacementField(values, nodes)


def _describe(phantom: Phantom, seed: int) -> DemoFacts:
    """Return the content of demo.json."""
    fixed, moved = phantom.landmarks_fixed, phantom.landmarks_moving
    slopes = np.linalg.det(phantom.true_map.jacobian(fixed)) if len(fixed) else np.ones(1)
    return DemoFacts(
        made_by=f"teralign {__version__}",
        seed=seed,
        fixed=RoundGeometry.of(phantom.fixed.grid),
        moving=RoundGeometry.of(phantom.moving.grid),
        rounds=(phantom.fixed.round, phantom.moving.round),
        cells=len(phantom.scene.cells.centres),
        vessel_segments=len(phantom.scene.vessels.ends),
        knot_spacing_um=phantom.true_map.spacing,
        bend_volume_change=(float(1 / slopes.max()), float(1 / slopes.min())),
        landmarks=LandmarkFacts(len(fixed), _error(moved - fixed), _error(_affine_residual(fixed, moved))),
    )


def _affine_residual(fixed: Floats, moved: Floats) -> Floats:
    """Return the offsets (n, 3) of landmarks that the best affine map leaves."""
    padded = np.column_stack([fixed, np.ones(len(fixed))])
    return np.asarray(moved - padded @ np.linalg.lstsq(padded, moved, rcond=None)[0])


def _error(offsets: Floats) -> dict[str, float]:
    """Return the median and 95th percentile of the lengths of offsets (n, 3), or nothing for no offsets."""
    if len(offsets) == 0:
        return {}
    median, p95 = np.percentile(np.linalg.norm(offsets, axis=1), [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(p95), 4)}


def _listed(shape: Triple) -> str:
    return ",".join(str(n) for n in reverse_axes(shape))
