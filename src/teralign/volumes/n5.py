"""N5: read with all attribute conventions in use, written so that bigstream and n5-viewer understand it.

N5 metadata are in (x, y, z). The voxel size is `pixelResolution` (a list in µm, or {dimensions, unit}) or
`resolution` with `units`, times `downsamplingFactors`; of the dataset itself, else of a group around it, whose
`scales` then give the factors of the datasets s0, s1, …. COSEM's `transform` says scale and position outright, and
comes first. Channels are groups c0, c1, … around the levels.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.grids import FloatTriple, Grid, Triple, reverse_axes
from teralign.volumes.arrays import StoredArray, create_array, open_array, spatial_chunks
from teralign.volumes.description import Description, PyramidLayout, StatedSpacing, axes_by_position
from teralign.volumes.files import folders_around, read_json, subfolders, write_json
from teralign.volumes.spacing import is_size
from teralign.volumes.units import is_blank, micrometres, unknown_unit
from teralign.volumes.uri import no_dataset

log = logging.getLogger(__name__)
T = TypeVar("T")

_ATTRIBUTES = "attributes.json"
_VERSION = "2.0.0"
_GZIP_LEVEL = 1
_DTYPES = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"}
_DEEPEST = 6


def describe(container: Place, dataset: str) -> Description:
    """Describe a dataset, or all channels of a level, or of the finest level of a group."""
    paths = _find(container, dataset)
    arrays = [open_array("n5", path) for path in paths]
    if len({(tuple(a.shape), a.dtype) for a in arrays}) > 1:
        raise InputError(f"the channels of {container / dataset} differ in size or type; name one of them.")
    array = arrays[0]
    axes = axes_by_position(str(paths[0]), array.ndim)[::-1]
    size = dict(zip(axes, array.shape, strict=True))
    spacing, origin, note = _geometry(paths[0], container)
    return Description(
        pixels=StoredArray("n5", paths, axes),
        shape=(size["z"], size["y"], size["x"]),
        dtype=np.dtype(array.dtype.numpy_dtype),
        chunk_shape=spatial_chunks(array, axes),
        spacing=spacing,
        origin=origin,
        channels=len(paths) if len(paths) > 1 else size.get("c", 1),
        timepoints=size.get("t", 1),
        files=tuple(folder / _ATTRIBUTES for path in paths for folder in folders_around(path, container)),
        scales=_scales(paths, container),
        spacing_note=note,
    )


def _find(container: Place, dataset: str) -> tuple[Place, ...]:
    """The datasets that hold the channels of what was named."""
    path = container / dataset
    if _is_dataset(path):
        return (path,)
    if _is_dataset(path / "s0"):
        return (path / "s0",)
    channels = _channels(path, "s0") or (_channels(path.parent, path.name) if dataset else ())
    if channels:
        return channels
    wanted = f"no dataset {dataset}" if dataset else "no dataset s0 to take without being told which"
    raise no_dataset(container, wanted, dataset, _datasets)


def _channels(group: Place, level: str) -> tuple[Place, ...]:
    """The datasets of a level in the groups c0, c1, …; by an address, up to the first that is not there."""
    if not isinstance(group, Path):
        return tuple(itertools.takewhile(_is_dataset, (group / f"c{n}" / level for n in itertools.count())))
    if not group.is_dir():
        return ()
    numbered = {int(f.name[1:]): f / level for f in subfolders(group) if re.fullmatch(r"c\d+", f.name)}
    return tuple(numbered[n] for n in sorted(numbered) if _is_dataset(numbered[n]))


def _levels(group: Place) -> Iterator[Place]:
    """The datasets in a group; by an address s0, s1, … up to the first that is not there."""
    if isinstance(group, Path):
        return filter(_is_dataset, subfolders(group))
    return itertools.takewhile(_is_dataset, (group / f"s{n}" for n in itertools.count()))


def _scales(paths: tuple[Place, ...], container: Place) -> tuple[str, ...]:
    """The datasets beside those of an image; with several channels, what lies beside them in all of them."""
    group = paths[0].parent
    if not group.is_relative_to(container):
        return ()
    named = group.parent if len(paths) > 1 else group
    beside = (level.name for level in _levels(group) if level != paths[0])
    return tuple((named / name).relative_to(container).as_posix() for name in beside)


def _is_dataset(path: Place) -> bool:
    return "dimensions" in read_json(path / _ATTRIBUTES)


def _datasets(group: Path, depth: int = 0) -> Iterator[Path]:
    for folder in subfolders(group):
        if _is_dataset(folder):
            yield folder
        elif depth < _DEEPEST:
            yield from _datasets(folder, depth + 1)


def _geometry(path: Place, container: Place) -> tuple[StatedSpacing | None, FloatTriple, str]:
    """Return spacing and origin (z, y, x) of a dataset, and a remark on the spacing, as in a `Description`."""
    folders = folders_around(path, container)
    own, *around = (read_json(folder / _ATTRIBUTES) for folder in folders)
    if "transform" in own:
        return _cosem(own["transform"], path)
    base = _resolution(own, path)
    factors = _numbers(own["downsamplingFactors"], path) if "downsamplingFactors" in own else None
    if base is not None:
        factors = factors or (1.0, 1.0, 1.0)
    else:
        factors = factors or _inherited_factors(path, around)
        found = (_resolution(attributes, folder) for attributes, folder in zip(around, folders[1:], strict=True))
        base = next((resolution for resolution in found if resolution is not None), None)
    if factors is None:
        return None, (0.0, 0.0, 0.0), ""
    sizes, note = base or ((None, None, None), "")
    spacing = [None if size is None else size * f for size, f in zip(sizes, factors, strict=True)]
    origin = [b * (f - 1) / 2 if is_size(b) else (f - 1) / (2 * f) for b, f in zip(sizes, factors, strict=True)]
    return _zyx(spacing), _zyx(origin), note


def _resolution(attributes: Mapping[str, Any], path: Place) -> tuple[StatedSpacing, str] | None:
    """Return the voxel size (x, y, z) in µm that attributes give, and a remark; None where they give none."""
    value: Any = attributes.get("pixelResolution", attributes.get("resolution"))
    units = attributes.get("units", "um" if "pixelResolution" in attributes else "")
    if isinstance(value, dict):
        value, units = value.get("dimensions"), value.get("unit", "um")
    if value is None:
        return None
    sizes = _sizes(value, path)
    names = [str(unit) for unit in ([units] * 3 if isinstance(units, str) else list(units)[:3])]
    names += [""] * (3 - len(names))
    if any(map(is_blank, names)):
        _warn_of_no_unit(str(path / _ATTRIBUTES))
    known = [1.0 if is_blank(name) else micrometres(name) for name in names]
    x, y, z = (None if unit is None else size * unit for size, unit in zip(sizes, known, strict=True))
    return (x, y, z), unknown_unit(*names)


@functools.lru_cache(maxsize=1024)
def _warn_of_no_unit(path: str) -> None:
    """Log that a voxel size is taken for µm; once for each file, since commands read it repeatedly."""
    log.warning("%s gives its resolution without units; it is taken for µm", path)


def _inherited_factors(path: Place, around: Sequence[Mapping[str, Any]]) -> FloatTriple | None:
    """The downsampling (x, y, z) of the dataset sN, as a group around it lists them."""
    match = re.fullmatch(r"s(\d+)", path.name)
    if match is None:
        return None
    level = int(match[1])
    for attributes in around:
        listed = attributes.get("scales", attributes.get("downsamplingFactors"))
        if isinstance(listed, list) and level < len(listed):
            return _numbers(listed[level], path)
    return (1.0, 1.0, 1.0) if level == 0 else None


def _cosem(transform: object, path: Place) -> tuple[StatedSpacing | None, FloatTriple, str]:
    """Return what `_geometry` does by COSEM's {axes, scale, translate, units}."""
    try:
        columns = (transform[key] for key in ("axes", "scale", "translate", "units"))  # type: ignore[index]
        rows = {str(axis): (float(s), float(t), str(u)) for axis, s, t, u in zip(*columns, strict=True)}
        scale, translate, units = zip(*(rows[axis] for axis in "xyz"), strict=True)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path / _ATTRIBUTES} has a transform without axes, units, scale and translate for x, y and z."
        ) from error
    known = [micrometres(unit) for unit in units]
    spacing = [None if unit is None else size * unit for size, unit in zip(scale, known, strict=True)]
    origin = [
        shift * unit if unit is not None and is_size(size) else (shift / size if is_size(size) else 0.0)
        for shift, size, unit in zip(translate, scale, known, strict=True)
    ]
    return _zyx(spacing), _zyx(origin), unknown_unit(*units)


