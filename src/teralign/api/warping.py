"""Images of the moving side on the grid of the fixed one: arrays at once, dask's and volumes block by block."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from teralign.addresses import absolute_uri
from teralign.alignment import Side
from teralign.api.arrays import NumpyOrDask, is_dask, is_data_array
from teralign.api.coordinates import DIMENSIONS, attributes_of, coordinates_of, grid_of
from teralign.api.elements import finest_scale
from teralign.api.frames import Frame
from teralign.api.opening import labelled
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.grids import Grid, Region, Triple, as_float_triple, as_triple
from teralign.transforms import Resampler, Stack, along_axes, needed_region, warp
from teralign.transforms.kernels import Values
from teralign.volumes import Volume

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from dask.typing import Key


INTERPOLATIONS = {0: "nearest", 1: "linear", 3: "cubic"}
"""The interpolations by the order of their polynomials."""
_OF_PLACE = ("spacing", "origin", "direction", "uri")
_BLOCK: Triple = (128, 128, 128)  # voxels of a lazy block: it needs about as many of the moving image


class ImageWarper:
    """Warps images of one moving frame onto one grid, through one map, with one interpolation."""

    def __init__(self, transform: Stack, fixed: Frame, moving: Frame, order: int) -> None:
        """Take the map of world points; raises InputError for an order that is none."""
        if order not in INTERPOLATIONS:
            raise InputError(f"order must be 0 (nearest, for labels), 1 (linear) or 3 (cubic), not {order!r}.")
        self._transform, self._fixed, self._moving = transform, fixed, moving
        self._stack = along_axes(transform, fixed.direction, moving.direction)
        self._interpolation = INTERPOLATIONS[order]

    def array(self, image: NumpyOrDask) -> NumpyOrDask:
        """Return an array (…, z, y, x) on the fixed grid, of the same kind."""
        return self._on_grid(image, grid_of_array(image.shape, self._moving))

    def data_array(self, image: xr.DataArray) -> xr.DataArray:
        """Return a DataArray with the coordinates of the fixed image; its other dimensions come first."""
        import xarray as xr

        missing = [name for name in DIMENSIONS if name not in image.dims]
        if missing:
            raise InputError(
                f"a DataArray to warp needs the dimensions z, y and x, and has {', '.join(map(str, image.dims))}."
            )
        others = [name for name in image.dims if name not in DIMENSIONS]
        ordered = image.transpose(*others, *DIMENSIONS)
        placed = all(name in ordered.coords for name in DIMENSIONS)
        grid = grid_of("moving", ordered) if placed else grid_of_array(ordered.shape, self._moving)
        kept = {name: at for name, at in ordered.coords.items() if not set(DIMENSIONS) & {name, *at.dims}}
        own = {key: value for key, value in image.attrs.items() if key not in _OF_PLACE}
        target = self._fixed.grid
        return xr.DataArray(
            self._on_grid(ordered.data, grid),
            coords={**kept, **coordinates_of(target)},
            dims=[*others, *DIMENSIONS],
            name=image.name,
            attrs={**own, **attributes_of(target, self._fixed.direction)},
        )

    def volume(self, image: str | Path | Side) -> xr.DataArray:
        """Return a stored volume as a lazy DataArray on the fixed grid, which reads what a block needs."""
        side = Side.of(image)
        volume = Side(absolute_uri(side.uri), side.spacing, expansion=side.expansion).open("moving")
        stack = along_axes(self._transform, self._fixed.direction, volume.direction)
        resampler = Resampler(volume, stack, self._fixed.grid, self._interpolation)
        array = labelled(_lazy_volume(resampler), _on_fixed(volume, self._fixed), channel=None, timepoint=None)
        return array.assign_attrs(uri=volume.uri)

    def _on_grid(self, image: NumpyOrDask, grid: Grid) -> NumpyOrDask:
        if is_dask(image):
            return _lazy(image, grid, self._stack, self._fixed.grid, self._interpolation)
        values = np.asarray(image)
        target = self._fixed.grid
        threads = worker_threads()
        return warp_part(
            values, grid, grid.region, self._stack, target, target.region, self._interpolation, threads=threads
        )


def warp_image(
    image: object, transform: Stack, fixed: Frame, moving: Frame, *, order: int
) -> NumpyOrDask | xr.DataArray:
    """Return an image on the fixed grid, of the kind that was given; a volume named by its URI as a DataArray."""
    warper = ImageWarper(transform, fixed, moving, order)
    image = finest_scale(image)
    if is_data_array(image):
        return warper.data_array(image)
    if isinstance(image, np.ndarray) or is_dask(image):
        return warper.array(image)
    if isinstance(image, str | os.PathLike | Side):
        return warper.volume(image if isinstance(image, Side) else str(image))
    raise InputError(
        "an image to warp must be an array, a DataArray, or the path or URI of a volume, not a "
        f"{type(image).__name__}."
    )


def grid_of_array(shape: Sequence[int], moving: Frame) -> Grid:
    """Return the grid of an array (…, z, y, x) that covers the field of view of the moving image."""
    if len(shape) not in (3, 4, 5):
        raise InputError(f"an image to warp has the axes (z, y, x) or (c, z, y, x), not the shape {tuple(shape)}.")
    own, (z, y, x) = moving.grid, shape[-3:]
    if (z, y, x) == own.shape:
        return own
    scale = [n / m for n, m in zip(own.shape, (z, y, x), strict=True)]
    spacing = as_float_triple(d * s for d, s in zip(own.spacing, scale, strict=True))
    return Grid((z, y, x), spacing, as_float_triple(own.to_physical([s / 2 - 0.5 for s in scale])))


def warp_part(
    image: Values,
    grid: Grid,
    loaded: Region,
    stack: Stack,
    target: Grid,
    region: Region,
    interpolation: str,
    *,
    threads: int = 1,
) -> Values:
    """Return the voxels `region` of the target grid of an image (…, z, y, x) that holds the voxels `loaded`."""
    if image.dtype.kind not in "biuf":
        raise InputError(f"an image of type {image.dtype} cannot be warped; voxels must be real numbers.")
    others = image.shape[:-3]
    warped = warp(
        image.reshape(-1, *image.shape[-3:]),
        grid,
        grid=target,
        region=region,
        transform=stack,
        moving_region=loaded,
        interpolation=interpolation,
        threads=threads,
    )
    return warped.reshape(*others, *region.shape)


def _lazy(image: da.Array, grid: Grid, stack: Stack, target: Grid, interpolation: str) -> da.Array:
    """Return a lazy image (…, z, y, x) on the target grid: each block depends on the chunks that it needs only."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"warp-{tokenize(image.name, grid, stack.digest(), target, interpolation)}"
    shared = f"map-{name}"
    chunks = (*image.chunks[:-3], *_cuts(target.shape))
    leading = list(itertools.product(*(range(len(sizes)) for sizes in image.chunks[:-3])))
    graph: dict[Key, object] = {shared: stack}
    for index, region in _blocks(target.shape):
        needed = needed_region(stack, target, region, grid, interpolation)
        parts = list(_overlapping(image.chunks[-3:], needed))
        for lead in leading:
            counts = tuple(sizes[i] for sizes, i in zip(image.chunks[:-3], lead, strict=True))
            key: Key = (name, *lead, *index)
            if not parts:
                graph[key] = (np.zeros, (*counts, *region.shape), image.dtype.newbyteorder("="))
                continue
            sources = [(image.name, *lead, *place) for place, _ in parts]
            boxes = [box for _, box in parts]
            graph[key] = (_warp_chunks, sources, boxes, needed, grid, shared, target, region, interpolation)
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[image])  # type: ignore[list-item]
    return da.Array(layers, name, chunks, dtype=image.dtype.newbyteorder("="))


