"""HDF5 (.h5, .hdf5) and Imaris (.ims): datasets by their path in the file, read by region through h5py.

The voxel size is `element_size_um` (z, y, x) of the dataset or a group around it, which Fiji, Luxendo and ImSwitch
write; the axes are those that ilastik's `axistags` or the dimension labels name. For Imaris and BigDataViewer files
see `imaris` and `bdv`.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from teralign.errors import DataError, InputError
from teralign.grids import FloatTriple, Region, Triple
from teralign.volumes import bdv, imaris
from teralign.volumes.description import Description, Voxels, axes_by_name, axes_by_position
from teralign.volumes.h5_nodes import H5Node, check_chunks, find_node, import_h5py
from teralign.volumes.uri import nearest_name

_DAMAGE = (OSError, KeyError, RuntimeError, ValueError)


def describe(container: Path, dataset: str) -> Description:
    """Describe a dataset, the only one if none is named; of Imaris files, all channels of a level."""
    with _opened(container) as file:
        image = imaris.find(file, dataset)
        if image is not None:
            return _describe_imaris(container, file, image)
        return _describe(container, file, _find(container, file, dataset))


@dataclass
class Hdf5Pixels:
    """The voxels of datasets in a file, whose arrays have these `axes`; their bits are those of a `dtype`.

    `name` is the path of a dataset, with {t} and {c} where each timepoint and channel has one of its own.
    """

    path: Path
    name: str
    axes: str
    dtype: np.dtype[np.generic]
    _file: H5Node = field(default=None, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Hdf5Pixels], tuple[Path, str, str, np.dtype[np.generic]]]:
        return Hdf5Pixels, (self.path, self.name, self.axes, self.dtype)

    def read(self, region: Region, channel: int, timepoint: int) -> Voxels:
        """The (z, y, x) voxels of `region`. Raises DataError when they cannot be read."""
        chosen: dict[str, slice | int] = dict(zip("zyx", region.slices, strict=True)) | {"c": channel, "t": timepoint}
        left = [axis for axis in self.axes if axis in "zyx"]
        name = self.name.format(t=timepoint, c=channel)
        index = tuple(chosen[axis] for axis in self.axes)
        try:
            dataset = find_node(self._open(), name)
            if dataset is None:
                raise KeyError(f"there is no {name}")
            check_chunks(dataset, index, self.path / name)
            found = dataset[index]
        except _DAMAGE as error:
            raise DataError(
                f"{self.path / name} cannot be read from {region.start} to {region.stop} (zyx): {error}."
            ) from error
        turned = found.transpose([left.index(axis) for axis in "zyx"])
        return np.ascontiguousarray(turned, dtype=found.dtype.newbyteorder("=")).view(self.dtype)

    def _open(self) -> H5Node:
        with self._lock:
            if self._file is None:
                self._file = import_h5py(self.path).File(self.path, "r", locking="best-effort")
                weakref.finalize(self, self._file.close)
            return self._file


@contextmanager
def _opened(path: Path) -> Iterator[H5Node]:
    """The file, open for reading its metadata. Raises InputError for what is no HDF5."""
    h5py = import_h5py(path)
    with path.open("rb"):
        pass  # raises the system's own error if it may not be read, or is missing
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file that can be read: {error}.") from error


def _find(container: Path, file: H5Node, dataset: str) -> str:
    """Return the path of a dataset: the one named, or the only one."""
    node = find_node(file, dataset)
    if node is not None and hasattr(node, "shape"):
        return dataset.strip("/")
    found = [name for name in _volumes(file) if name.startswith(f"{dataset}/") or not dataset]
    if len(found) == 1:
        return found[0]
    if dataset:
        raise InputError(f"{container} has no dataset {dataset}; {nearest_name(dataset, found or _volumes(file))}.")
    raise InputError(f"{container} does not hold exactly one volume, so name a dataset; {nearest_name('', found)}.")


def _volumes(file: H5Node) -> list[str]:
    """Return the paths of all datasets that may be volumes."""
    names: list[str] = []
    file.visititems(lambda name, node: names.append(name) if len(getattr(node, "shape", None) or ()) >= 3 else None)
    return names


def _describe(container: Path, file: H5Node, name: str) -> Description:
    dataset = find_node(file, name)
    axes = _axes(f"{container}/{name}", dataset)
    size = dict(zip(axes, dataset.shape, strict=True))
    dtype = _dtype(container, dataset)
    level = bdv.find(container, file, name)
    if level is not None:
        dtype = level.dtype
    plain = Description(
        pixels=Hdf5Pixels(container, name.replace("{", "{{").replace("}", "}}"), axes, dtype),
        shape=(size["z"], size["y"], size["x"]),
        dtype=dtype,
        chunk_shape=_chunks(dataset, axes),
        spacing=_spacing(dataset),
        channels=size.get("c", 1),
        timepoints=size.get("t", 1),
        files=(container,),
    )
    if level is None or plain.spacing is not None:
        return plain
    return replace(
        plain, spacing=level.spacing, origin=level.origin, files=(container, level.xml), scales=level.others
    )


def _describe_imaris(container: Path, file: H5Node, image: imaris.ImarisLevel) -> Description:
    name = f"{image.group}/TimePoint {{t}}/Channel {{c}}/Data"
    try:
        first = find_node(file, name.format(t=0, c=0))
        if first is None:
            raise KeyError("it has no voxels")
        shape, spacing, origin = imaris.geometry(file, image.group)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{container} is an Imaris file whose {image.group} cannot be understood: {error}."
        ) from error
    dtype = _dtype(container, first)
    return Description(
        pixels=Hdf5Pixels(container, name, "zyx", dtype),
        shape=shape,
        dtype=dtype,
        chunk_shape=_chunks(first, "zyx"),
        spacing=spacing,
        origin=origin,
        channels=image.channels,
        timepoints=image.timepoints,
        channel_names=imaris.channel_names(file, image.channels),
        files=(container,),
        scales=image.others,
    )


def _axes(name: str, dataset: H5Node) -> str:
    """The axes by ilastik's tags or the labels of the dimensions, else by position."""
    tags = dataset.attrs.get("axistags")
    try:
        named = [str(axis["key"]) for axis in json.loads(tags)["axes"]] if tags else [d.label for d in dataset.dims]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name} has axistags that name no axes; repair or remove them.") from error
    return axes_by_name(name, named, dataset.ndim) or axes_by_position(name, dataset.ndim)