def _sizes(value: object, path: Place) -> FloatTriple:
    """Return three numbers (x, y, z) of the attributes of `path`; more than three are channel and time."""
    try:
        x, y, z = (float(v) for v in list(value)[:3])  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path / _ATTRIBUTES} has {value} where x,y,z numbers are expected.") from error
    return x, y, z


def _numbers(value: object, path: Place) -> FloatTriple:
    """Return three positive numbers (x, y, z), as `_sizes` does."""
    sizes = _sizes(value, path)
    if not all(is_size(size) for size in sizes):
        raise InputError(f"{path / _ATTRIBUTES} has {value} where positive numbers are expected.")
    return sizes


def _zyx(xyz: Sequence[T]) -> tuple[T, T, T]:
    z, y, x = reverse_axes(xyz)
    return z, y, x


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
        write_json(folder / _ATTRIBUTES, pyramid)
    write_json(container / _ATTRIBUTES, {"n5": _VERSION, **({} if dataset else pyramid)})
    stored = []
    for level, (grid, factors) in enumerate(zip(layout.levels, layout.factors, strict=True)):
        metadata = _array_metadata(layout, grid, finest, factors)
        paths = tuple(branch / f"s{level}" for branch in branches)
        for path in paths:
            create_array("n5", path, metadata, resume=resume)
        stored.append(StoredArray("n5", paths, "xyz"))
    return tuple(stored)


def _array_metadata(layout: PyramidLayout, grid: Grid, finest: Grid, factors: Triple) -> dict[str, Any]:
    """The attributes of one dataset; COSEM's transform is there for the origin, which the others cannot tell."""
    return {
        "dimensions": reverse_axes(grid.shape),
        "blockSize": [
            min(c, n) for c, n in zip(reverse_axes(layout.chunk_shape), reverse_axes(grid.shape), strict=True)
        ],
        "dataType": layout.dtype.name,
        "compression": {"type": "gzip", "level": _GZIP_LEVEL},
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
