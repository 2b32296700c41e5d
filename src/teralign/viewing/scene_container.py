"""Both images and the map between them in one folder, a scene of OME-Zarr 0.6 that viewers open as a whole.

    scene.zarr/
      fixed/  moving/                               one channel of each, with the scales that their files have
      aligned/                                      the moving image on the fixed grid: many viewers apply no fields
      coordinateTransformations/displacements/      as in every file of a map

Readers refuse paths that lead out of a scene, so the images are copied into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from teralign import ome
from teralign.errors import InputError
from teralign.files import writing_folder
from teralign.grids import Triple, as_triple
from teralign.transforms import Stack, finish_map
from teralign.viewing.layers import Layer
from teralign.volumes import StoredArray, create_array

_VERSION = "0.6"
_CHUNK_SIDE = 64


def write_scene_container(
    path: Path, layers: Mapping[str, Layer], transform: Stack, *, overwrite: bool = False
) -> None:
    """Write the images of `layers`, by the names of their coordinate systems, and the map from fixed to moving.

    The folder appears when it is whole. Its map is that of the files given: commands take it as a transform. Raises
    InputError when `path` exists and `overwrite` is off, and for oblique volumes, whose place an image cannot state.
    """
    oblique = [name for name, layer in layers.items() if layer.direction is not None]
    if oblique:
        raise InputError(
            f"the {' and the '.join(oblique)} volume has axes oblique to x, y and z, which a scene of images cannot "
            "hold; write it on a straight grid by apply-transform first."
        )
    with writing_folder(path, overwrite=overwrite) as unfinished:
        for name, layer in layers.items():
            _write_image(unfinished / name, name, layer)
        finish_map(unfinished, transform, images={name: name for name in layers})


def _write_image(group: Path, name: str, layer: Layer) -> None:
    """Write all scales of a layer, chunk by chunk, then the metadata of the image."""
    dtype = layer.pyramid.dtype
    for level, grid in enumerate(layer.pyramid.grids):
        chunk = as_triple(min(_CHUNK_SIDE, n) for n in grid.shape)
        create_array("zarr3", group / f"s{level}", _array(grid.shape, chunk, dtype), resume=False)
        array = StoredArray("zarr3", (group / f"s{level}",), "zyx")
        for region in grid.region.split(chunk):
            voxels = layer.pyramid.read(region, channel=layer.channel, timepoint=layer.timepoint, level=level)
            if voxels.any():
                array.write(region, voxels, 0, 0)
    low, high = layer.window
    image = ome.Multiscale(
        name=name,
        axes=ome.SPACE,
        levels=tuple(
            ome.Level.placed(f"s{i}", grid.spacing, grid.origin) for i, grid in enumerate(layer.pyramid.grids)
        ),
        channels=(ome.Channel(name, layer.colour, (min(low, 0.0), high, low, high)),),
        space=name,
    )
    ome.write_group(group, ome.image_attributes(image, _VERSION), _VERSION)


def _array(shape: Sequence[int], chunk: Triple, dtype: np.dtype[np.generic]) -> dict[str, object]:
    """Return the metadata of an array (z, y, x) in Zarr v3."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}
    return {
        "shape": list(shape),
        "data_type": dtype.name,
        "dimension_names": list("zyx"),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "codecs": [little, blosc, {"name": "crc32c"}],
    }