def _spacing(dataset: H5Node) -> FloatTriple | None:
    """Return `element_size_um` (z, y, x) of the dataset or the nearest group around it, None where there is none."""
    node = dataset
    while "element_size_um" not in node.attrs and node.name != "/":
        node = node.parent
    try:
        sizes: Sequence[float] = np.ravel(node.attrs.get("element_size_um", ())).astype(float).tolist()
    except ValueError:
        return None  # no numbers
    if len(sizes) < 3:
        return None
    z, y, x = sizes[-3:]
    return z, y, x


def _dtype(container: Path, dataset: H5Node) -> np.dtype[np.generic]:
    """Return the type of the voxels. Raises InputError if they are no numbers, or need a decoder that is missing."""
    if dataset.dtype.kind not in "buif":
        raise InputError(
            f"{container}{dataset.name} holds {dataset.dtype} values; only integers, floats and booleans can be read."
        )
    h5z, plist = import_h5py(container).h5z, dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    missing = [name.decode() or str(code) for code, _, _, name in filters if not h5z.filter_avail(code)]
    if missing:
        raise InputError(
            f"{container}{dataset.name} is compressed by {missing[0]}, which HDF5 has no plugin for; "
            "set HDF5_PLUGIN_PATH to a folder that has it."
        )
    dtype: np.dtype[np.generic] = dataset.dtype.newbyteorder("=")
    return dtype


def _chunks(dataset: H5Node, axes: str) -> Triple:
    """The (z, y, x) shape of a chunk; of what is not chunked, a plane."""
    size = dict(zip(axes, dataset.chunks or dataset.shape, strict=True))
    return size["z"] if dataset.chunks else 1, size["y"], size["x"]
