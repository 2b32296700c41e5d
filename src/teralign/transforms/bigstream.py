"""Displacement fields of bigstream: bare arrays (z, y, x, 3) of (dz, dy, dx) in µm, in N5 or Zarr.

Their spacing is `pixelResolution` (µm) times `downsamplingFactors`, both with x, y, z last, if the attributes give
them. A field has no origin: its first vector belongs to the first voxel of the fixed volume, and both have the same
field of view, from which the spacing follows if there are no attributes. Affines of bigstream are files like
those of Teralign.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import ArrayLike

from teralign.addresses import reason
from teralign.errors import DataError, InputError
from teralign.files import file_store, writing_folder
from teralign.grids import FloatTriple, Grid, Region, Triple, as_float_triple, as_triple, reverse_axes
from teralign.transforms.stored import CHUNK_SHAPE, StoredField, TensorStore
from teralign.volumes.units import micrometres

_N5_DATASET = "s0"
_SPACING, _FACTORS = "pixelResolution", "downsamplingFactors"
_MOST_NUMBERS = 1 << 52
ArrayAttributes = dict[str, Any]


def is_field(path: Path) -> bool:
    """Return whether a folder is an array, which may be a field of bigstream."""
    return _array(path) is not None


def open_field(path: Path, fixed: Grid | None) -> StoredField:
    """Open the field in an array's folder; `fixed` is the grid of the fixed volume.

    Raises InputError when it is no field, or lacks a spacing and `fixed` is None.
    """
    found = _array(path)
    if found is None:
        raise InputError(f"{path} holds no array; give the path of the dataset of the field.")
    driver, shape, attributes = found
    if len(shape) != 4 or shape[-1] != 3:
        raise InputError(f"{path} is not a displacement field: its shape is {tuple(shape)}, not (z, y, x, 3).")
    if not all(isinstance(n, int) and n > 0 for n in shape) or math.prod(shape) > _MOST_NUMBERS:
        raise InputError(f"{path} declares the shape {tuple(shape)}, more than any disk holds; repair its metadata.")
    nodes = as_triple(shape[:3])
    spacing = _stated_spacing(attributes)
    if spacing is None and fixed is None:
        raise InputError(f"{path} does not give the spacing of its vectors; convert it by convert-transform --fixed.")
    if fixed is None:
        return StoredField(path, Grid(nodes, spacing or (1.0, 1.0, 1.0)), path, 3, driver)
    shared = as_float_triple(e / n for e, n in zip(fixed.extent, nodes, strict=True))
    return StoredField(path, Grid(nodes, spacing or shared, fixed.origin), path, 3, driver)


@dataclass(frozen=True)
class BigstreamWriter:
    """A field that is being written by whole chunks; `path` is the final place of its array."""

    path: Path
    store: TensorStore
    chunk_shape: Triple

    def write(self, region: Region, values: ArrayLike) -> None:
        """Store the (z, y, x, 3) displacements in µm of the voxels `region`. Raises DataError when that fails."""
        try:
            self.store[region.slices].write(np.asarray(values, np.float32)).result()
        except (ValueError, OSError, RuntimeError) as error:
            raise DataError(
                f"the field cannot be written in {region.start} to {region.stop}: {reason(error)}."
            ) from error


@contextlib.contextmanager
def building_field(
    container: Path, dataset: str, grid: Grid, *, overwrite: bool = False
) -> Iterator[BigstreamWriter]:
    """Give a writer of a field with a vector at each node of `grid`: N5 or Zarr v2, by the ending of `container`.

    The field appears under its name when the block succeeds, else not at all. Raises InputError when `container`
    exists and `overwrite` is off, DataError when the disk refuses.
    """
    n5 = container.suffix == ".n5"
    chunk = as_triple(min(c, n) for c, n in zip(CHUNK_SHAPE, grid.shape, strict=True))
    inside = dataset or (_N5_DATASET if n5 else "")
    with writing_folder(container, overwrite=overwrite) as unfinished:
        array = unfinished / inside
        try:
            store = tensorstore.open(_creation(array, grid, chunk, n5=n5), create=True).result()
            _write_attributes(unfinished, array, grid, n5=n5)
        except (ValueError, OSError, RuntimeError) as error:
            raise DataError(f"the field {container} cannot be created: {reason(error)}.") from error
        yield BigstreamWriter(container / inside, store.transpose([3, 2, 1, 0]) if n5 else store, chunk)


def _array(path: Path) -> tuple[str, list[int], ArrayAttributes] | None:
    """Return the driver of tensorstore, the shape in C order, and the attributes of an array; None for no array."""
    for driver, name in (("n5", "attributes.json"), ("zarr", ".zarray"), ("zarr3", "zarr.json")):
        metadata = _read_json(path / name)
        shape = metadata.get("dimensions" if driver == "n5" else "shape")
        if isinstance(shape, list):
            if driver == "n5":
                return driver, shape[::-1], metadata
            own = _read_json(path / ".zattrs") if driver == "zarr" else metadata.get("attributes", {})
            return driver, shape, own
    return None


def _read_json(path: Path) -> ArrayAttributes:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _stated_spacing(attributes: ArrayAttributes) -> FloatTriple | None:
    """Return the spacing of the vectors (z, y, x) in µm, None if the attributes lack it."""
    stated, unit = attributes.get(_SPACING), 1.0
    if isinstance(stated, dict):
        unit = micrometres(str(stated.get("unit", "um"))) or 1.0
        stated = stated.get("dimensions")
    if not isinstance(stated, list) or len(stated) < 3:
        return None
    factors = attributes.get(_FACTORS) or [1] * len(stated)
    return as_float_triple(s * f * unit for s, f in zip(stated[:-4:-1], factors[:-4:-1], strict=True))


def _creation(array: Path, grid: Grid, chunk: Triple, *, n5: bool) -> ArrayAttributes:
    """Return the specification of tensorstore for a new array: N5, or Zarr v2."""
    shape, chunks = [*grid.shape, 3], [*chunk, 3]
    if n5:
        compression = {"type": "gzip", "level": 1}
        metadata = {"dimensions": shape[::-1], "blockSize": chunks[::-1], "dataType": "float32"}
        return {
            "driver": "n5",
            "kvstore": file_store(array),
            "metadata": metadata | {"compression": compression},
        }
    layout = {"shape": shape, "chunks": chunks, "dtype": "<f4", "dimension_separator": "/"}
    return {
        "driver": "zarr",
        "kvstore": file_store(array),
        "metadata": {**layout, "fill_value": 0.0, "compressor": {"id": "gzip", "level": 1}},
    }


def _write_attributes(container: Path, array: Path, grid: Grid, *, n5: bool) -> None:
    """Write the spacing, with 1 for the axis of the components, and the files that make folders a container."""
    stated = {_SPACING: [1.0, *reverse_axes(grid.spacing)], _FACTORS: [1, 1, 1, 1]}
    file = array / ("attributes.json" if n5 else ".zattrs")
    file.write_text(json.dumps(_read_json(file) | stated, indent=1))
    if n5:
        (container / "attributes.json").write_text(json.dumps({"n5": "2.0.0"}))
        return
    for folder in [p for p in array.parents if p == container or container in p.parents]:
        (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