def _warp_chunks(
    sources: Sequence[Values],
    boxes: Sequence[Region],
    needed: Region,
    grid: Grid,
    stack: Stack,
    target: Grid,
    region: Region,
    interpolation: str,
) -> Values:
    """Return a block of the target grid, of the chunks (…, z, y, x) of an image that lie in `boxes` of its voxels."""
    whole = np.empty((*sources[0].shape[:-3], *needed.shape), sources[0].dtype)
    for chunk, box in zip(sources, boxes, strict=True):
        inside = box.intersect(needed)
        whole[(..., *inside.relative_to(needed).slices)] = chunk[(..., *inside.relative_to(box).slices)]
    return warp_part(whole, grid, needed, stack, target, region, interpolation)


def _lazy_volume(resampler: Resampler) -> da.Array:
    """Return a stored volume (t, c, z, y, x) on the grid of a resampler; each block reads what it needs."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    source, shape = resampler.source, resampler.grid.shape
    name = f"warp-{tokenize(source.digest(), resampler.transform.digest(), resampler.grid, resampler.interpolation)}"
    shared = f"map-{name}"
    graph: dict[Key, object] = {shared: resampler}
    for t, c in itertools.product(range(source.timepoints), range(source.channels)):
        for index, region in _blocks(shape):
            graph[name, t, c, *index] = (_read_warped, shared, region, c, t)
    chunks = ((1,) * source.timepoints, (1,) * source.channels, *_cuts(shape))
    return da.Array(HighLevelGraph.from_collections(name, graph, dependencies=[]), name, chunks, dtype=source.dtype)


def _read_warped(resampler: Resampler, region: Region, channel: int, timepoint: int) -> Values:
    """Return a block (1, 1, z, y, x) of a stored volume, warped."""
    needed = resampler.needed(region)
    warped = None if needed is None else resampler.warp(region, needed, [channel], timepoint)
    return np.zeros((1, 1, *region.shape), resampler.source.dtype) if warped is None else warped[None]


def _on_fixed(volume: Volume, fixed: Frame) -> Volume:
    """Return a volume with the grid and the direction of the fixed image, for the labels of its warped voxels."""
    directions = replace(volume.description.directions, matrix=fixed.direction)
    return replace(volume, grid=fixed.grid, description=replace(volume.description, directions=directions))


def _cuts(shape: Triple) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of the blocks of a grid along each axis."""
    return tuple(tuple(min(side, n - a) for a in range(0, n, side)) for n, side in zip(shape, _BLOCK, strict=True))


def _blocks(shape: Triple) -> Iterator[tuple[Triple, Region]]:
    """Yield the blocks of a grid with their indices."""
    for region in Region.whole(shape).split(_BLOCK):
        yield as_triple(a // side for a, side in zip(region.start, _BLOCK, strict=True)), region


def _overlapping(chunks: Sequence[Sequence[int]], needed: Region) -> list[tuple[Triple, Region]]:
    """Return the chunks (z, y, x) of an array that share voxels with a region, and the voxels that each holds."""
    if needed.size == 0:
        return []
    found: list[list[tuple[int, int, int]]] = []
    for sizes, first, last in zip(chunks, needed.start, needed.stop, strict=True):
        ends = list(itertools.accumulate(sizes))
        spans = [(i, end - size, end) for i, (size, end) in enumerate(zip(sizes, ends, strict=True))]
        found.append([(i, a, b) for i, a, b in spans if a < last and b > first])
    return [_box(spans) for spans in itertools.product(*found)]


def _box(spans: Sequence[tuple[int, int, int]]) -> tuple[Triple, Region]:
    """Return the index and the voxels of a chunk, of its index, start and stop along each axis."""
    index, start, stop = (as_triple(values) for values in zip(*spans, strict=True))
    return index, Region(start, stop)
