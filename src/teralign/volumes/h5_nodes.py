"""HDF5 files and their nodes, through h5py, which has no types and is an extra.

A path in a file may lead to other files: through external links, the sources of a virtual dataset, and voxels that
are stored apart. Those are followed within the folder of the file, as BigDataViewer has them, and no further. HDF5
expands a compressed chunk whole, whatever the size that the dataset declares; so chunks are looked at before.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from teralign.errors import DataError, InputError

H5Node: TypeAlias = Any
"""A file, group, dataset or attribute of h5py."""

_DEEPEST = 16  # links on the way to a node
_DEFLATE = 1  # the numbers of filters
_NO_COMPRESSION = (2, 3, 5, 6)  # shuffle, fletcher32, nbit, scaleoffset
_DEFLATED = 1032  # times that deflate can shrink bytes
_HARMLESS = 512 << 20  # bytes to which a chunk may expand without a look, which takes a third of its time
_ADDED = 1 << 16  # bytes that a filter may add to incompressible voxels


def import_h5py(path: Path) -> H5Node:
    """Return the module h5py. Raises InputError, which names the file that needs it, where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path} is an HDF5 file, which needs h5py; install it with: pip install 'teralign[hdf5]'."
        ) from error
    return h5py


def find_node(file: H5Node, name: str, depth: int = 0) -> H5Node:
    """Return the node at a path in a file, None where there is none.

    Raises InputError for a path that leads out of the file's folder, or in a ring.
    """
    if depth > _DEEPEST:
        raise InputError(f"{file.file.filename} has links that lead in a ring; repair or replace it.")
    node = file["/"]
    for part in PurePosixPath(name).parts:
        if part == "/":
            continue
        link = node.get(part, getlink=True) if hasattr(node, "visititems") else None
        if link is None:
            return None
        target = getattr(link, "path", None)  # of a link that names a place
        if target is None:
            node = node[part]
            continue
        other = getattr(link, "filename", None)
        if other is not None:
            if _in_other_file(node, other, target, depth) is None:
                return None
            node = node[part]
        else:
            node = find_node(node.file, target if target.startswith("/") else f"{node.name}/{target}", depth + 1)
        if node is None:
            return None
    if hasattr(node, "shape"):
        _check_sources(node, depth)
    return node


def check_chunks(dataset: H5Node, index: Sequence[slice | int], name: object) -> None:
    """Raise DataError if a compressed chunk that `index` needs would expand to more than its voxels."""
    if dataset.chunks is None or dataset.is_virtual:
        return
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    compressions = [code for code in filters if code not in _NO_COMPRESSION]
    if not compressions:
        return
    if len(compressions) > 1:
        raise DataError(
            f"{name} is compressed twice, for which no limit of memory holds; save it with one compression."
        )
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    for corner in _corners(dataset, index):
        stored = dataset.id.get_chunk_info_by_coord(corner)
        if stored.byte_offset is None:
            continue
        grown = stored.size * _DEFLATED > max(_HARMLESS, 4 * size)
        if stored.size > 2 * size + _ADDED or (
            compressions == [_DEFLATE] and grown and _expands(dataset, corner, size)
        ):
            raise DataError(
                f"{name} is damaged: its chunk at {corner} would expand to more than the {size} bytes of its voxels; "
                "copy it again."
            )


def _expands(dataset: H5Node, corner: tuple[int, ...], size: int) -> bool:
    """Return whether a chunk by deflate holds more than `size` bytes."""
    import imagecodecs  # takes a second

    skipped, content = dataset.id.read_direct_chunk(corner)
    if skipped:
        return False
    try:
        imagecodecs.deflate_decode(content, raw=False, out=bytearray(size))  # a quarter of zlib's time
    except RuntimeError as error:
        return "INSUFFICIENT_SPACE" in str(error)  # HDF5 reports other faults
    return False


def _corners(dataset: H5Node, index: Sequence[slice | int]) -> Iterator[tuple[int, ...]]:
    """Yield the first voxel of each chunk that an index needs."""
    sides = []
    for part, n, chunk in zip(index, dataset.shape, dataset.chunks, strict=True):
        start, stop, _ = part.indices(n) if isinstance(part, slice) else (part, part + 1, 1)
        sides.append(range(start // chunk * chunk, stop, chunk))
    yield from itertools.product(*sides)


def _in_other_file(node: H5Node, file: str, target: str, depth: int) -> H5Node:
    """Return what a path in another file leads to, None for nothing; that file is open only while it is looked at."""
    path = _beside(node, file)
    with import_h5py(path).File(path, "r", locking="best-effort") as other:
        return find_node(other, target, depth + 1)


def _check_sources(dataset: H5Node, depth: int) -> None:
    """Raise InputError for a dataset whose voxels lie outside the folder of its file, or are its own."""
    for apart, _, _ in dataset.external or ():
        raise InputError(
            f"{dataset.file.filename} has its voxels in {apart}, which HDF5 does not look for beside it; save it as "
            "one file."
        )
    if not dataset.is_virtual:
        return
    for file, name in {(source.file_name, source.dset_name) for source in dataset.virtual_sources()}:
        if "%" in file + name:
            raise InputError(f"{dataset.file.filename} names its sources by a pattern, {file}; save it as one file.")
        if file == ".":
            find_node(dataset.file, name, depth + 1)
        else:
            _in_other_file(dataset, file, name, depth)


def _beside(node: H5Node, name: str) -> Path:
    """Return the file that a name in another file means. Raises InputError unless it lies beside that one."""
    here = Path(node.file.filename)
    if Path(name).is_absolute() or ".." in Path(name).parts or not (here.parent / name).is_file():
        raise InputError(
            f"{here} leads to {name}, which is not in its folder or below; copy that file there and save the link so."
        )
    return here.parent / name
