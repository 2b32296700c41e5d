"""A channel of any volume as OME-Zarr 0.5: metadata and chunks made on request, nothing written.

Zarr v3 without compression, since HTTP compresses; chunks are cubes of 64 voxels, padded with 0 at the faces. What a
viewer's types lack is converted: float16, float64 and int64 become float32, booleans uint8, labels unsigned integers.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from teralign import ome
from teralign.grids import Grid, Region, as_triple
from teralign.viewing.layers import Layer, LayerKind

SERVED_CHUNK = (64, 64, 64)
_CHUNK_KEY = re.compile(r"s(\d{1,3})/c/(\d{1,9})/(\d{1,9})/(\d{1,9})", re.ASCII)
_LEVEL_KEY = re.compile(r"s(\d{1,3})/zarr\.json", re.ASCII)
_SHOWN_AS = {"float64": "float32", "float16": "float32", "int64": "float32", "bool": "uint8"}
_LABELS_AS = {"int8": "uint8", "int16": "uint16", "int32": "uint32", "int64": "uint64", "bool": "uint8"}


def shown_dtype(layer: Layer) -> np.dtype[Any]:
    """Return the type in which a layer's voxels are served."""
    name = layer.pyramid.dtype.name
    return np.dtype((_LABELS_AS if layer.kind is LayerKind.LABELS else _SHOWN_AS).get(name, name))


def content(layer: Layer, key: str) -> bytes | None:
    """Return the file of a layer's image at `key`, None where there is none: also for a chunk of only 0.

    Raises DataError when voxels cannot be read.
    """
    if key == "zarr.json":
        return _group(layer)
    if match := _LEVEL_KEY.fullmatch(key):
        level = int(match[1])
        return _array(layer, layer.pyramid.grids[level]) if level < len(layer.pyramid.grids) else None
    if match := _CHUNK_KEY.fullmatch(key):
        level, *index = map(int, match.groups())
        return _chunk(layer, level, index) if level < len(layer.pyramid.grids) else None
    return None


def _group(layer: Layer) -> bytes:
    axes = tuple(ome.Axis(name, "space", "micrometer") for name in "zyx")
    levels = tuple(ome.Level.placed(f"s{i}", grid.spacing, grid.origin) for i, grid in enumerate(layer.pyramid.grids))
    image = ome.Multiscale(name=layer.name, axes=axes, levels=levels)
    group = {"zarr_format": 3, "node_type": "group", "attributes": ome.image_attributes(image, "0.5")}
    return json.dumps(group).encode()


def _array(layer: Layer, grid: Grid) -> bytes:
    regular = {"name": "regular", "configuration": {"chunk_shape": list(SERVED_CHUNK)}}
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(grid.shape),
        "data_type": shown_dtype(layer).name,
        "chunk_grid": regular,
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "dimension_names": ["z", "y", "x"],
        "attributes": {},
    }
    return json.dumps(array).encode()


def _chunk(layer: Layer, level: int, index: list[int]) -> bytes | None:
    grid = layer.pyramid.grids[level]
    start = as_triple(i * n for i, n in zip(index, SERVED_CHUNK, strict=True))
    if any(a >= n for a, n in zip(start, grid.shape, strict=True)):
        return None
    region = Region.whole(SERVED_CHUNK).shift(start).intersect(grid.region)
    voxels = layer.pyramid.read(region, channel=layer.channel, timepoint=layer.timepoint, level=level)
    if not voxels.any():
        return None
    whole = np.zeros(SERVED_CHUNK, shown_dtype(layer).newbyteorder("<"))
    whole[Region.whole(region.shape).slices] = voxels
    return whole.tobytes()
