"""Chunked arrays on disk through tensorstore: N5, Zarr v2 and v3, Neuroglancer precomputed.

tensorstore reads and writes the voxels: it loses no update when processes share a chunk, and leaves no torn chunk.
Its memory and threads are bounded for the whole process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import tensorstore as ts

from teralign.addresses import REFUSED, Address, Place, concurrency, reason, shared_context
from teralign.errors import DataError, InputError
from teralign.files import file_store
from teralign.grids import Region, Triple
from teralign.volumes.array_metadata import metadata_file, respelled
from teralign.volumes.blosc import BloscChunks
from teralign.volumes.description import Voxels
from teralign.volumes.files import opening, read_json
from teralign.volumes.json_values import Metadata

GZIP_LEVEL = 1
"""Of chunks that are written: higher levels take much longer, for voxels with noise hardly fewer bytes."""

_SPACE = "zyx"
_LARGEST_CHUNK = 4 << 30  # bytes; writers make chunks of megabytes
_KINDS_READ = "buif"


class OpenedArray(NamedTuple):
    """An array, and its chunks that need a look before they are read."""

    array: ts.TensorStore
    blosc: BloscChunks | None


@dataclass
class StoredArray:
    """An image in one or several chunked arrays, each of which `open_array` can open and has a folder of its own.

    `axes` names the axes of each array as tensorstore has them ("tczyx", "xyz"); with several `paths` each holds one
    channel. `scale` is the array's key where a path holds several. Opened lazily, so that it travels to workers as a
    few strings.
    """

    driver: str
    paths: tuple[Place, ...]
    axes: str
    scale: str = ""
    _arrays: dict[Place, OpenedArray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[StoredArray], tuple[str, tuple[Place, ...], str, str]]:
        return StoredArray, (self.driver, self.paths, self.axes, self.scale)

    @property
    def places(self) -> tuple[Place, ...]:
        """The folder of each array's own voxels."""
        return tuple(path / self.scale for path in self.paths)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the arrays if they are on a disk, else none."""
        return tuple(place for place in self.places if isinstance(place, Path))

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """The (z, y, x) voxels of `region`, C order. Raises DataError when they cannot be read."""
        path = self._path(channel)
        inside = 0 if len(self.paths) > 1 else channel
        array, blosc = self._opened(path)
        return read_view(array, self.axes, region, inside, timepoint, path / self.scale, blosc)

    def is_blank(self, region: Region, channel: int, timepoint: int) -> bool:
        """Return whether no chunk of a region is stored, which then reads as 0; False if that is slow to find out."""
        path = self._path(channel)
        if not isinstance(path, Path):
            return False  # a look takes as long as a read
        view = spatial_view(self._array(path), self.axes, 0 if len(self.paths) > 1 else channel, timepoint)
        if view.fill_value is not None and np.any(view.fill_value):
            return False
        try:
            return bool(view[region.slices].storage_statistics(query_not_stored=True).result().not_stored)
        except REFUSED:
            return False  # reading reports the error

    def write(self, region: Region, array: Voxels, channel: int, timepoint: int) -> None:
        """Write (z, y, x) voxels, on disk when it returns. Raises DataError when they cannot be written."""
        path = self._path(channel)
        try:
            view = spatial_view(self._array(path), self.axes, 0 if len(self.paths) > 1 else channel, timepoint)
            view[region.slices].write(array).result()
        except REFUSED as error:
            raise DataError(
                f"{path} cannot be written from {region.start} to {region.stop} (zyx): {reason(error)}."
            ) from error

    def _path(self, channel: int) -> Place:
        return self.paths[channel] if len(self.paths) > 1 else self.paths[0]

    def _array(self, path: Place) -> ts.TensorStore:
        return self._opened(path).array

    def _opened(self, path: Place) -> OpenedArray:
        if path not in self._arrays:
            array = open_array(self.driver, path, self.scale)
            self._arrays[path] = OpenedArray(array, BloscChunks.of(array, path / self.scale))
        return self._arrays[path]


def spatial_view(array: ts.TensorStore, axes: str, channel: int, timepoint: int) -> ts.TensorStore:
    """The (z, y, x) view of one channel and timepoint of an opened array."""
    fixed = {"t": timepoint, "c": channel}
    view = array[tuple(slice(None) if a in _SPACE else fixed.get(a, 0) for a in axes)]
    left = [a for a in axes if a in _SPACE]
    if "z" not in left:
        view, left = view[ts.newaxis], ["z", *left]
    return view[ts.d[tuple(left.index(a) for a in _SPACE)].transpose[:]]


def read_view(
    array: ts.TensorStore,
    axes: str,
    region: Region,
    channel: int,
    timepoint: int,
    name: Place,
    blosc: BloscChunks | None = None,
) -> Voxels:
    """The (z, y, x) voxels of a region of an opened array, C order. Raises DataError when they cannot be read."""
    try:
        view = spatial_view(array, axes, channel, timepoint)[region.slices]
        if blosc is not None:
            blosc.check(view)
        voxels: Voxels = view.read(order="C").result()
    except REFUSED as error:
        raise DataError(
            f"{name} cannot be read from {region.start} to {region.stop} (zyx): {reason(error)}."
        ) from error
    return voxels


def open_array(driver: str, path: Place, scale: str = "") -> ts.TensorStore:
    """Open an array of tensorstore's `driver` ("n5", "zarr", "zarr3", …), whose first voxel is 0, 0, 0.

    Raises InputError when it cannot be opened or holds values that are no numbers.
    """
    spec = {"driver": driver, "kvstore": _store(path), **_constraints(driver, path, scale)}
    file = metadata_file(driver)
    return _opened(spec, shared_context(), path / scale, path / file if file else None)


def open_in_memory(driver: str, contents: Mapping[str, bytes], scale: str, name: Place) -> ts.TensorStore:
    """Open an array as `open_array` does, from files in memory, by their path in the container."""
    context = ts.Context(concurrency())
    store = ts.KvStore.open({"driver": "memory"}, context=context).result()
    for path, content in contents.items():
        store.write(path, content).result()
    spec = {"driver": driver, "kvstore": {"driver": "memory"}, **_constraints(driver, name, scale)}
    return _opened(spec, context, name)


def _opened(spec: Metadata, context: ts.Context, name: Place, metadata: Place | None = None) -> ts.TensorStore:
    """Open an array; if tensorstore refuses its `metadata` file, with the metadata respelled."""
    try:
        array = ts.open(spec, context=context, open=True).result()
    except REFUSED as error:
        found = read_json(metadata) if metadata is not None else {}
        if not found:
            raise InputError(f"{name} cannot be opened: {reason(error)}.") from error
        assumed = {**respelled(spec["driver"], found, str(name)), **spec["metadata"]}
        try:
            spec = {**spec, "metadata": assumed}
            array = ts.open(spec, context=context, open=True, assume_metadata=True).result()
        except REFUSED:
            raise InputError(f"{name} cannot be opened: {reason(error)}.") from error
    dtype = np.dtype(array.dtype.numpy_dtype)
    if dtype.kind not in _KINDS_READ:
        raise InputError(f"{name} holds {array.dtype.name} values; only integers, floats and booleans can be read.")
    check_chunk_size(array, name)
    return array[ts.d[:].translate_to[0]] if any(array.domain.origin) else array


def check_chunk_size(array: ts.TensorStore, name: object) -> None:
    """Raise InputError for an array whose chunks no memory holds: tensorstore would end the process."""
    chunk = math.prod(n or 1 for n in array.chunk_layout.read_chunk.shape or ())
    size = chunk * np.dtype(array.dtype.numpy_dtype).itemsize
    if size > _LARGEST_CHUNK:
        raise InputError(
            f"{name} has chunks of {size / 2**30:.3g} GB, and each is read whole; save it with smaller chunks."
        )


def _constraints(driver: str, path: Place, scale: str) -> Metadata:
    """Return the further constraints by which tensorstore finds an array."""
    return {"scale_metadata": {"key": scale}} if scale else {"metadata": _missing_separator(driver, path)}


def _store(folder: Place) -> Metadata:
    """Return the specification of a folder as a key-value store of tensorstore."""
    return file_store(folder) if isinstance(folder, Path) else cast("Address", folder).store()


def _missing_separator(driver: str, path: Place) -> dict[str, str]:
    """Return the separator that the metadata of old Zarr v2 writers lack: their chunks lie in nested folders.

    At an address the place of the first chunk shows it. Raises InputError when that chunk is missing: with the wrong
    separator, every chunk would be missing, which reads as zeros.
    """
    metadata = read_json(path / ".zarray") if driver == "zarr" else {}
    if not metadata or "dimension_separator" in metadata:
        return {}
    if isinstance(path, Path):
        return {"dimension_separator": "/"} if (path / "0").is_dir() else {}
    with opening(path):
        for separator in "/.":
            if (path / separator.join("0" for _ in metadata.get("shape", ()))).exists():
                return {"dimension_separator": separator}
    raise InputError(
        f"{path / '.zarray'} does not say whether chunks lie in nested folders, and the first chunk is missing; "
        'add "dimension_separator", "." or "/".'
    )


def create_array(driver: str, path: Place, metadata: Metadata, *, resume: bool) -> None:
    """Create an array with this driver's metadata; with `resume` an existing array is kept if it is the same.

    Raises InputError when another array exists, DataError when the disk refuses.
    """
    _create({"driver": driver, "kvstore": _store(path), "metadata": dict(metadata)}, path, resume=resume)


def create_scale(driver: str, path: Path, multiscale: Metadata, scale: Metadata, *, resume: bool) -> None:
    """Create an array that is a scale of others in the same container, as `create_array` does."""
    metadata = {"multiscale_metadata": dict(multiscale), "scale_metadata": dict(scale)}
    spec = {"driver": driver, "kvstore": _store(path), **metadata}
    _create(spec, path / str(scale["key"]), resume=resume)


def _create(spec: Metadata, path: Place, *, resume: bool) -> None:
    try:
        ts.open(spec, context=shared_context(), create=True, open=resume).result()
    except REFUSED as error:
        if str(error).startswith("ALREADY_EXISTS"):
            raise InputError(f"{path} exists already; remove it or choose another output.") from error
        if str(error).startswith("FAILED_PRECONDITION"):
            raise InputError(f"{path} exists already and is another array: {reason(error)}.") from error
        raise DataError(f"{path} cannot be created: {reason(error)}.") from error


def spatial_chunks(array: ts.TensorStore, axes: str) -> Triple:
    """Return the (z, y, x) shape of the unit in which an opened array is read."""
    shape = array.chunk_layout.read_chunk.shape or (None,) * array.ndim
    return spatial([size or whole for size, whole in zip(shape, array.shape, strict=True)], axes)


def spatial(shape: Sequence[int], axes: str) -> Triple:
    """The sizes along z, y, x of a shape in the order of an array's own axes; 1 along an axis that it lacks."""
    z, y, x = (int(shape[axes.index(axis)]) if axis in axes else 1 for axis in _SPACE)
    return z, y, x
