"""Plans of volumes to write: their place, and the division of their voxels into levels, chunks and shards."""

from __future__ import annotations

import functools
import importlib
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
from numpy.typing import DTypeLike

from teralign.addresses import Address, as_place
from teralign.errors import InputError
from teralign.grids import Grid, Triple, as_triple, product
from teralign.uploads import plan_upload, probe_upload
from teralign.volumes import pyramid
from teralign.volumes.description import DisplaySettings, PyramidLayout
from teralign.volumes.ome_zarr import holds_shards
from teralign.volumes.orientation import Directions, angle, is_visible
from teralign.volumes.uri import form_by_name, locate

log = logging.getLogger(__name__)

CHUNKED = ("n5", "zarr", "precomputed")
"""The modules of the formats that are written as chunked arrays."""

ONE_FILE = {"tiff": "tiff_file", "nrrd": "nrrd_file"}
"""The modules of formats that are one file, by the names of the formats."""

_CHECKED = {"n5": "n5", "precomputed": "precomputed", **ONE_FILE}
_SUFFIXES = {".zarr", ".n5", ".precomputed", ".tif", ".tiff", ".nrrd"}
_DIRECTED = {"nrrd"}
_OME_ZARR = "0.5"


@dataclass(frozen=True)
class Chunking:
    """The division of voxels into files; sides are in voxels.

    `shape` (z, y, x) is that of a chunk, None for cubes. Volumes of more than `min_sharded_voxels` have several
    chunks in a shard, where the format allows it: file systems dislike as many files as chunks of 128³ would be,
    while a shard of 256³ voxels of 16 bits, 32 MB, fits in the memory of a worker several times.
    """

    shape: Triple | None = None
    chunk_side: int = 128
    sharded_chunk_side: int = 64
    shard_side: int = 256
    min_sharded_voxels: int = 512**3

    def shapes(self, grid: Grid, *, can_shard: bool) -> tuple[Triple, Triple]:
        """Return the shapes (z, y, x) of a chunk and of a write unit, which is a shard or a chunk."""
        sharded = can_shard and math.prod(grid.shape) > self.min_sharded_voxels
        side = self.sharded_chunk_side if sharded else self.chunk_side
        chunk = self.shape or as_triple(min(side, n) for n in grid.shape)
        return chunk, as_triple(c * max(1, self.shard_side // c) for c in chunk) if sharded else chunk


DEFAULT_CHUNKING = Chunking()


class LayoutOptions(TypedDict, total=False):
    """The keyword arguments of `plan_volume` besides `grid` and `dtype`, all of them optional."""

    channels: int
    timepoints: int
    channel_names: Sequence[str]
    display: Sequence[DisplaySettings]
    time_step: float | None
    chunking: Chunking
    levels: int | None
    label: bool
    ome_zarr: str | None


def plan_volume(
    uri: str | Path,
    *,
    grid: Grid,
    dtype: DTypeLike,
    channels: int = 1,
    timepoints: int = 1,
    channel_names: Sequence[str] = (),
    display: Sequence[DisplaySettings] = (),
    time_step: float | None = None,
    chunking: Chunking = DEFAULT_CHUNKING,
    levels: int | None = None,
    label: bool = False,
    ome_zarr: str | None = None,
) -> PyramidLayout:
    """Return the layout of a pyramid at `uri`; nothing is written.

    `levels` None: as many as bring the longest side to 256 voxels. `label` voxels are never averaged. `display` and
    `time_step` are as in `Volume`. `ome_zarr` is the version of a .zarr, "0.4" or "0.5" (None). Raises InputError
    when no format holds such voxels, or when a version is given for an output that is not a .zarr.
    """
    _, _, form = locate_output(uri)
    if ome_zarr is not None and form != "zarr":
        raise InputError(f"--ome-zarr {ome_zarr} is for outputs that end in .zarr, which {uri} does not.")
    version = ome_zarr or _OME_ZARR
    if form in ONE_FILE and levels not in (None, 1):
        raise InputError(f"{uri} is one file, which has no coarser scales; leave out --levels.")
    chunk, unit = chunking.shapes(grid, can_shard=form == "zarr" and holds_shards(version))
    grids, factors = pyramid.plan_levels(grid, 1 if form in ONE_FILE else levels)
    layout = PyramidLayout(
        levels=grids,
        factors=factors,
        dtype=np.dtype(dtype).newbyteorder("="),
        channels=channels,
        timepoints=timepoints,
        channel_names=tuple(channel_names),
        display=tuple(display) or (DisplaySettings(),) * channels,
        time_step=time_step,
        chunk_shape=chunk,
        write_shape=unit,
        label=label,
        ome_zarr=version,
    )
    if layout.dtype.kind not in "buif":
        raise InputError(f"{layout.dtype} voxels cannot be written to {uri}; only integers, floats and booleans can.")
    if form in _CHECKED:
        importlib.import_module(f"teralign.volumes.{_CHECKED[form]}").check_layout(uri, layout)
    return layout


def with_directions(layout: PyramidLayout, uri: str | Path, directions: Directions) -> PyramidLayout:
    """Return the layout of a pyramid at `uri` whose axes have these directions.

    A format that cannot hold the direction of oblique axes is named in a warning.
    """
    _, _, form = locate_output(uri)
    matrix = directions.matrix
    if matrix is not None and form not in _DIRECTED and is_visible(matrix, layout.levels[0]):
        _warn_of_direction(str(uri), angle(matrix))
    return replace(layout, directions=directions)


@functools.lru_cache(maxsize=1024)
def _warn_of_direction(uri: str, degrees: float) -> None:
    """Log once for each output, which is planned repeatedly."""
    log.warning(
        "%s cannot hold the direction of its axes, which run oblique to x, y and z by up to %.2g°: programs will "
        "show it with straight axes, turned about position 0; write a .nrrd to keep the direction",
        uri,
        degrees,
    )


def check_output(uri: str | Path, *, overwrite: bool) -> Path | Address:
    """Return the container that an output URI creates, a path or an address in S3; checks that it can be written.

    Its folder is made, or a small file is stored at the address and removed. Raises InputError as `plan_output` does,
    and when the disk or the bucket refuses this.
    """
    container = plan_output(uri, overwrite=overwrite)
    if isinstance(container, Address):
        probe_upload(container)
        return container
    try:
        container.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {container.parent} cannot be made: {error.strerror or error}.") from error
    if not os.access(container.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder {container.parent} may not be written; choose another output.")
    return container


def plan_output(uri: str | Path, *, overwrite: bool) -> Path | Address:
    """Return the container that an output URI would create; nothing is written.

    Raises InputError when it exists (`overwrite` allows a whole container, never one dataset in it), or when its
    format cannot be written.
    """
    container, dataset, _ = locate_output(uri)
    if isinstance(container, Address):
        plan_upload(container, overwrite=overwrite and not dataset)
        return container
    if container.exists() and dataset:
        raise InputError(f"{container} exists already, and nothing is added to it; choose another output.")
    if container.exists() and not overwrite:
        raise InputError(f"{container} exists already; choose another output, or add --overwrite.")
    return container


def batch_shape(write_shape: Triple, factors: Sequence[Triple]) -> Triple:
    """Return the voxels (z, y, x) of the finest level that make a unit of the next; a unit if there is no next."""
    return product(write_shape, factors[1]) if len(factors) > 1 else write_shape


def locate_output(uri: str | Path) -> tuple[Path | Address, str, str]:
    """Return the container of an output, the dataset inside it and the format (the name of its module).

    Raises InputError for an output that cannot be written.
    """
    suffixes = {part.suffix.lower() for part in (Path(uri), *Path(uri).parents)}
    if not suffixes & _SUFFIXES:
        raise InputError(
            f"{uri} cannot be written; name the output something.zarr (OME-Zarr), .n5, .precomputed (Neuroglancer), "
            ".tif, .ome.tif or .nrrd."
        )
    if isinstance(as_place(uri), Address) and form_by_name(str(uri)) in ONE_FILE:
        raise InputError(f"{uri} is a single file, which is written to a disk only; give a path, and copy it.")
    container, dataset, form = locate(uri)
    if form not in (*CHUNKED, *ONE_FILE) or (form in ONE_FILE and dataset):
        raise InputError(f"{uri} lies in {container}, which is a file; name an output outside it.")
    if form == "precomputed" and dataset:
        raise InputError(f"{uri} lies in {container}, which is one image with its scales; name the image itself.")
    return cast("Path | Address", container), dataset, form
