"""N5: read with all attribute conventions in use, written so that bigstream and n5-viewer understand it.

Channels are groups c0, c1, … around the levels. `n5_attributes` reads the attributes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import Grid, Triple, reverse_axes
from teralign.volumes.arrays import GZIP_LEVEL, StoredArray, create_array, open_array, spatial_chunks
from teralign.volumes.description import Description, PyramidLayout
from teralign.volumes.files import DEEPEST_GROUP, folders_around, read_json, subfolders, write_json
from teralign.volumes.json_values import Metadata
from teralign.volumes.n5_attributes import ATTRIBUTES, Attributes, read_axes, read_geometry
from teralign.volumes.uri import no_dataset

_VERSION = "2.0.0"
_DTYPES = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"}


def write_root(container: Path) -> None:
    """Write the metadata of a container whose images lie in groups."""
    write_json(container / ATTRIBUTES, {"n5": _VERSION})


def describe(container: Place, dataset: str) -> Description:
    """Describe a dataset, or all channels of a level, or of the finest level of a group."""
    paths = _find(container, dataset)
    arrays = [open_array("n5", path) for path in paths]
    if len({(tuple(a.shape), a.dtype) for a in arrays}) > 1:
        raise InputError(f"the channels of {container / dataset} differ in size or type; name one of them.")
    array = arrays[0]
    around = folders_around(paths[0], container)
    attributes = [Attributes(folder / ATTRIBUTES, read_json(folder / ATTRIBUTES)) for folder in around]
    axes = read_axes(attributes[0], array.shape)
    size = dict(zip(axes, array.shape, strict=True))
    geometry = read_geometry(attributes, axes)
    return Description(
        pixels=StoredArray("n5", paths, axes),
        shape=(size["z"], size["y"], size["x"]),
        dtype=np.dtype(array.dtype.numpy_dtype),
        chunk_shape=spatial_chunks(array, axes),
        spacing=geometry.spacing,
        origin=geometry.origin,
        channels=len(paths) if len(paths) > 1 else size.get("c", 1),
        timepoints=size.get("t", 1),
        files=tuple(folder / ATTRIBUTES for path in paths for folder in folders_around(path, container)),
        scales=_scales(paths, container),
        time_step=geometry.time_step,
        spacing_note=geometry.note,
        relative_spacing=geometry.relative_spacing,
    )


def _find(container: Place, dataset: str) -> tuple[Place, ...]:
    """Return the datasets that hold the channels of a dataset, a level or a group."""
    path = container / dataset
    if _is_dataset(path):
        return (path,)
    if _is_dataset(path / "s0"):
        return (path / "s0",)
    channels = _channels(path, "s0") or (_channels(path.parent, path.name) if dataset else ())
    if channels:
        return channels
    wanted = f"no dataset {dataset}" if dataset else "no dataset s0, which is taken by default"
    raise no_dataset(container, wanted, dataset, _datasets)


def _channels(group: Place, level: str) -> tuple[Place, ...]:
    """Return the datasets of a level in the groups c0, c1, …; at an address, up to the first that is missing."""
    if not isinstance(group, Path):
        return tuple(itertools.takewhile(_is_dataset, (group / f"c{n}" / level for n in itertools.count())))
    if not group.is_dir():
        return ()
    numbered = {int(f.name[1:]): f / level for f in subfolders(group) if re.fullmatch(r"c\d+", f.name)}
    return tuple(numbered[n] for n in sorted(numbered) if _is_dataset(numbered[n]))


def _levels(group: Place) -> Iterator[Place]:
    """Yield the datasets in a group; at an address s0, s1, … up to the first that is missing."""
    if isinstance(group, Path):
        return filter(_is_dataset, subfolders(group))
    return itertools.takewhile(_is_dataset, (group / f"s{n}" for n in itertools.count()))


def _scales(paths: tuple[Place, ...], container: Place) -> tuple[str, ...]:
    """Return the datasets beside those of an image; with several channels, those beside the first channel's."""
    group = paths[0].parent
    if not group.is_relative_to(container):
        return ()
    named = group.parent if len(paths) > 1 else group
    beside = (level.name for level in _levels(group) if level != paths[0])
    return tuple((named / name).relative_to(container).as_posix() for name in beside)


def _is_dataset(path: Place) -> bool:
    return "dimensions" in read_json(path / ATTRIBUTES)


def _datasets(group: Path, depth: int = 0) -> Iterator[Path]:
    for folder in subfolders(group):
        if _is_dataset(folder):
            yield folder
        elif depth < DEEPEST_GROUP:
            yield from _datasets(folder, depth + 1)


def check_layout(uri: str | Path, layout: PyramidLayout) -> None:
    """Raise InputError for what N5 cannot hold."""
    if layout.dtype.name not in _DTYPES:
        raise InputError(f"N5 cannot hold {layout.dtype.name} values; write to a .zarr.")
    if layout.timepoints > 1:
        raise InputError(f"N5 has no place for {layout.timepoints} timepoints; write to a .zarr.")


def create(container: Path, dataset: str, layout: PyramidLayout, *, resume: bool) -> tuple[StoredArray, ...]:
    """Create the pyramid s0, s1, … in the group `dataset`, once a channel (c0/s0, …) when there are several.

    Gives the array of each level. Raises InputError when other arrays are there, DataError when the disk refuses.
    """
    group = container / dataset
    branches = [group / f"c{c}" for c in range(layout.channels)] if layout.channels > 1 else [group]
    finest = layout.levels[0]
    pyramid = {
        "pixelResolution": {"dimensions": reverse_axes(finest.spacing), "unit": "um"},
        "scales": [reverse_axes(factors) for factors in layout.factors],
    }
    for folder in {group, *branches}:
        write_json(folder / ATTRIBUTES, pyramid)
    write_json(container / ATTRIBUTES, {"n5": _VERSION, **({} if dataset else pyramid)})
    stored = []
    for level, (grid, factors) in enumerate(zip(layout.levels, layout.factors, strict=True)):
        metadata = _array_metadata(layout, grid, finest, factors)
        paths = tuple(branch / f"s{level}" for branch in branches)
        for path in paths:
            create_array("n5", path, metadata, resume=resume)
        stored.append(StoredArray("n5", paths, "xyz"))
    return tuple(stored)


def _array_metadata(layout: PyramidLayout, grid: Grid, finest: Grid, factors: Triple) -> Metadata:
    """Return the attributes of one dataset, with COSEM's transform, the only convention that can store the origin."""
    return {
        "dimensions": reverse_axes(grid.shape),
        "blockSize": [
            min(c, n) for c, n in zip(reverse_axes(layout.chunk_shape), reverse_axes(grid.shape), strict=True)
        ],
        "dataType": layout.dtype.name,
        "compression": {"type": "gzip", "level": GZIP_LEVEL},
        "pixelResolution": reverse_axes(finest.spacing),
        "downsamplingFactors": reverse_axes(factors),
        "transform": {
            "axes": ["z", "y", "x"],
            "ordering": "C",
            "scale": grid.spacing,
            "translate": grid.origin,
            "units": ["um", "um", "um"],
        },
    }
